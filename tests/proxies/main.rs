//! Proves: the agent against real proxies in front of the doubles of CUPS and of Mender, each
//! proxy once with TLS 1.2 only and once with TLS 1.3 only.
//!
//! ```text
//! agent --mutual TLS--> Envoy | Traefik | HAProxy | nginx --HTTP--> recording relay --> double
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
mod mender;
mod nginx;
mod probe;
mod process;
mod setup;
mod traefik;
mod upstream;

use std::env;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

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

/// One case as it went.
pub(crate) struct Done {
    /// A sentence.
    pub(crate) name: String,
    /// How long it took.
    pub(crate) taken: Duration,
    /// What it came to.
    pub(crate) outcome: Outcome<()>,
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
    let wanted = |kind: &&&Kind| filter.is_none_or(|name| kind.name().contains(name));
    let kinds = || KINDS.iter().filter(wanted).copied();
    let sites = || kinds().flat_map(|kind| [(kind, Tls::V12), (kind, Tls::V13)]);
    let mut tally = Tally::default();
    thread::scope(|scope| {
        // Mostly waits, so they go on beside the others.
        let begun: Vec<_> = sites()
            .filter_map(|(kind, tls)| Some((kind, tls, kind.program.find()?)))
            .map(|(kind, tls, program)| {
                let prove = move || mender::prove(kind, &program, tls);
                (kind, tls, scope.spawn(prove))
            })
            .collect();
        for (kind, tls) in sites() {
            run_proxy(kind, tls, &mut tally);
        }
        for (kind, tls, thread) in begun {
            let ended = thread.join().unwrap_or_else(|_| vec![Done::broken()]);
            for done in &ended {
                tally.count(kind, tls, done);
            }
        }
    });
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

/// Runs all cases of CUPS of one proxy and version; its folder is kept when one of them fails.
fn run_proxy(kind: &Kind, tls: Tls, tally: &mut Tally) {
    let all = || setup::CASES.iter().chain(&matrix::CASES);
    let Some(program) = kind.program.find() else {
        let names = all().map(|case| case.name.to_owned());
        for name in names.chain(mender::names()) {
            println!(
                "skip {} {}: {name} (the program is not installed)",
                kind.name(),
                tls.name(),
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
        let done = Done {
            name: case.name.to_owned(),
            taken: begun.elapsed(),
            outcome,
        };
        tally.count(kind, tls, &done);
    }
    if let Ok(bench) = bench {
        bench.end(tally.failed > failed_before);
    }
}

impl Done {
    fn broken() -> Self {
        Self {
            name: "Mender".to_owned(),
            taken: Duration::ZERO,
            outcome: Err("the cases ended in a panic, see above".to_owned()),
        }
    }
}

impl Tally {
    fn count(&mut self, kind: &Kind, tls: Tls, done: &Done) {
        let (mark, reason) = match &done.outcome {
            Ok(()) => ("ok  ", String::new()),
            Err(reason) => ("FAIL", format!("\n     {reason}")),
        };
        self.passed += u32::from(done.outcome.is_ok());
        self.failed += u32::from(done.outcome.is_err());
        println!(
            "{mark} {} {}: {} ({:.2} s){reason}",
            kind.name(),
            tls.name(),
            done.name,
            done.taken.as_secs_f64(),
        );
    }
}

fn is_set(variable: &str, value: &str) -> bool {
    env::var(variable).is_ok_and(|found| found == value)
}
