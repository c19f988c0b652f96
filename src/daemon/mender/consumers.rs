//! Acts: everybody on the device who gets the token: a file, the forwarder, the bus.

use core::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

#[cfg(feature = "dbus")]
use super::bus::{Bus, Shown};
use super::call::Access;
use super::forwarder::Forwarder;
use super::gathering::Authorised;
use super::lock::{self, RuntimeLock};
use super::token_file::TokenFile;
#[cfg(feature = "dbus")]
use crate::daemon::bus::Address;

/// The file, the forwarder and the name on the bus, as far as they are wanted.
#[derive(Debug)]
pub(super) struct Consumers {
    file: TokenFile,
    forwarder: Option<Forwarder>,
    #[cfg(feature = "dbus")]
    bus: Option<Bus>,
    #[cfg(feature = "dbus")]
    shown: Shown,
    /// Let go last.
    _lock: RuntimeLock,
}

impl Consumers {
    /// Starts what is wanted; `wake` takes an octet whenever one of them has something to tell.
    pub(super) fn start(
        runtime_dir: &Path,
        forwarder: Option<SocketAddr>,
        is_bus_wanted: bool,
        wake: &UnixStream,
    ) -> Result<Self, String> {
        // Before anything in the folder is touched.
        let lock = lock::take(runtime_dir)?;
        let another = || wake.try_clone().map_err(|error| error.to_string());
        let forwarder = match forwarder {
            Some(address) => Some(Forwarder::start(address, another()?)?),
            None => None,
        };
        #[cfg(feature = "dbus")]
        let bus = if is_bus_wanted {
            let bus = Bus::start(Address::from_environment(), another()?);
            Some(bus.map_err(|error| format!("the bus thread: {error}"))?)
        } else {
            None
        };
        #[cfg(not(feature = "dbus"))]
        if is_bus_wanted {
            tracing::debug!("this build has no D-Bus");
        }
        Ok(Self {
            file: TokenFile::new(runtime_dir),
            forwarder,
            #[cfg(feature = "dbus")]
            bus,
            #[cfg(feature = "dbus")]
            shown: Shown::default(),
            _lock: lock,
        })
    }

    /// A new token.
    pub(super) fn publish(&mut self, authorised: &Authorised) {
        self.file.write(&authorised.token);
        if let Some(forwarder) = &self.forwarder {
            forwarder.lend(Some(authorised.clone()));
        }
        #[cfg(feature = "dbus")]
        {
            self.shown.token = authorised.token.expose().to_owned().into();
            self.shown.url = self.url();
            self.show();
        }
        self.signal();
    }

    /// The same token goes to the same server in another way: identity, anchors or pins are others.
    pub(super) fn readjust(&self, access: &Access) {
        if let Some(forwarder) = &self.forwarder {
            forwarder.readjust(access);
        }
    }

    /// There is no token any more.
    pub(super) fn withdraw(&mut self) {
        self.file.remove();
        if let Some(forwarder) = &self.forwarder {
            forwarder.lend(None);
        }
        #[cfg(feature = "dbus")]
        {
            self.shown = Shown {
                can_fetch: self.shown.can_fetch,
                ..Shown::default()
            };
            self.show();
        }
        self.signal();
    }

    /// An attempt has ended and changed nothing: nobody needs to wait for its token.
    pub(super) fn announce(&self) {
        if let Some(forwarder) = &self.forwarder {
            forwarder.give_up();
        }
        self.signal();
    }

    /// Whether there is an identity to authenticate with.
    pub(super) fn set_can_fetch(&mut self, can_fetch: bool) {
        #[cfg(feature = "dbus")]
        {
            self.shown.can_fetch = can_fetch;
            self.show();
        }
        #[cfg(not(feature = "dbus"))]
        let _ = can_fetch;
    }

    /// Whether the server refused the token in a forwarded call. Asked once.
    pub(super) fn take_refusal(&self) -> bool {
        self.forwarder.as_ref().is_some_and(Forwarder::take_refusal)
    }

    /// Whether another program wants a fresh token. Asked once.
    pub(super) fn take_wish(&self) -> bool {
        #[cfg(feature = "dbus")]
        if let Some(bus) = &self.bus {
            return bus.take_wish();
        }
        false
    }

    /// For `status`.
    pub(super) fn overview(&self) -> Value {
        #[cfg(feature = "dbus")]
        let bus = self.bus.as_ref().map(Bus::standing);
        #[cfg(not(feature = "dbus"))]
        let bus: Option<String> = None;
        json!({
            "bus": bus,
            "forwarder": self.forwarder.as_ref().map(Forwarder::figures),
            "url": self.url(),
        })
    }

    fn signal(&self) {
        #[cfg(feature = "dbus")]
        if let Some(bus) = &self.bus {
            bus.announce();
        }
    }

    fn url(&self) -> String {
        self.forwarder
            .as_ref()
            .map(Forwarder::url)
            .unwrap_or_default()
    }

    #[cfg(feature = "dbus")]
    fn show(&self) {
        if let Some(bus) = &self.bus {
            bus.show(self.shown.clone());
        }
    }
}
