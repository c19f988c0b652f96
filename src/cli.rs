//! One table of commands: it parses the arguments and prints the help.

use core::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where the configuration is, unless told otherwise.
pub const CONFIG_PATH: &str = "/etc/mtls-agent/agent.json";

/// What the program is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Check offline.
    Check,
    /// Print the template.
    Config,
    /// List the credential sets.
    Credentials,
    /// Print the help.
    Help,
    /// One cycle.
    Once,
    /// Ask CUPS now.
    Refresh,
    /// Read the files again.
    Reload,
    /// The service.
    Run,
    /// Show what a running agent does.
    Status,
    /// Send a frame through the LNS link.
    Uplink,
    /// Print the version.
    Version,
}

/// One command. The help, the manual and the completion are made of these.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The word on the command line.
    pub name: &'static str,
    /// What it asks for.
    pub command: Command,
    /// The options it takes.
    pub options: &'static [&'static str],
    /// What follows without a name, as the help shows it; empty: nothing may.
    pub operands: &'static str,
    /// What it does, as the help says it.
    pub about: &'static str,
}

const fn row(
    name: &'static str,
    command: Command,
    options: &'static [&'static str],
    about: &'static str,
) -> Row {
    Row {
        name,
        command,
        options,
        operands: "",
        about,
    }
}

/// Every command there is, in the order of the help.
pub const ROWS: &[Row] = &[
    row(
        "run",
        Command::Run,
        &["--config"],
        "keep the credentials fresh until told to stop",
    ),
    row(
        "once",
        Command::Once,
        &["--config", "--json"],
        "one cycle: ask, prove, commit, hand over",
    ),
    row(
        "check",
        Command::Check,
        &["--config", "--json"],
        "look at configuration and identity, offline",
    ),
    row(
        "status",
        Command::Status,
        &["--config", "--json", "--metrics", "--watch"],
        "show what the running agent does",
    ),
    row(
        "refresh",
        Command::Refresh,
        &["--config"],
        "let the running agent ask now",
    ),
    row(
        "reload",
        Command::Reload,
        &["--config"],
        "let the running agent read its files again",
    ),
    Row {
        operands: "HEX [FREQ_HZ [DR]]",
        ..row(
            "uplink",
            Command::Uplink,
            &["--config"],
            "send a LoRaWAN frame to the LNS (lns.mode session)",
        )
    },
    row(
        "credentials",
        Command::Credentials,
        &["--config", "--json"],
        "list the credential sets kept",
    ),
    row(
        "config",
        Command::Config,
        &["--template"],
        "print an annotated configuration",
    ),
    row("help", Command::Help, &[], "print this"),
    row("version", Command::Version, &[], "print the version"),
];

const EXITS: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 78 configuration or identity.";

/// What was asked for, ready to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The command.
    pub command: Command,
    /// The configuration file, if one was named.
    pub config: Option<PathBuf>,
    /// Whether a script reads the output.
    pub is_json: bool,
    /// What followed without a name.
    pub operands: Vec<String>,
    /// Whether Prometheus reads the output.
    pub is_metrics: bool,
    /// Whether the output is repeated.
    pub is_watch: bool,
}

impl Invocation {
    /// The configuration file to read.
    #[must_use]
    pub fn config_path(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(CONFIG_PATH))
    }

    /// Reads the arguments after the program's name. The error is a sentence for the user.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut rest = arguments.iter();
        let row = row_of(rest.next().map_or("help", String::as_str))?;
        let mut invocation = Self {
            command: row.command,
            config: None,
            is_json: false,
            operands: Vec::new(),
            is_metrics: false,
            is_watch: false,
        };
        while let Some(argument) = rest.next() {
            let (option, value) = match argument.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            if matches!(option, "--help" | "-h") {
                return Ok(Self {
                    command: Command::Help,
                    ..invocation
                });
            }
            if !row.operands.is_empty() && !argument.starts_with('-') {
                invocation.operands.push(argument.clone());
                continue;
            }
            if !row.options.contains(&option) {
                let known = row.options.join(", ");
                let known = if known.is_empty() { "none" } else { &known };
                return Err(format!(
                    "{} does not take {option:?}; it takes: {known}",
                    row.name
                ));
            }
            match (option, value) {
                ("--config", value) => {
                    let value = value.or_else(|| rest.next().cloned());
                    let value = value.filter(|path| !path.is_empty());
                    invocation.config = Some(value.ok_or("--config needs a file")?.into());
                }
                (option, Some(_)) => return Err(format!("{option} takes no value")),
                ("--json", None) => invocation.is_json = true,
                ("--metrics", None) => invocation.is_metrics = true,
                ("--watch", None) => invocation.is_watch = true,
                _ => {}
            }
        }
        if invocation.operands.is_empty() && !row.operands.is_empty() {
            return Err(format!("{} needs {}", row.name, row.operands));
        }
        if invocation.is_json && invocation.is_metrics {
            return Err("--json and --metrics are two forms of the same; give one".to_owned());
        }
        Ok(invocation)
    }
}

fn row_of(name: &str) -> Result<&'static Row, String> {
    let name = match name {
        "--help" | "-h" => "help",
        "--version" | "-V" => "version",
        name => name,
    };
    ROWS.iter()
        .find(|row| row.name == name)
        .ok_or_else(|| format!("there is no command {name:?}; mtls-agent help lists them"))
}

/// The help.
#[must_use]
pub fn help() -> String {
    let mut out = String::from(
        "mtls-agent keeps a gateway authenticated by mutual TLS and its LNS credentials fresh.\n\nCommands:\n",
    );
    for row in ROWS {
        let options: Vec<String> = row
            .options
            .iter()
            .map(|&option| match option {
                "--config" => "[--config FILE]".to_owned(),
                option => format!("[{option}]"),
            })
            .collect();
        let usage = format!("{} {} {}", row.name, options.join(" "), row.operands);
        let _ = writeln!(out, "  {usage:40} {}", row.about);
    }
    let _ = writeln!(out, "\nFILE is {CONFIG_PATH} unless given. {EXITS}");
    out
}

#[cfg(test)]
mod tests {
    use super::{Command, Invocation, ROWS, help};

    fn parse(line: &str) -> Result<Invocation, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Invocation::parse(&arguments)
    }

    #[test]
    fn options_may_come_in_both_spellings() {
        for line in ["once --config /c --json", "once --json --config=/c"] {
            let invocation = parse(line).unwrap();
            assert_eq!(invocation.command, Command::Once);
            assert_eq!(invocation.config_path(), std::path::Path::new("/c"));
            assert!(invocation.is_json);
        }
    }

    #[test]
    fn mistakes_are_told_with_what_would_be_right() {
        assert!(parse("onec").unwrap_err().contains("mtls-agent help"));
        assert!(
            parse("run --json")
                .unwrap_err()
                .contains("it takes: --config")
        );
        assert!(parse("once --config").unwrap_err().contains("needs a file"));
        assert!(
            parse("once --json=1")
                .unwrap_err()
                .contains("takes no value")
        );
    }

    #[test]
    fn a_frame_may_stand_before_and_after_the_configuration() {
        let invocation = parse("uplink 40aa --config /c 868100000 5").unwrap();
        assert_eq!(invocation.operands, ["40aa", "868100000", "5"]);
        assert!(parse("uplink").unwrap_err().contains("needs HEX"));
        assert!(parse("refresh 40aa").unwrap_err().contains("does not take"));
    }

    #[test]
    fn a_status_has_one_form_and_may_be_repeated() {
        let invocation = parse("status --watch --metrics").unwrap();
        assert!(invocation.is_watch && invocation.is_metrics && !invocation.is_json);
        let complaint = parse("status --json --metrics").unwrap_err();
        assert!(complaint.contains("give one"), "{complaint}");
    }

    #[test]
    fn every_command_is_in_the_help() {
        for row in ROWS {
            assert!(help().contains(row.about), "{}", row.name);
            let line = format!("{} {}", row.name, row.operands);
            assert_eq!(parse(&line).unwrap().command, row.command);
        }
    }
}
