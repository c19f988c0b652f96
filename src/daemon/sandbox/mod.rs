//! Acts: lets go of what the running agent never needs: seccomp and Landlock, where the kernel
//! has them.
//!
//! ```text
//! configuration read -> enter -> threads, sockets, network
//! ```
//! Before the first thread, because Landlock holds for the thread that asks and for those it
//! makes. Whatever is missing is a line in the status, never a failed start. Why there are two
//! scopes, and what a reload may still change: docs/decisions/0010-sandbox.md.

mod filter;
mod folders;

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, LandlockStatus, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, path_beneath_rules,
};
use nix::sys::prctl::get_no_new_privs;
use serde_json::{Value, json};
use tracing::info;

use crate::config::{Config, Mode, Setup};
use filter::Scope;
use folders::Grant;

/// The rights that are looked after: ABI 5 is the newest that has one for files on disks.
const NEWEST: ABI = ABI::V5;

/// The least that is taken: ABI 1 forbids every rename from one folder to another.
const OLDEST: ABI = ABI::V2;

/// How this process is confined.
pub(super) struct Sandbox {
    seccomp: Result<Scope, String>,
    landlock: Result<Confined, String>,
}

struct Confined {
    abi: u32,
    grants: Vec<Grant>,
}

impl Sandbox {
    /// Confines this process as far as its configuration and the kernel let it.
    pub(super) fn enter(setup: &Setup, config_path: &Path) -> Self {
        let sandbox = if is_wanted(setup) {
            let landlock = landlock(setup, config_path);
            let seccomp = seccomp(programs(setup));
            Self { seccomp, landlock }
        } else {
            let off = "switched off by the setting sandbox".to_owned();
            Self {
                seccomp: Err(off.clone()),
                landlock: Err(off),
            }
        };
        info!("sandbox: {}", sandbox.summary());
        sandbox
    }

    /// Whether a configuration that was read again can be used in here. The error is a sentence
    /// for the operator.
    pub(super) fn admits(&self, setup: &Setup) -> Result<(), String> {
        let Some(config) = cups(setup) else {
            return Ok(());
        };
        let starts_none = self.seccomp == Ok(Scope::Alone) || self.landlock.is_ok();
        if starts_none && !config.cups.update_command.is_empty() {
            let what = "cups.update_command is new, and the sandbox of this process starts no";
            return Err(format!("{what} program: restart mtls-agent"));
        }
        match &self.landlock {
            Ok(confined) => folders::are_within(&confined.grants, config),
            Err(_) => Ok(()),
        }
    }

    /// What `status` shows of it.
    pub(super) fn to_json(&self) -> Value {
        let seccomp = self.seccomp.as_ref().ok().map(|scope| match scope {
            Scope::Alone => "alone",
            Scope::Programs => "programs",
        });
        json!({
            "seccomp": seccomp,
            "landlock_abi": self.landlock.as_ref().ok().map(|confined| confined.abi),
            "summary": self.summary(),
        })
    }

    fn summary(&self) -> String {
        let seccomp = match &self.seccomp {
            Ok(Scope::Alone) => "seccomp".to_owned(),
            Ok(Scope::Programs) => "seccomp for programs too".to_owned(),
            Err(why) => format!("no seccomp: {why}"),
        };
        match (&self.seccomp, &self.landlock) {
            (Err(why), Err(same)) if why == same => format!("none: {why}"),
            (_, Ok(confined)) => format!("{seccomp}, Landlock ABI {}", confined.abi),
            (_, Err(why)) => format!("{seccomp}; no Landlock: {why}"),
        }
    }
}

fn is_wanted(setup: &Setup) -> bool {
    match setup {
        Setup::Cups(config) => config.sandbox,
        #[cfg(feature = "mender")]
        Setup::Mender(mender) => mender.sandbox,
    }
}

fn cups(setup: &Setup) -> Option<&Config> {
    match setup {
        Setup::Cups(config) => Some(config),
        #[cfg(feature = "mender")]
        Setup::Mender(_) => None,
    }
}

/// Whose programs this process starts or looks into; they would inherit everything.
fn programs(setup: &Setup) -> Option<&'static str> {
    let Some(config) = cups(setup) else {
        return Some("Mender's scripts are");
    };
    if !config.cups.update_command.is_empty() {
        return Some("the program of cups.update_command is");
    }
    matches!(config.lns.mode, Mode::Station { .. }).then_some("what lns.mode station runs is")
}

fn seccomp(programs: Option<&str>) -> Result<Scope, String> {
    let scope = match programs {
        None => Scope::Alone,
        // It would cost them sudo, and whatever else gives privileges.
        Some(whose) if get_no_new_privs() != Ok(true) => {
            return Err(format!("{whose} not to lose its privileges"));
        }
        Some(_) => Scope::Programs,
    };
    let is_on = filter::enter(scope);
    is_on
        .then_some(scope)
        .ok_or_else(|| "not in this kernel".to_owned())
}

fn landlock(setup: &Setup, config_path: &Path) -> Result<Confined, String> {
    if let Some(whose) = programs(setup) {
        return Err(format!("{whose} not to inherit it"));
    }
    let config = cups(setup).ok_or("it is for gateways")?;
    let config_path = std::path::absolute(config_path).unwrap_or_else(|_| config_path.to_owned());
    let grants = folders::grants(config, &config_path)?;
    let abi = confine(&grants).ok_or("not in this kernel")?;
    Ok(Confined { abi, grants })
}

/// The ABI in force; `None`: the kernel does not have it, or too old a one.
fn confine(grants: &[Grant]) -> Option<u32> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let never = AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeChar;
    let writing = AccessFs::from_all(NEWEST) & !never;
    let of = |writes: bool| {
        let grants = grants.iter().filter(move |grant| grant.writes == writes);
        grants.map(|grant| &grant.folder)
    };
    let restrict = || -> Result<RestrictionStatus, RulesetError> {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_all(OLDEST))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .create()?;
        for (writes, access) in [(false, reading), (true, writing)] {
            ruleset = ruleset.add_rules(path_beneath_rules(of(writes), access))?;
        }
        ruleset.restrict_self()
    };
    let status = restrict().ok()?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. }
            if status.ruleset != RulesetStatus::NotEnforced =>
        {
            Some(effective_abi as u32)
        }
        _ => None,
    }
}
