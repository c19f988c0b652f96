//! The act in which another program of Mender's asks for the token, on a bus of its own.
#![expect(clippy::unnecessary_wraps, reason = "all acts have one type")]

use std::fs;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mtls_lab::openssl::set_mode;
use serde_json::Value;

use super::errors::is_there;
use super::stage::Stage;
use crate::Failure;
use crate::demo::tell::{Checks, Scene};

/// A private `dbus-daemon`; it ends when dropped.
pub(super) struct Bus {
    child: Child,
    path: PathBuf,
}

impl Bus {
    /// Starts one, if its programs are on this machine.
    pub(super) fn start(dir: &Path) -> Result<Option<Self>, Failure> {
        if !is_there("dbus-daemon") || !is_there("dbus-send") {
            return Ok(None);
        }
        let cannot = |error: io::Error| Failure::work("cannot start dbus-daemon", &error);
        let path = dir.join("bus");
        let mut child = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address"])
            .arg(format!("--address=unix:path={}", path.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(cannot)?;
        // It listens when it has said where.
        if let Some(out) = child.stdout.take() {
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line).map_err(cannot)?;
        }
        Ok(Some(Self { child, path }))
    }

    /// The agent as one file that finds this bus as the system's.
    pub(super) fn with_agent(&self, agent: &Path, dir: &Path) -> Result<PathBuf, Failure> {
        let path = dir.join("agent-on-bus");
        let text = format!(
            "#!/bin/sh\nDBUS_SYSTEM_BUS_ADDRESS='{}' exec '{}' \"$@\"\n",
            self.address(),
            agent.display()
        );
        fs::write(&path, text)
            .map_err(|error| Failure::work("cannot write a script for the agent", &error))?;
        set_mode(&path, 0o755);
        Ok(path)
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.path.display())
    }

    fn token(&self) -> String {
        let output = Command::new("dbus-send")
            .arg(format!("--bus={}", self.address()))
            .args(["--print-reply=literal", "--reply-timeout=5000"])
            .arg("--dest=io.mender.AuthenticationManager")
            .arg("/io/mender/AuthenticationManager")
            .arg("io.mender.Authentication1.GetJwtToken")
            .output();
        let said = output.map(|output| output.stdout).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        said.split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What mender-connect and mender-update do first.
pub(super) fn other_programs(stage: &mut Stage) -> Result<Option<Scene>, Failure> {
    let mut checks = Checks::default();
    if stage.bus.is_none() {
        return Ok(None);
    }
    stage.wait(
        &mut checks,
        "the agent is io.mender.AuthenticationManager",
        |stage| stage.text("/consumers/bus") == "ready",
    );
    let asked = stage.bus.as_ref().map(Bus::token).unwrap_or_default();
    let requests = stage.server.requests();
    let headers = requests
        .iter()
        .filter_map(|one| one.request.header("authorization"));
    let current = headers
        .filter_map(|header| header.strip_prefix("Bearer "))
        .next_back();
    let same = current.is_some_and(|current| current == asked);
    checks.that("the answer is the token the agent uses itself", same);
    let forwarder = stage.show("/consumers/url");
    let scene = stage.scene(checks);
    Ok(Some(Scene {
        title: "Another Mender program wants the token",
        offered: match forwarder {
            Value::String(url) if !url.is_empty() => {
                format!("GetJwtToken over D-Bus; calls go through {url}")
            }
            _ => "GetJwtToken over D-Bus, as mender-connect calls it".to_owned(),
        },
        ..scene
    }))
}
