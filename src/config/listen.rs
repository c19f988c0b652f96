//! Speaks: where the relay listens, an address that only this machine reaches.
//!
//! ```text
//! 127.0.0.1:1887   [::1]:1887   unix:/run/mtls-agent/lns.sock
//! ```

use core::fmt;
use core::net::SocketAddr;
use std::path::PathBuf;

use super::ConfigError;

/// Longest path that a socket address of the kernel holds, in octets.
const PATH_OCTETS_MAX: usize = 107;

/// Where local clients find the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// Reads `relay.listen`. Nothing but loopback is taken: whoever reaches the relay speaks
    /// with the gateway's key.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let refused = |what: &str| ConfigError::new("relay.listen", what);
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') || path.len() > PATH_OCTETS_MAX {
                return Err(refused(
                    "must name an absolute path of at most 107 octets after unix:",
                ));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let address: SocketAddr = text
            .parse()
            .map_err(|_| refused("must be 127.0.0.1:PORT, [::1]:PORT or unix:/path"))?;
        if !address.ip().is_loopback() {
            return Err(refused(
                "must be a loopback address: others would lend this gateway's key to the network",
            ));
        }
        Ok(Self::Tcp(address))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Listen;

    #[test]
    fn loopback_and_unix_sockets_are_taken() {
        for text in [
            "127.0.0.1:1887",
            "127.9.8.7:1",
            "[::1]:0",
            "unix:/run/x.sock",
        ] {
            assert_eq!(Listen::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_others_could_reach_is_refused() {
        let long = format!("unix:/{}", "x".repeat(107));
        for text in [
            "0.0.0.0:1887",
            "[::]:1887",
            "192.0.2.1:1887",
            "localhost:1887",
            "127.0.0.1",
            "unix:lns.sock",
            &long,
            "",
        ] {
            let error = Listen::parse(text).unwrap_err();
            assert_eq!(error.name, "relay.listen", "{text}");
        }
    }
}
