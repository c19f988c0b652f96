//! Acts: makes whoever holds the LNS link, by the mode of the configuration.

use std::os::unix::net::UnixStream;

use super::linking::Holder;
use crate::config::{Config, Mode};

/// Makes the holder; `None` in mode none. `wake` takes one octet whenever the holder has
/// something to tell. The error is a sentence for the operator.
pub fn make(config: &Config, wake: UnixStream) -> Result<Option<Box<dyn Holder>>, String> {
    drop(wake);
    match &config.lns.mode {
        Mode::None => Ok(None),
        mode => Err(format!(
            "lns.mode {} cannot be held by this build",
            mode.name()
        )),
    }
}
