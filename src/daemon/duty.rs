//! Acts: what the poll loop asks of a service, whichever one the configuration names.

use core::time::Duration;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::sockets::Verb;

/// One service: what it does when the loop wakes. No method blocks.
pub(super) trait Duty {
    /// A worker or holder announced itself by an octet on the wake socket.
    fn woken(&mut self);

    /// Does everything whose time has come.
    fn be_on_time(&mut self, now: Duration);

    /// When [`Duty::be_on_time`] is due, since boot. `None`: not before something happens.
    fn due_at(&self) -> Option<Duration>;

    /// An interface or a default route came up.
    fn network_came_up(&mut self);

    /// The process was told to stop.
    fn stop(&mut self);

    /// Whether the service has ended by itself.
    fn is_over(&self) -> bool;

    /// Reads configuration and identity again, and takes what changed. Whether the
    /// configuration is another one now.
    fn reload(&mut self) -> bool;

    /// Carries out a verb from the control socket, but for `reload`, which the loop delays.
    /// The error is a sentence for whoever sent it.
    fn carry_out(&mut self, verb: Verb) -> Result<(), String>;

    /// Everything that `status` shows.
    fn overview(&self) -> Value;

    /// The newest line for the service manager since the last call, if there is one.
    fn announcement(&mut self) -> Option<String>;

    /// Files whose change is a reason to reload.
    fn watched(&self) -> Vec<PathBuf>;

    /// Where the sockets are.
    fn runtime_dir(&self) -> &Path;

    /// The file of metrics, if one is wanted.
    fn textfile(&self) -> Option<&Path>;
}
