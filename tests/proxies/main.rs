//! Proves: the agent against real proxies in front of the CUPS double, each proxy once with
//! TLS 1.2 only and once with TLS 1.3 only.
//!
//! ```text
//! agent --mutual TLS--> Envoy | Traefik | HAProxy | nginx --HTTP--> recording relay --> CUPS double
//! ```
//! Arguments: `--filter NAME` runs one proxy. Environment: `MTLS_REQUIRE_ALL=1` makes a
//! missing proxy an error, `MTLS_PROXIES=no` leaves everything to that stage, `MTLS_ENVOY`, `MTLS_TRAEFIK`,
//! `MTLS_HAPROXY` and `MTLS_NGINX` name the programs, `MTLS_AGENT` another agent,
//! `MTLS_REFUSALS` how often a refusal is repeated.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test program: it prints its cases, measures their time and reads its settings"
)]

mod agent;
mod bench;
mod envoy;
mod haproxy;
mod matrix;
mod nginx;
mod probe;
mod process;
mod setup;
mod traefik;
mod upstream;

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use bench::Bench;
use process::{Kind, Tls};

/// What a case comes to; the error is the sentence that is printed.
pub(crate) type Outcome<T> = Result<T, String>;

/// One thing proved of every proxy and TLS version.
pub(crate) struct Case {
    /// A sentence.
    pub(crate) name: &'static str,
    /// Runs it.
    pub(crate) run: fn(&Bench) -> Outcome<()>,
}

const KINDS: [&Kind; 4] = [
    &envoy::ENVOY,
    &traefik::TRAEFIK,
    &haproxy::HAPROXY,
    &nginx::NGINX,
];

#[derive(Debug, Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let filter = match arguments.iter().position(|argument| argument == "--filter") {
        Some(at) => arguments.get(at + 1),
        None => arguments
            .first()
            .filter(|argument| !argument.starts_with('-')),
    };
    if is_set("MTLS_PROXIES", "no") {
        println!("the proxies have their own stage");
        return ExitCode::SUCCESS;
    }
    let mut tally = Tally::default();
    for kind in KINDS
        .iter()
        .filter(|kind| filter.is_none_or(|name| kind.name().contains(name)))
    {
        for tls in [Tls::V12, Tls::V13] {
            run_proxy(kind, tls, &mut tally);
        }
    }
    let incomplete = tally.skipped > 0 && is_set("MTLS_REQUIRE_ALL", "1");
    if incomplete {
        println!("MTLS_REQUIRE_ALL=1 and not everything was run");
    }
    let skipped = match tally.skipped {
        0 => String::new(),
        count => format!(", {count} skipped"),
    };
    println!("{} passed, {} failed{skipped}", tally.passed, tally.failed);
    if incomplete || tally.failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Runs all cases of one proxy and version; its folder is kept when one of them fails.
fn run_proxy(kind: &Kind, tls: Tls, tally: &mut Tally) {
    let all = || setup::CASES.iter().chain(&matrix::CASES);
    let Some(program) = kind.program.find() else {
        for case in all() {
            println!(
                "skip {} {}: {} (the program is not installed)",
                kind.name(),
                tls.name(),
                case.name
            );
            tally.skipped += 1;
        }
        return;
    };
    let bench = Bench::set_up(kind, &program, tls);
    let failed_before = tally.failed;
    for case in all() {
        let begun = Instant::now();
        let outcome = match &bench {
            Ok(bench) => (case.run)(bench),
            Err(reason) => Err(reason.clone()),
        };
        let taken = begun.elapsed().as_secs_f64();
        let (mark, reason) = match &outcome {
            Ok(()) => ("ok  ", String::new()),
            Err(reason) => ("FAIL", format!("\n     {reason}")),
        };
        tally.passed += u32::from(outcome.is_ok());
        tally.failed += u32::from(outcome.is_err());
        println!(
            "{mark} {} {}: {} ({taken:.2} s){reason}",
            kind.name(),
            tls.name(),
            case.name
        );
    }
    if let Ok(bench) = bench {
        bench.end(tally.failed > failed_before);
    }
}

fn is_set(variable: &str, value: &str) -> bool {
    env::var(variable).is_ok_and(|found| found == value)
}
