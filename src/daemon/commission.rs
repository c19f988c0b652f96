//! Acts: gives a frame to the running agent, and says whether the LNS has read it.

use core::time::Duration;
use std::path::Path;

use nix::poll::poll;
use serde_json::Value;

use super::clock::Cutoff;
use super::people::{self, part};
use super::sockets::{self, Verb};
use crate::wire::uplink::Frame;

/// How long the LNS may take to answer the ping after the frame.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at the status, milliseconds.
const LOOK_PAUSE_MS: u16 = 50;

/// Sends one frame and waits for the LNS's sign that it has read it. Both texts are for people.
pub fn send(runtime_dir: &Path, frame: Frame) -> Result<String, String> {
    let verb = Verb::Uplink(frame);
    let before = status(runtime_dir)?;
    let answer = sockets::give_verb(runtime_dir, &verb).map_err(|error| {
        let folder = runtime_dir.display();
        format!("no agent takes orders in {folder}: {error}; its own user or root may give them")
    })?;
    if answer != verb.answer() {
        if !answer.ends_with("not up") {
            return Err(answer);
        }
        return Err(format!("{answer}{}", outlook(&status(runtime_dir)?)));
    }
    let cutoff = Cutoff::after(READ_PATIENCE);
    loop {
        let now = status(runtime_dir)?;
        if gone(&now) != gone(&before) {
            let outlook = outlook(&now);
            return Err(format!(
                "the LNS link ended before the LNS had read the frame{outlook}"
            ));
        }
        if count(&now, "frames_waiting") + count(&now, "frames_unread") == 0 {
            return Ok(format!("the LNS has read the frame: {}\n", place(&now)));
        }
        if cutoff.left().is_none() {
            let (wait_s, place) = (READ_PATIENCE.as_secs(), place(&now));
            return Err(format!(
                "the frame was sent to {place}, which gave no sign for {wait_s} s that it has read it"
            ));
        }
        // Nothing is waited for but time.
        let _ = poll(&mut [], LOOK_PAUSE_MS);
    }
}

fn status(runtime_dir: &Path) -> Result<Value, String> {
    let text = sockets::ask_status(runtime_dir).map_err(|error| {
        let folder = runtime_dir.display();
        format!("no agent answers in {folder}: {error}; is mtls-agent running?")
    })?;
    serde_json::from_str(&text).map_err(|_| "the agent's answer is cut off".to_owned())
}

/// Frames of which nobody will ever say that they were read.
fn gone(status: &Value) -> u64 {
    count(status, "frames_lost") + count(status, "frames_unsure")
}

fn count(status: &Value, name: &str) -> u64 {
    part(status, "/lns/holder")
        .get(name)
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

fn place(status: &Value) -> String {
    let holder = part(status, "/lns/holder");
    let uri = match people::text(holder, "uri") {
        "" => "the LNS",
        uri => uri,
    };
    match people::text(holder, "region") {
        "" => uri.to_owned(),
        region => format!("{uri} ({region})"),
    }
}

/// Why the link is not up, and when it is tried again.
fn outlook(status: &Value) -> String {
    let link = part(status, "/lns/link");
    let state = people::text(link, "state");
    if matches!(state, "" | "up") {
        return String::new();
    }
    let why = people::text(part(link, "/why"), "message");
    let next = part(link, "/next");
    let mut text = format!("; it is {state}");
    if !why.is_empty() {
        text = format!("{text}: {why}");
    }
    if next.is_object() {
        text = format!("{text}; next: {}", people::due(next));
    }
    text
}
