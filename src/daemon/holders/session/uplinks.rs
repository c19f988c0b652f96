//! Acts: sends the uplinks that were given, and counts what became of them.
//!
//! ```text
//! given -> waiting -> sent (unread) -> read by the LNS, as its pong says
//!              `-> lost   `-> unsure: the socket ended before the pong
//! ```

use tungstenite::protocol::frame::coding::CloseCode;

use super::keeper::Keeper;
use super::line::Line;
use super::lock;
use super::opening::Opening;
use crate::agent::failure::Failure;

/// Uplinks sent in one round, so that a flood holds nobody up.
const ROUND_MAX: usize = 256;

impl Keeper {
    /// Sends what was given, unless a new socket is about to take it.
    pub(super) fn send_uplinks(&mut self) {
        if let Err(failure) = self.send_round() {
            self.lose(failure);
        }
    }

    fn send_round(&mut self) -> Result<(), Failure> {
        let pauses = self.opening.as_ref().is_some_and(Opening::pauses);
        let Some(line) = self.up.as_mut().filter(|_| !pauses) else {
            return Ok(());
        };
        for _ in 0..ROUND_MAX {
            if line.is_blocked() {
                return Ok(());
            }
            let taken = {
                let mut shared = lock(&self.shared);
                let taken = shared.uplinks.pop_front();
                if taken.is_some() {
                    // At no moment is it neither waiting nor unread.
                    shared.frames_unread = line.unread().saturating_add(1);
                }
                taken
            };
            let Some(frame) = taken else {
                return line.ask_whether_read();
            };
            if let Err(failure) = line.send_uplink(&frame) {
                let mut shared = lock(&self.shared);
                shared.uplinks.push_front(frame);
                shared.frames_unread = line.unread();
                return Err(failure);
            }
            let mut shared = lock(&self.shared);
            shared.frames_up += 1;
            shared.frames_unread = line.unread();
        }
        self.has_more = true;
        Ok(())
    }

    /// Ends a socket that was up.
    pub(super) fn forget(&self, line: Line, code: CloseCode) {
        let mut shared = lock(&self.shared);
        shared.frames_unread = 0;
        shared.frames_unsure = shared.frames_unsure.saturating_add(line.unread());
        drop(shared);
        line.end(code);
    }

    /// There is no link any more, nor will the one that is being opened take over.
    pub(super) fn is_down(&self) {
        let mut shared = lock(&self.shared);
        shared.is_up = false;
        shared.uri = None;
        let lost = u64::try_from(shared.uplinks.len()).unwrap_or(u64::MAX);
        shared.frames_lost = shared.frames_lost.saturating_add(lost);
        shared.uplinks.clear();
    }
}
