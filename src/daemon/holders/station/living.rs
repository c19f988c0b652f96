//! Acts: how station comes to life and what follows its end.

use core::time::Duration;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tracing::{debug, error, info, warn};

use super::child::{END_PATIENCE, Running};
use super::keeper::Keeper;
use super::rules::{Ended, Restarts};
use super::sight::SAMPLE_SOON;
use super::unit::{Control, Verb};
use super::{Means, ground};
use crate::agent::failure::{Class, Failure};

/// How often the end of an earlier agent's station is looked for.
const ORPHAN_LOOK: Duration = Duration::from_millis(200);

impl Keeper {
    pub(super) fn look_after_child(&mut self, now: Duration) {
        let Some(child) = &mut self.child else {
            return;
        };
        if let Some(ended) = child.ended() {
            let (was_told, life) = (child.kill_at.is_some(), now.saturating_sub(child.since));
            child.kill();
            let mut lines = child.lines(now);
            lines.extend(child.rest());
            self.child = None;
            for line in lines {
                self.line(&line, now);
            }
            self.ended(ended, was_told, life, now);
        } else if child.kill_at.is_some_and(|at| at <= now) {
            warn!("station does not end within 10 seconds of SIGTERM and is killed");
            child.kill();
            child.kill_at = Some(now.saturating_add(SAMPLE_SOON));
        }
    }

    pub(super) fn ended(&mut self, ended: Ended, was_told: bool, life: Duration, now: Duration) {
        self.last_exit = Some(ended);
        self.sight.ended(now, &format!("station {ended}"));
        self.sample_at = now.saturating_add(SAMPLE_SOON);
        self.tell_dropped();
        if was_told {
            self.restarts.wanted();
            self.start_at = now;
            if self.is_wanted {
                self.set_state("waiting", now);
            }
            return;
        }
        let wait = self.restarts.ended(life);
        self.start_at = now.saturating_add(wait);
        self.set_state("waiting", now);
        warn!("station {ended}; started again in {} s", wait.as_secs());
        if self.restarts.has_just_failed() {
            self.give_warning(ended);
        }
        if self.restarts.is_failing() {
            self.set_state("station_failing", now);
        }
    }

    pub(super) fn give_warning(&mut self, ended: Ended) {
        error!("station ends again and again, 5 times in a row by now: it {ended}");
        for line in &self.last_lines {
            debug!("station's last lines: {line}");
        }
        let text = format!("station does not stay up: it {ended}");
        let failure = Failure::new(ended.class(), "station_failing", text);
        self.fail(failure.with_hint("run station by hand; log.level debug shows its last lines"));
    }

    pub(super) fn start(&mut self, now: Duration) {
        if !self.home.join("tc.uri").is_file() {
            // The agent writes it; until then station would end with code 1.
            self.set_state("waiting_for_credentials", now);
            self.start_at = now.saturating_add(SAMPLE_SOON);
            return;
        }
        let started = match self.means.clone() {
            Means::Command(command) => self.start_child(&command, now),
            Means::Unit { name, control, .. } => self.start_unit(&name, &control, now),
        };
        if let Err(why) = started {
            let wait = self.restarts.ended(Duration::ZERO);
            self.start_at = now.saturating_add(wait);
            self.set_state("blocked", now);
            error!("{why}");
            self.fail(
                Failure::new(Class::Configuration, "station_start", why)
                    .with_hint("mend station.command or station.unit, or what is named here"),
            );
        }
    }

    pub(super) fn start_child(&mut self, command: &[String], now: Duration) -> Result<(), String> {
        let home = ground::option(command, "-h", "--home").map(Path::new);
        if home.is_some_and(|home| home != self.home) && self.restarts == Restarts::default() {
            let home = self.home.display();
            warn!("station.command names another home than lns.station_home {home}");
        }
        if let Some(orphan) = ground::orphan(command, &self.home) {
            self.end_orphan(orphan, now);
            return Ok(());
        }
        self.orphan_since = None;
        ground::clear(command)?;
        let program = command.first().map_or("", String::as_str);
        let child = Running::start(command, &self.home, now)
            .map_err(|error| format!("{program} cannot be started: {error}"))?;
        info!("station is started as process {}", child.pid());
        self.child = Some(child);
        self.sample_at = now.saturating_add(SAMPLE_SOON);
        self.set_state("running", now);
        Ok(())
    }

    /// Two stations would share one radio, and the second would end with code 6.
    fn end_orphan(&mut self, orphan: Pid, now: Duration) {
        let since = *self.orphan_since.get_or_insert(now);
        if since == now {
            warn!("the station of an agent that was killed still runs as {orphan} and is ended");
            ground::signal(orphan, &self.home, Signal::SIGTERM);
            self.set_state("stopping", now);
        } else if now.saturating_sub(since) >= END_PATIENCE {
            warn!("it does not end within 10 seconds of SIGTERM and is killed");
            ground::signal(orphan, &self.home, Signal::SIGKILL);
            self.orphan_since = Some(now);
        }
        self.start_at = now.saturating_add(ORPHAN_LOOK);
    }

    pub(super) fn start_unit(
        &mut self,
        name: &str,
        control: &Control,
        now: Duration,
    ) -> Result<(), String> {
        let state = control.show(name)?;
        self.look_after_journal(now);
        self.start_at = now.saturating_add(SAMPLE_SOON);
        self.sample_at = now.saturating_add(SAMPLE_SOON);
        if let Some(pid) = state.pid {
            info!("{name} runs as process {pid}");
            self.unit = Some((pid, now));
            if self.asked_at.take().is_none() {
                self.sight.met();
            }
            self.set_state("running", now);
            return Ok(());
        }
        self.set_state("starting", now);
        if !state.is_down() {
            // Between an end and a start that is systemd's own.
            if let Some(ended) = state.ended.filter(|ended| self.last_exit != Some(*ended)) {
                self.ended_and_comes_back(name, ended, now);
            }
            return Ok(());
        }
        if let Some(asked_at) = self.asked_at {
            let life = now.saturating_sub(asked_at);
            // A job may still be in systemd's queue.
            if state.active == "failed" || life >= SAMPLE_SOON {
                self.asked_at = None;
                self.ended(state.ended.unwrap_or(Ended::Code(-1)), false, life, now);
            }
            return Ok(());
        }
        ground::clear(&[])?;
        control.act(Verb::Start, name)?;
        info!("{name} is started");
        self.asked_at = Some(now);
        // Sooner than the next sample: most units are up in a moment.
        self.start_at = now.saturating_add(Duration::from_secs(1));
        Ok(())
    }

    pub(super) fn look_after_unit(&mut self, now: Duration) {
        let (Means::Unit { name, control, .. }, Some((pid, since))) = (&self.means, self.unit)
        else {
            return;
        };
        if PathBuf::from(format!("/proc/{pid}")).is_dir() {
            return;
        }
        match control.show(name) {
            Ok(state) if state.pid == Some(pid) => {}
            Ok(state) => {
                self.unit = None;
                let life = now.saturating_sub(since);
                let ended = state.ended.unwrap_or(Ended::Code(-1));
                let name = name.clone();
                if state.pid.is_some() || !state.is_down() {
                    self.ended_and_comes_back(&name, ended, now);
                    self.start_at = now;
                } else {
                    self.ended(ended, false, life, now);
                }
            }
            Err(why) => warn!("{why}"),
        }
    }

    /// systemd starts it again by itself; its new process is found there.
    fn ended_and_comes_back(&mut self, name: &str, ended: Ended, now: Duration) {
        info!("{name} is started again by systemd: station {ended}");
        self.last_exit = Some(ended);
        self.sight.ended(now, &format!("station {ended}"));
        self.restarts.wanted();
    }

    pub(super) fn restart(&mut self, now: Duration) {
        match (&mut self.child, &self.means) {
            (Some(child), _) => {
                child.end(now);
                self.set_state("stopping", now);
            }
            (None, Means::Unit { name, control, .. }) => {
                if let Err(why) = control.act(Verb::Restart, name) {
                    warn!("{why}");
                }
            }
            (None, Means::Command(_)) => {}
        }
    }
}
