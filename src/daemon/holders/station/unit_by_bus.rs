//! Acts: asks systemd about station's unit over the system bus.
//!
//! The same as `systemctl` does, without starting a program each time: org.freedesktop.systemd1(5),
//! `LoadUnit`, `StartUnit`, `StopUnit`, `RestartUnit` and the properties of the unit. Whether the
//! agent's user may is decided by polkit, as with `systemctl`; nobody is asked for a password.

use std::borrow::Cow;

use super::rules::Ended;
use super::unit::{State, Verb, ended};
use crate::daemon::bus::{Address, Link};
use crate::wire::cups::stack_error::printable;
use crate::wire::dbus::{Body, Message, Value, texts, variant};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A connection for one question.
struct Asking<'a> {
    address: &'a Address,
    link: Link,
}

/// Asks for the state of a unit; one that is not loaded is loaded for it, as `systemctl` does.
pub(super) fn show(address: &Address, unit: &str) -> Result<State, String> {
    let mut asking = Asking::begin(address)?;
    let body = Body::default().text(&full(unit));
    let loaded = asking.ask(PATH, (MANAGER, "LoadUnit"), body)?;
    let path = texts(&loaded).into_iter().next().unwrap_or_default();
    let active = match asking.property(&path, UNIT, "ActiveState")? {
        Some(Value::Text(active)) => active,
        _ => "unknown".to_owned(),
    };
    let pid = asking.number(&path, "MainPID")?;
    Ok(State {
        pid: pid
            .filter(|pid| *pid != 0)
            .and_then(|pid| u32::try_from(pid).ok()),
        active,
        ended: asking.ended(&path)?,
    })
}

/// Puts the job into systemd's queue.
pub(super) fn act(address: &Address, verb: Verb, unit: &str) -> Result<(), String> {
    let member = match verb {
        Verb::Start => "StartUnit",
        Verb::Stop => "StopUnit",
        Verb::Restart => "RestartUnit",
    };
    let body = Body::default().text(&full(unit)).text("replace");
    Asking::begin(address)?
        .ask(PATH, (MANAGER, member), body)
        .map(drop)
}

/// The name as `systemctl` completes it.
fn full(unit: &str) -> Cow<'_, str> {
    if unit.ends_with(".service") {
        return Cow::Borrowed(unit);
    }
    Cow::Owned(format!("{unit}.service"))
}

impl<'a> Asking<'a> {
    fn begin(address: &'a Address) -> Result<Self, String> {
        match Link::open(address) {
            Ok(link) => Ok(Self { address, link }),
            Err(error) => Err(format!("the system bus {address}: {error}")),
        }
    }

    fn ask(&mut self, path: &str, method: (&str, &str), body: Body) -> Result<Message, String> {
        self.link.ask(SYSTEMD, path, method, body).map_err(|error| {
            let why = printable(&error.to_string(), 300);
            format!("systemd on the bus {}: {why}", self.address)
        })
    }

    fn property(&mut self, path: &str, whose: &str, name: &str) -> Result<Option<Value>, String> {
        let body = Body::default().text(whose).text(name);
        let answer = self.ask(path, (PROPERTIES, "Get"), body)?;
        Ok(variant(&answer))
    }

    fn number(&mut self, path: &str, name: &str) -> Result<Option<i32>, String> {
        Ok(match self.property(path, SERVICE, name)? {
            Some(Value::Number(number)) => i32::try_from(number).ok(),
            _ => None,
        })
    }

    fn ended(&mut self, path: &str) -> Result<Option<Ended>, String> {
        let code = self.number(path, "ExecMainCode")?;
        Ok(ended(code, self.number(path, "ExecMainStatus")?))
    }
}
