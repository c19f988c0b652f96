//! Acts: keeps the file that Prometheus' `node_exporter` reads.
//!
//! The file may be lost at any time and belongs on tmpfs: it is renamed into place so that
//! nobody reads half of it, but never synced.

use core::time::Duration;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::limits::TEXTFILE_PAUSE;

/// The file, and what is in it.
#[derive(Debug, Default)]
pub(super) struct Textfile {
    path: Option<PathBuf>,
    written: String,
    look_at: Option<Duration>,
    is_warned: bool,
}

impl Textfile {
    /// When there may be something new to write. Without a file never.
    pub(super) const fn look_again_at(&self) -> Option<Duration> {
        self.look_at
    }

    /// Writes the file if its time has come and it would change.
    pub(super) fn look(
        &mut self,
        path: Option<&Path>,
        now: Duration,
        render: impl FnOnce() -> String,
    ) {
        if self.path.as_deref() != path {
            self.remove();
            self.path = path.map(Path::to_owned);
            self.look_at = path.map(|_| now);
        }
        let Some(path) = path.filter(|_| self.look_at.is_some_and(|at| at <= now)) else {
            return;
        };
        self.look_at = Some(now.saturating_add(TEXTFILE_PAUSE));
        let text = render();
        if text == self.written {
            return;
        }
        match replace(path, &text) {
            Ok(()) => {
                self.written = text;
                self.is_warned = false;
            }
            Err(error) if !self.is_warned => {
                warn!(
                    "status.textfile {} cannot be written: {error}",
                    path.display()
                );
                self.is_warned = true;
            }
            Err(_) => {}
        }
    }

    fn remove(&mut self) {
        self.is_warned = false;
        if !core::mem::take(&mut self.written).is_empty() {
            if let Some(path) = &self.path {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Drop for Textfile {
    /// An agent that has ended has no metrics: what stayed would say that it is up.
    fn drop(&mut self) {
        self.remove();
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let _ = fs::remove_file(&temporary);
    // Exclusive: nobody's symbolic link is followed.
    let mut file = File::create_new(&temporary)?;
    let done = file
        .write_all(text.as_bytes())
        .and_then(|()| file.set_permissions(Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&temporary, path));
    done.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a test that reads its own small file"
    )]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("mtls-textfile-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn it_is_written_at_most_every_quarter_of_a_minute_and_goes_with_the_agent() {
        let folder = folder("pace");
        let path = folder.join("agent.prom");
        let mut textfile = Textfile::default();
        textfile.look(Some(&path), SECOND, || "one\n".to_owned());
        textfile.look(Some(&path), 2 * SECOND, || "two\n".to_owned());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        assert_eq!(textfile.look_again_at(), Some(16 * SECOND));
        textfile.look(Some(&path), 16 * SECOND, || "two\n".to_owned());
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644);
        drop(textfile);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn what_has_not_changed_is_not_written_again() {
        let folder = folder("same");
        let path = folder.join("agent.prom");
        let mut textfile = Textfile::default();
        textfile.look(Some(&path), SECOND, || "one\n".to_owned());
        fs::remove_file(&path).unwrap();
        textfile.look(Some(&path), 20 * SECOND, || "one\n".to_owned());
        assert!(!path.exists());
        fs::remove_dir(folder).unwrap();
    }

    #[test]
    fn a_missing_folder_is_told_once_and_used_when_it_comes() {
        let folder = folder("late");
        let path = folder.join("later").join("agent.prom");
        let mut textfile = Textfile::default();
        textfile.look(Some(&path), SECOND, || "one\n".to_owned());
        assert!(textfile.is_warned);
        textfile.look(Some(&path), 20 * SECOND, || "one\n".to_owned());
        assert!(textfile.is_warned, "and told a second time");
        fs::create_dir(folder.join("later")).unwrap();
        textfile.look(Some(&path), 40 * SECOND, || "one\n".to_owned());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        assert!(!textfile.is_warned);
        drop(textfile);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn whoever_reads_sees_one_text_or_the_other_and_never_a_part() {
        let folder = folder("whole");
        let path = folder.join("agent.prom");
        let texts = ["a".repeat(20_000), "b".repeat(30_000)];
        replace(&path, &texts[0]).unwrap();
        let writer = {
            let (path, texts) = (path.clone(), texts.clone());
            std::thread::spawn(move || {
                for text in texts.iter().cycle().take(300) {
                    replace(&path, text).unwrap();
                }
            })
        };
        while !writer.is_finished() {
            let read = fs::read_to_string(&path).unwrap();
            assert!(texts.contains(&read), "{} octets", read.len());
        }
        writer.join().unwrap();
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn without_a_setting_nothing_is_due() {
        let mut textfile = Textfile::default();
        textfile.look(None, SECOND, || unreachable!("nobody wants it"));
        assert_eq!(textfile.look_again_at(), None);
    }
}
