//! Runs the laboratory: the demonstration, and each double standing alone.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a tool for people at a terminal, outside the agent's rules on time and files"
)]

mod args;
mod demo;
mod peak;
mod site;
mod stand;

use std::process::ExitCode;

use args::Args;

const HELP: &str = "\
mtls-lab: doubles of the servers mtls-agent talks to, all on loopback

usage: mtls-lab COMMAND [OPTIONS]

  demo     plays the life of one device with the real agent; exit code 0 if all went as it must
             --service cups|mender   a gateway at CUPS, or a device behind Mender's
                              ambassador (cups)
             --agent PATH     this agent instead of one built now
             --keep DIR       works in DIR and leaves all files there
  pki      makes all certificates
             --out DIR        where to put them
             --eui EUI        the gateway, 16 hex digits (0123456789ABCDEF)
  cups     a CUPS server as The Things Stack behaves, plain HTTP, to stand behind a proxy
             --port N         port (any free one)
             --ca FILE        the issuing CA of the device certificates, PEM; repeatable
             --api-key KEY    also accept this bearer key; repeatable
             --eui EUI        register this gateway, with
             --lns-uri URI      its network server,
             --lns-trust FILE   the root of that server, PEM,
             --lns-key KEY      and its key
             --canonical      14 octets for \"no change\" instead of 18
  lns      a network server: discovery and traffic
             --port N         port (any free one)
             --cert FILE --key FILE   TLS; without them plain ws
             --token T        accept this token; repeatable; without it any
             --discovery-ignores-token   only traffic checks the token
  front    a proxy that ends mutual TLS
             --port N         port (any free one)
             --cert FILE --key FILE   its certificate chain and key, PEM
             --client-root FILE       root of the device certificates, PEM
             --upstream ADDRESS:PORT  the server behind it
             --tls 1.2|1.3    this version alone
             --header traefik|envoy|none   how the certificate is passed on (traefik)
  mender   the mTLS ambassador and the Mender server behind it
             --port N         port (any free one)
             --cert FILE --key FILE   its certificate chain and key, PEM
             --client-root FILE       root of the device certificates, PEM; without it the
                              server alone, which asks for no certificate
             --behind-proxy   plain HTTP, the certificate in a header; none of the three above
             --tls 1.2|1.3    this version alone
             --tenant-token T only this tenant token is known
             --token-life S   seconds a token is good for (604800)
             --rs256          tokens signed by RSA
             --new-keys       accepts a known device that comes with a new key
             --accept         accepts whatever is pending, as a person would
  site     CUPS, two LNS and a Mender server behind a real Envoy, for a device elsewhere. On
           standard input: `offer N` (CUPS has set N: even ones lead to LNS a, odd ones to b),
           `proxy stop`, `proxy start`, `mender revoke` (ends all tokens), `mender show NAME`
           (an attribute of the inventory)
             --out DIR        where to put certificates, configuration and log of Envoy
             --address HOST   what the device calls this machine (127.0.0.1)
             --eui EUI        the gateway, 16 hex digits (0123456789ABCDEF)
  peak     runs a program: FILE PROGRAM [WORDS]; its memory when it ends, kB, resident and its own,
           is added to FILE, and its exit code is handed on
  station  Basic Station without a radio; keys only, no client certificate
             -h DIR -t DIR    home, and folder of station.pid
             --faster N       divides its waits
             --code N         ends at once with this code
             --hang           connects to nothing
             --flood N        writes so many lines at start

cups, lns, front, mender and site print their address, then what happens, and run until standard input ends.
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let rest: Vec<String> = words.collect();
    if ["", "help", "-h", "--help"].contains(&command.as_str())
        || rest
            .iter()
            .any(|word| word == "--help" || word == "-h" && command != "station")
    {
        print!("{HELP}");
        return ExitCode::from(if command.is_empty() { 2 } else { 0 });
    }
    if command == "station" {
        let code = mtls_lab::station::run(&mtls_lab::station::Options::parse(&rest));
        return ExitCode::from(u8::try_from(code).unwrap_or(30));
    }
    if let ("peak", [file, program, words @ ..]) = (command.as_str(), rest.as_slice()) {
        return match peak::run(file, program, words) {
            Ok(code) => ExitCode::from(code),
            Err(failure) => told(&failure),
        };
    }
    match run(&command, &rest) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => told(&failure),
    }
}

fn told(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Usage(what) => {
            eprintln!("mtls-lab: {what}\nmtls-lab --help shows what there is");
            ExitCode::from(2)
        }
        Failure::Work(what) => {
            eprintln!("mtls-lab: {what}");
            ExitCode::FAILURE
        }
    }
}

/// Why a command did not come to its end.
pub(crate) enum Failure {
    /// The command line is wrong.
    Usage(String),
    /// Something it needs does not work.
    Work(String),
}

impl Failure {
    /// Says what was being done when an error came.
    pub(crate) fn work(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::Work(format!("{what}: {error}"))
    }
}

fn run(command: &str, words: &[String]) -> Result<bool, Failure> {
    let known = |values: &[&str], flags: &[&str]| Args::parse(words, values, flags);
    match command {
        "demo" => demo::run(&known(&["agent", "keep", "service"], &[])?),
        "pki" => stand::pki(&known(&["out", "eui"], &[])?),
        "site" => site::run(&known(&["out", "address", "eui"], &[])?),
        "cups" => {
            let values = [
                "port",
                "ca",
                "api-key",
                "eui",
                "lns-uri",
                "lns-trust",
                "lns-key",
            ];
            stand::cups(&known(&values, &["canonical"])?)
        }
        "lns" => {
            let values = ["port", "cert", "key", "token"];
            stand::lns(&known(&values, &["discovery-ignores-token"])?)
        }
        "front" => {
            let values = [
                "port",
                "cert",
                "key",
                "client-root",
                "upstream",
                "tls",
                "header",
            ];
            stand::front(&known(&values, &[])?)
        }
        "mender" => {
            let values = [
                "port",
                "cert",
                "key",
                "client-root",
                "tls",
                "tenant-token",
                "token-life",
            ];
            let flags = ["behind-proxy", "rs256", "new-keys", "accept"];
            stand::mender(&known(&values, &flags)?)
        }
        other => Err(Failure::Usage(format!("there is no command {other}"))),
    }
}
