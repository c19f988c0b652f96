//! Checks: files and folders that are needed only when something new comes.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::{Finding, Verdict};
use crate::config::Config;
use crate::daemon::compose;
use crate::daemon::update::is_key;
use crate::store::station;

/// Where a program without a folder is looked for: systemd's own path.
const PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// Basic Station's home: to be written, or to be made.
pub(super) fn station_home(config: &Config) -> Vec<Finding> {
    let finding = |verdict, text: String| Finding::of("station_home", verdict, text);
    let Some(home) = &config.lns.station_home else {
        let text = "lns.station_home is not set: credentials are kept and given to nobody";
        return vec![finding(Verdict::Skipped, text.to_owned())];
    };
    let shown = home.display();
    let trouble = match (home.symlink_metadata().is_ok(), home.parent()) {
        (true, _) if !home.is_dir() => Some(format!("{shown} is not a folder")),
        (true, _) => (!may(home, AccessFlags::W_OK | AccessFlags::X_OK))
            .then(|| format!("{shown} cannot be written by this user")),
        (false, Some(parent)) if !parent.is_dir() => Some(format!(
            "neither {shown} nor the folder that holds it is there"
        )),
        (false, Some(parent)) => (!may(parent, AccessFlags::W_OK | AccessFlags::X_OK))
            .then(|| format!("{shown} is not there and cannot be made by this user")),
        (false, None) => Some(format!("{shown} cannot be a home")),
    };
    if let Some(text) = trouble {
        let hint = "make the folder, and let the agent's user write there";
        return vec![Finding {
            code: Some("station_home"),
            hint: Some(hint),
            is_set_up: true,
            ..finding(Verdict::Failed, text)
        }];
    }
    let warnings = station::warnings(home);
    if warnings.is_empty() {
        return vec![finding(Verdict::Ok, shown.to_string())];
    }
    let warning = |text| finding(Verdict::Warning, text);
    warnings.into_iter().map(warning).collect()
}

/// The keys that updates are verified by, if there are any.
pub(super) fn signature_keys(config: &Config) -> Option<Finding> {
    let failed = |text: String| Finding {
        code: Some("signature_keys"),
        hint: Some("a key is a file of 64 octets, the point of a P-256 key (station's sig-0.key)"),
        is_set_up: true,
        ..Finding::of("signature_keys", Verdict::Failed, text)
    };
    let keys = match compose::signature_keys(config) {
        Ok(keys) => keys,
        Err(failure) => return Some(failed(failure.message)),
    };
    if keys.is_empty() {
        let text = "updates are on and there is no key: none will be run".to_owned();
        return config.updates_are_on().then(|| failed(text));
    }
    let wrong = keys.iter().position(|key| !is_key(key));
    Some(match wrong {
        Some(index) => {
            let path = config.cups.signature_keys.get(index);
            let name = path.map_or_else(
                || format!("sig-{index}.key"),
                |path| path.display().to_string(),
            );
            failed(format!("{name} is not the point of a P-256 key"))
        }
        None => Finding::of(
            "signature_keys",
            Verdict::Ok,
            format!("{} can be used", keys.len()),
        ),
    })
}

/// The program that is given updates, if there is one.
pub(super) fn update_command(command: &[String]) -> Option<Finding> {
    let program = command.first()?;
    let is_program = |path: &PathBuf| path.is_file() && may(path, AccessFlags::X_OK);
    let mut places = PATH.iter().map(|folder| Path::new(folder).join(program));
    let is_there = if program.contains('/') {
        is_program(&PathBuf::from(program))
    } else {
        places.any(|path| is_program(&path))
    };
    if is_there {
        return Some(Finding::of("update_command", Verdict::Ok, program.clone()));
    }
    let text = format!("{program} is not a program that can be run");
    Some(Finding {
        code: Some("update_command"),
        hint: Some(
            "correct the setting update_command: a path, of a file that this user may execute",
        ),
        is_set_up: true,
        ..Finding::of("update_command", Verdict::Failed, text)
    })
}

fn may(path: &Path, flags: AccessFlags) -> bool {
    access(path, flags).is_ok()
}
