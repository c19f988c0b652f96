//! Acts: hears from the kernel that an interface or a default route came up.
//!
//! Needs no privilege. Where a sandbox forbids it, the waits simply end by themselves.

use core::time::Duration;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tracing::debug;

use crate::limits::{
    NETLINK_DATAGRAMS_MAX, NETLINK_INTERFACES_MAX, NETLINK_OCTETS_MAX, NETWORK_PAUSE,
    NETWORK_SETTLE,
};
use crate::wire::netlink::{News, parse};

/// `RTMGRP_LINK`, `RTMGRP_IPV4_ROUTE` and `RTMGRP_IPV6_ROUTE`.
const GROUPS: u32 = 0x1 | 0x40 | 0x400;

/// The kernel's news, gathered until they are told.
#[derive(Debug)]
pub(super) struct Network {
    socket: OwnedFd,
    ready: BTreeSet<u32>,
    tell_at: Option<Duration>,
    told_at: Option<Duration>,
}

impl Network {
    /// Starts listening; `None` where that is forbidden.
    pub(super) fn start() -> Option<Self> {
        let socket = open()
            .inspect_err(|error| debug!("a network that comes up is not noticed: {error}"))
            .ok()?;
        Some(Self {
            socket,
            ready: BTreeSet::new(),
            tell_at: None,
            told_at: None,
        })
    }

    /// Reads what has come. News that come together, as of a link, its address and its
    /// route, are told together.
    pub(super) fn listen(&mut self, now: Duration) {
        if self.hear() {
            let soonest = self.told_at.map(|at| at.saturating_add(NETWORK_PAUSE));
            let settled = now.saturating_add(NETWORK_SETTLE);
            self.tell_at
                .get_or_insert(settled.max(soonest.unwrap_or_default()));
        }
    }

    /// When there is something to tell.
    pub(super) const fn due_at(&self) -> Option<Duration> {
        self.tell_at
    }

    /// Whether it is to be told now that the network changed. Said once.
    pub(super) fn take_due(&mut self, now: Duration) -> bool {
        let is_due = self.tell_at.is_some_and(|at| at <= now);
        if is_due {
            self.tell_at = None;
            self.told_at = Some(now);
        }
        is_due
    }

    fn hear(&mut self) -> bool {
        let mut buffer = [0; NETLINK_OCTETS_MAX];
        let mut is_news = false;
        for _ in 0..NETLINK_DATAGRAMS_MAX {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(0) => break,
                Ok(count) => {
                    for news in parse(buffer.get(..count).unwrap_or_default()) {
                        is_news |= self.take_in(news);
                    }
                }
                // The kernel had more than we could take: something was lost, so look.
                Err(Errno::ENOBUFS) => is_news = true,
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        is_news
    }

    /// Whether this is a change for the better. Wireless interfaces repeat their state often.
    fn take_in(&mut self, news: News) -> bool {
        match news {
            News::DefaultRoute => true,
            News::Link {
                index,
                is_ready: false,
            } => {
                self.ready.remove(&index);
                false
            }
            News::Link {
                index,
                is_ready: true,
            } => {
                if self.ready.len() >= NETLINK_INTERFACES_MAX {
                    self.ready.clear();
                }
                self.ready.insert(index)
            }
        }
    }
}

impl AsFd for Network {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn open() -> nix::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkRoute,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn network() -> Option<Network> {
        Network::start()
    }

    #[test]
    fn an_interface_that_repeats_itself_is_no_news() {
        let Some(mut network) = network() else {
            return;
        };
        let link = |is_ready| News::Link { index: 2, is_ready };
        assert!(network.take_in(link(true)));
        assert!(!network.take_in(link(true)));
        assert!(!network.take_in(link(false)));
        assert!(network.take_in(link(true)));
        assert!(network.take_in(News::DefaultRoute));
    }

    #[test]
    fn what_is_told_is_told_once() {
        let Some(mut network) = network() else {
            return;
        };
        network.tell_at = Some(5 * SECOND);
        assert!(!network.take_due(4 * SECOND));
        assert!(network.take_due(5 * SECOND));
        assert!(!network.take_due(6 * SECOND));
        assert_eq!(network.due_at(), None);
    }
}
