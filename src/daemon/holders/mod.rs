//! Acts: makes whoever holds the LNS link, by the mode of the configuration.

pub(in crate::daemon) mod relay;
pub mod session;
pub mod station;

use core::time::Duration;
use std::os::unix::net::UnixStream;

use self::relay::{Relay, Silence};
use self::session::{Pace, SessionHolder};
use self::station::{Pace as StationPace, Setup, Station};
use super::compose;
use super::linking::Holder;
use crate::config::{Config, Mode};

/// Makes the holder; `None` in mode none. `wake` takes one octet whenever the holder has
/// something to tell. The error is a sentence for the operator.
pub fn make(config: &Config, wake: UnixStream) -> Result<Option<Box<dyn Holder>>, String> {
    match &config.lns.mode {
        Mode::None => Ok(None),
        Mode::Session => SessionHolder::start(&compose::about(config), pace(config), wake)
            .map(|holder| Some(Box::new(holder) as Box<dyn Holder>))
            .map_err(|error| format!("the LNS link cannot be held: {error}")),
        Mode::Relay {
            listen,
            gateways,
            users,
            silent_s_max,
        } => {
            let silence = Silence::of(*silent_s_max);
            let relay = Relay::start(listen, (gateways, users), silence, wake)?;
            Ok(Some(Box::new(relay)))
        }
        Mode::Station { .. } => {
            let setup = Setup::of(&config.lns).ok_or("lns.mode is not station")?;
            let station = Station::start(setup, StationPace::default(), wake)
                .map_err(|error| format!("lns.mode station: {error}"))?;
            Ok(Some(Box::new(station)))
        }
    }
}

fn pace(config: &Config) -> Pace {
    Pace {
        ping: Duration::from_secs(config.lns.ping_s),
        ..Pace::default()
    }
}
