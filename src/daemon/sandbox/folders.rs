//! Looks up: which folders the configuration means, and whether another one would mean more.

use std::fs::read_link;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Config, Listen, Mode};

/// What every program reads: libraries, names, settings, and what the kernel tells. In /run are
/// also resolvers' files and systemd's credentials, in /var/lib names of users.
pub(super) const SYSTEM: [&str; 13] = [
    "/dev/random",
    "/dev/urandom",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/proc",
    "/run",
    "/sys",
    "/usr",
    "/var/lib/extrausers",
    "/var/lib/misc",
];

/// Files below /etc that often lead elsewhere, perhaps to where nothing is yet.
const LEADING: [&str; 3] = ["/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf"];

/// A folder, and whether it may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) folder: PathBuf,
    pub(super) writes: bool,
}

/// A folder that a setting means.
#[derive(Debug)]
struct Wish {
    setting: &'static str,
    folder: PathBuf,
    writes: bool,
    /// Others make it anew or lead it elsewhere: what lies above it is granted.
    changes: bool,
    /// It was to be there at the start, or what is to be read in it.
    is_missing: bool,
}

/// The folders that a configuration means, or the setting that means nearly everything.
pub(super) fn grants(config: &Config, config_path: &Path) -> Result<Vec<Grant>, String> {
    let mut wishes = wishes(config);
    let own = |setting, folder: &Path| Wish {
        setting,
        folder: folder.to_owned(),
        writes: true,
        changes: false,
        is_missing: false,
    };
    wishes.push(own("data_dir", &config.data_dir));
    wishes.push(own("runtime_dir", &config.runtime_dir));
    wishes.extend(of_file("the configuration", config_path, false));
    for file in LEADING {
        let of = of_file(file, Path::new(file), false).into_iter();
        wishes.extend(of.map(|wish| Wish {
            is_missing: false,
            ..wish
        }));
    }
    let mut grants: Vec<Grant> = SYSTEM.iter().map(|folder| read(folder)).collect();
    for wish in wishes {
        let there = nearest(&wish.folder);
        let above = there.parent().filter(|above| above.parent().is_some());
        if wish.is_missing && above.is_none() && may_be_mounted_over(&there) {
            let (setting, there) = (wish.setting, there.display());
            return Err(format!(
                "{setting} is missing, and a disk may be mounted on {there} yet"
            ));
        }
        let folder = match above {
            Some(above) if wish.changes && wish.folder.exists() => above.to_owned(),
            _ => there,
        };
        if folder.parent().is_none() {
            let (setting, folder) = (wish.setting, wish.folder.display());
            return Err(format!("{setting} in {folder} would open the whole disk"));
        }
        let writes = wish.writes;
        grants.push(Grant { folder, writes });
    }
    Ok(grants)
}

/// Whether a configuration that comes later means nothing beyond what was granted. What takes
/// effect at the next start only is not looked at.
pub(super) fn are_within(grants: &[Grant], config: &Config) -> Result<(), String> {
    for wish in wishes(config) {
        // What is not there is told as such, not as forbidden.
        let there = nearest(&wish.folder);
        let is_granted =
            |grant: &Grant| there.starts_with(&grant.folder) && (grant.writes || !wish.writes);
        if wish.folder.exists() && !grants.iter().any(is_granted) {
            return Err(format!(
                "{} leads to {}, which the sandbox of this process keeps out: restart mtls-agent",
                wish.setting,
                there.display()
            ));
        }
    }
    Ok(())
}

/// What a reload can change.
fn wishes(config: &Config) -> Vec<Wish> {
    let mut wishes = Vec::new();
    wishes.extend(of_file(
        "identity.certificate",
        &config.identity.certificate,
        false,
    ));
    wishes.extend(of_file("identity.key", &config.identity.key, false));
    for file in &config.trust_anchors {
        wishes.extend(of_file("trust_anchors", file, false));
    }
    for file in &config.cups.signature_keys {
        wishes.extend(of_file("cups.signature_keys", file, false));
    }
    if let Some(file) = &config.textfile {
        wishes.extend(of_file("status.textfile", file, true));
    }
    if let Mode::Relay {
        listen: Listen::Unix(path),
        ..
    } = &config.lns.mode
    {
        wishes.extend(of_file("relay.listen", path, true));
    }
    if let Some(home) = &config.lns.station_home {
        // Station's unit may own it as a folder that comes and goes with the unit.
        wishes.push(Wish {
            setting: "lns.station_home",
            folder: home.clone(),
            writes: true,
            changes: true,
            is_missing: !home.exists(),
        });
    }
    wishes
}

/// The folder that a file is in, and the one that it leads to.
fn of_file(setting: &'static str, file: &Path, writes: bool) -> Vec<Wish> {
    let mut files = vec![file.to_owned()];
    let mut last = file.to_owned();
    // As far as a chain of links goes, also to where nothing is yet.
    while let (Ok(target), true) = (read_link(&last), files.len() < 8) {
        last = last.parent().unwrap_or(Path::new("/")).join(target);
        files.push(last.clone());
    }
    let folders = files.iter().filter_map(|file| file.parent());
    folders
        .map(|folder| Wish {
            setting,
            folder: folder.to_owned(),
            writes,
            changes: !writes,
            is_missing: !writes && !file.exists(),
        })
        .collect()
}

/// A folder, or the lowest one above it that exists, without links.
fn nearest(folder: &Path) -> PathBuf {
    let there = folder.ancestors().find_map(|path| path.canonicalize().ok());
    there.unwrap_or_else(|| PathBuf::from("/"))
}

/// Whether a folder right below the root lies on the root's disk. A rule for it would not hold
/// for a disk that is mounted there later, and nothing above it can be granted.
fn may_be_mounted_over(there: &Path) -> bool {
    let disk = |path: &Path| path.metadata().map(|facts| facts.dev()).ok();
    let is_system = SYSTEM.iter().any(|folder| there.starts_with(folder));
    there.parent().is_some() && !is_system && disk(there) == disk(Path::new("/"))
}

fn read(folder: &str) -> Grant {
    let folder = Path::new(folder);
    Grant {
        folder: folder.canonicalize().unwrap_or_else(|_| folder.to_owned()),
        writes: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(data_dir: &str, station_home: &str) -> Config {
        let text = format!(
            r#"{{
                "data_dir": "{data_dir}", "runtime_dir": "/run",
                "identity": {{ "certificate": "/etc/ssl/device.crt", "key": "/etc/ssl/device.key" }},
                "trust_anchors": ["/etc/ssl/root.pem"],
                "cups": {{ "uri": "https://gateway.example.com:443" }},
                "lns": {{ "station_home": "{station_home}" }}
            }}"#
        );
        Config::parse(&text, Path::new("/etc")).unwrap()
    }

    fn granted(data_dir: &str, station_home: &str) -> Result<Vec<Grant>, String> {
        let config = config(data_dir, station_home);
        grants(&config, Path::new("/etc/mtls-agent/agent.json"))
    }

    fn writes(grants: &[Grant], folder: &str) -> bool {
        let is_it = |grant: &Grant| grant.writes && grant.folder == Path::new(folder);
        grants.iter().any(is_it)
    }

    #[test]
    fn what_others_make_anew_is_granted_from_above_and_our_own_is_not() {
        let grants = granted("/usr/lib", "/usr/share").unwrap();
        assert!(writes(&grants, "/usr"));
        assert!(writes(&grants, "/usr/lib"));
        assert!(!grants.iter().any(|grant| grant.folder == Path::new("/")));
    }

    #[test]
    fn a_folder_right_below_the_root_opens_no_more_than_itself() {
        let grants = granted("/usr", "/usr").unwrap();
        assert!(writes(&grants, "/usr"));
    }

    #[test]
    fn a_path_of_which_nothing_exists_is_named() {
        let why = granted("/nowhere-at-all/data", "/usr/share").unwrap_err();
        assert!(why.starts_with("data_dir in /nowhere-at-all/data"), "{why}");
    }

    #[test]
    fn where_a_disk_may_be_mounted_later_no_rule_is_made() {
        let disk = |path: &str| Path::new(path).metadata().unwrap().dev();
        let result = granted("/usr/lib", "/opt/nothing-yet");
        assert_eq!(result.is_err(), disk("/opt") == disk("/"), "{result:?}");
        assert!(granted("/usr/lib", "/usr/nothing-yet").is_ok());
        assert!(granted("/opt/nothing-yet", "/usr/share").is_ok());
    }

    #[test]
    fn a_later_home_must_lie_within_what_was_granted_or_not_exist() {
        let grants = granted("/usr/lib", "/usr/share/nothing-yet").unwrap();
        let later = |home: &str| are_within(&grants, &config("/usr/lib", home));
        assert_eq!(later("/usr/share"), Ok(()));
        assert_eq!(later("/nowhere-at-all"), Ok(()));
        // Readable is not enough.
        let why = later("/etc").unwrap_err();
        assert!(why.starts_with("lns.station_home leads to /etc"), "{why}");
    }
}
