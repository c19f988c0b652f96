//! Acts: makes whoever holds the LNS link, by the mode of the configuration.

mod station;

use std::os::unix::net::UnixStream;

use self::station::{Means, Station};
use super::linking::Holder;
use crate::config::{Config, Mode};

/// Makes the holder; `None` in mode none. `wake` takes one octet whenever the holder has
/// something to tell. The error is a sentence for the operator.
pub fn make(config: &Config, wake: UnixStream) -> Result<Option<Box<dyn Holder>>, String> {
    match &config.lns.mode {
        Mode::None => Ok(None),
        Mode::Station { command, unit } => {
            let means = if command.is_empty() {
                Means::Unit(unit.clone())
            } else {
                Means::Command(command.clone())
            };
            let home = config.lns.station_home.clone().unwrap_or_default();
            let station = Station::new(means, home, wake)
                .map_err(|error| format!("lns.mode station: {error}"))?;
            Ok(Some(Box::new(station)))
        }
        mode => Err(format!(
            "lns.mode {} cannot be held by this build",
            mode.name()
        )),
    }
}
