//! Parses the arguments, calls the library, turns an error into an exit code.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::process::ExitCode;

use mtls_agent::check::{self, Finding};
use mtls_agent::cli::{self, Command, Invocation};
use mtls_agent::config::{self, ConfigError, Setup};
use mtls_agent::daemon::{commission, once, run, show, sockets};
use mtls_agent::limits::CONFIG_OCTETS_MAX;
use mtls_agent::log;
use mtls_agent::store::durable::read_bounded;
use mtls_agent::wire::uplink::Frame;
use serde_json::json;

const USAGE: u8 = 2;
const CONFIGURATION: u8 = 78;

fn main() -> ExitCode {
    // Lossy: a name that is not UTF-8 becomes a file that is not there, and is told as such.
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let code = match Invocation::parse(&arguments) {
        Ok(invocation) => carry_out(&invocation),
        Err(why) => {
            complain(&why);
            USAGE
        }
    };
    ExitCode::from(code)
}

fn carry_out(invocation: &Invocation) -> u8 {
    match invocation.command {
        Command::Help => print(&cli::help()),
        Command::Version => print(concat!("mtls-agent ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Config => print(&config::template()),
        Command::Check => checked(invocation),
        Command::Run => running(invocation),
        Command::Once => one_cycle(invocation),
        Command::Status => showing(invocation),
        Command::Credentials => {
            show::credentials(invocation, load).map_or_else(fail, |text| print(&text))
        }
        Command::Refresh => given(invocation, &sockets::Verb::Refresh),
        Command::Reload => given(invocation, &sockets::Verb::Reload),
        Command::Uplink => uplink(invocation),
    }
}

fn load(path: &Path) -> Result<Setup, String> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let shown = |error: ConfigError| format!("{}: {error}", path.display());
    Setup::read(&absolute, &text_of).map_err(shown)
}

/// The text of a configuration file, if there is such a file.
fn text_of(path: &Path) -> Result<Option<String>, ConfigError> {
    let limit = usize::try_from(CONFIG_OCTETS_MAX).unwrap_or(usize::MAX);
    let octets = match read_bounded(path, limit) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            return Err(ConfigError::new("", what));
        }
    };
    let text = String::from_utf8(octets)
        .map_err(|_| ConfigError::new("", format!("{} is not text", path.display())))?;
    Ok(Some(text))
}

fn running(invocation: &Invocation) -> u8 {
    let path = invocation.config_path();
    let setup = match load(path) {
        Ok(setup) => setup,
        Err(why) => {
            complain(&why);
            return CONFIGURATION;
        }
    };
    log::start(setup.log_level());
    run::run(setup, path, &load).map_or_else(fail, |()| 0)
}

fn one_cycle(invocation: &Invocation) -> u8 {
    let outcome = match load(invocation.config_path()) {
        Ok(setup) => {
            log::start(setup.log_level());
            once::run(setup)
        }
        Err(why) => once::Outcome::wrong_configuration(why),
    };
    let hint = outcome.failure.as_ref().and_then(|failure| failure.hint);
    let text = match hint {
        _ if invocation.is_json => format!("{}\n", outcome.to_json()),
        Some(hint) => format!("{}\n{hint}\n", outcome.message),
        None => format!("{}\n", outcome.message),
    };
    outcome.exit_code().max(print(&text))
}

fn checked(invocation: &Invocation) -> u8 {
    let findings = match load(invocation.config_path()) {
        Ok(setup) => check::offline(&setup),
        Err(why) => vec![Finding::no_configuration(why)],
    };
    let text = if invocation.is_json {
        let worst = findings.iter().map(|finding| finding.verdict).max();
        let list: Vec<_> = findings.iter().map(Finding::to_json).collect();
        let object = json!({ "result": worst.map(check::Verdict::name), "checks": list });
        format!("{object}\n")
    } else {
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        lines.join("\n") + "\n"
    };
    check::exit_code(&findings).max(print(&text))
}

fn uplink(invocation: &Invocation) -> u8 {
    let frame = match Frame::parse(&invocation.operands.join(" ")) {
        Ok(frame) => frame,
        Err(why) => {
            complain(&why.to_string());
            return USAGE;
        }
    };
    show::runtime_dir(invocation, load)
        .and_then(|runtime_dir| commission::send(&runtime_dir, frame))
        .map_or_else(fail, |text| print(&text))
}

fn showing(invocation: &Invocation) -> u8 {
    let mut out = io::stdout();
    if invocation.is_watch {
        let is_terminal = out.is_terminal();
        show::watch(invocation, load, &mut out, is_terminal).map_or_else(fail, |()| 0)
    } else {
        show::status(invocation, load).map_or_else(fail, |text| print(&text))
    }
}

fn given(invocation: &Invocation, verb: &sockets::Verb) -> u8 {
    let runtime_dir = match show::runtime_dir(invocation, load) {
        Ok(runtime_dir) => runtime_dir,
        Err(why) => return fail(why),
    };
    match sockets::give_verb(&runtime_dir, verb) {
        Ok(answer) if answer == verb.answer() => 0,
        Ok(answer) => fail(answer),
        Err(error) => fail(format!(
            "no agent answers in {}: {error}; is mtls-agent running?",
            runtime_dir.display()
        )),
    }
}

fn fail(why: impl AsRef<str>) -> u8 {
    complain(why.as_ref());
    1
}

fn complain(why: &str) {
    let _ = writeln!(io::stderr(), "mtls-agent: {why}");
}

/// Prints; a reader that went away (`| head`) is not a failure, a full disk is.
fn print(text: &str) -> u8 {
    match show::put(&mut io::stdout(), text) {
        Ok(_) => 0,
        Err(why) => fail(why),
    }
}
