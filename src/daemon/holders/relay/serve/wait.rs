//! Acts: the one poll over everything, and who is to be served after it.

use core::time::Duration;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Server;
use crate::daemon::clock;
use crate::daemon::holders::relay::client::Client;
use crate::daemon::holders::relay::pipe::Ways;

/// How often all clients are looked at when the kernel polls no more so many descriptors.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What one poll has shown.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// There are notes.
    pub(super) is_woken: bool,
    /// Somebody wants to come in.
    pub(super) is_knocked: bool,
    /// Clients with something to do.
    pub(super) clients: Vec<(u64, Ways)>,
}

impl Server {
    /// Waits for the first descriptor or deadline. Only what has something is served: a call
    /// in vain for each of the others would cost as much as the frame itself.
    pub(super) fn wait(&mut self) -> Ready {
        let mut fds = Vec::with_capacity(2 + 2 * self.clients.len());
        let mut places = Vec::with_capacity(fds.capacity());
        fds.push(PollFd::new(self.wake.as_fd(), PollFlags::POLLIN));
        let may_come = self.accept_at.is_none() && self.clients.len() < self.room;
        if may_come {
            fds.push(PollFd::new(self.door.as_fd(), PollFlags::POLLIN));
        }
        let others = fds.len();
        for (key, client) in &self.clients {
            for (is_remote, fd, flags) in client.interests() {
                fds.push(PollFd::new(fd, flags));
                places.push((*key, is_remote));
            }
        }
        let hungry = self.clients.iter().filter(|(_, client)| client.is_hungry());
        let mut clients: Vec<(u64, Ways)> = hungry.map(|(key, _)| (*key, Ways::BOTH)).collect();
        let timeout = self.timeout(!clients.is_empty());
        match poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ready::default(),
            Err(_) => {
                drop(fds);
                return self.look_at_all();
            }
        }
        // `None` is an event that nix has no name for, such as the end of the far side's words.
        let events = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::all());
        for (fd, (key, is_remote)) in fds.iter().skip(others).zip(places) {
            let events = events(fd);
            if events.is_empty() {
                continue;
            }
            let ways = Ways::of(events, is_remote);
            match clients.last_mut() {
                Some((known, all)) if *known == key => *all = all.and(ways),
                _ => clients.push((key, ways)),
            }
        }
        let is_ready = |place: usize| fds.get(place).is_some_and(|fd| !events(fd).is_empty());
        Ready {
            is_woken: is_ready(0),
            is_knocked: may_come && is_ready(1),
            clients,
        }
    }

    fn timeout(&self, is_hungry: bool) -> PollTimeout {
        let due = self.clients.values().filter_map(Client::due);
        match due.chain(self.accept_at).min() {
            _ if is_hungry => PollTimeout::ZERO,
            None => PollTimeout::NONE,
            Some(due) => {
                let left = due.saturating_sub(clock::since_boot());
                PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
            }
        }
    }

    /// Somebody has lowered the limit of descriptors below what is open: the kernel refuses to
    /// poll them. Those who are here are served all the same, without spinning.
    fn look_at_all(&mut self) -> Ready {
        self.say_crowded();
        let mut fds = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        let pause = PollTimeout::try_from(LOOK_AGAIN).unwrap_or(PollTimeout::ZERO);
        // Should even that be refused, the next round has nothing better.
        if poll(&mut fds, pause).is_err() {
            std::thread::yield_now();
        }
        let is_at_work = |client: &Client| !client.phase.is_waiting();
        let clients = self.clients.iter();
        Ready {
            is_woken: true,
            is_knocked: true,
            clients: clients
                .filter_map(|(key, client)| is_at_work(client).then_some((*key, Ways::BOTH)))
                .collect(),
        }
    }
}
