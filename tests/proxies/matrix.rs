//! Proves: what the agent makes of each proxy, from the first credential set to a refusal.
//! The cases build on each other: the device keeps its data from one to the next.

use std::fs;
use std::path::Path;

use mtls_lab::cups::Gateway;

use crate::agent::Agent;
use crate::bench::{Bench, EUI};
use crate::{Case, Outcome};

/// The cases, in order.
pub(crate) const CASES: [Case; 4] = [
    Case {
        name: "first credential set is proved and rendered",
        run: first_set,
    },
    Case {
        name: "second credential set replaces the first",
        run: second_set,
    },
    Case {
        name: "an unchanged set is left alone",
        run: unchanged,
    },
    Case {
        name: "a refused certificate is named every time",
        run: refused,
    },
];

const FIRST_KEY: &str = "NNSXS.FIRSTFIRSTFIRSTFIRSTFIRST.KEYOFTHEFIRSTSET";
const SECOND_KEY: &str = "NNSXS.SECONDSECONDSECONDSECOND.KEYOFTHESECONDSET";
/// How often a refusal is repeated: the race it looks for shows in a part of the runs.
const REFUSALS: u32 = 50;

fn first_set(bench: &Bench) -> Outcome<()> {
    bench.cups.set_gateway(
        EUI,
        Gateway {
            lns_uri: bench.lns.uri(),
            lns_trust_der: bench.pki.lns.root_der.clone(),
            lns_key: Some(FIRST_KEY.to_owned()),
            cups_target: None,
        },
    );
    rotated_to(bench, FIRST_KEY)
}

fn second_set(bench: &Bench) -> Outcome<()> {
    bench.cups.rotate_key(EUI, SECOND_KEY);
    rotated_to(bench, SECOND_KEY)
}

fn unchanged(bench: &Bench) -> Outcome<()> {
    let asked = bench.cups.requests().len();
    bench.agent.once()?.expect(0, "unchanged")?;
    if bench.cups.requests().len() == asked {
        return Err("CUPS was not asked at all".to_owned());
    }
    station_has(bench, SECOND_KEY)
}

fn refused(bench: &Bench) -> Outcome<()> {
    let stranger = bench.pki.unknown_ca_device();
    let agent = Agent::new(
        &bench.folder.join("stranger"),
        bench.port,
        &bench.pki,
        &stranger,
    )?;
    let repeats = match std::env::var("MTLS_REFUSALS") {
        Ok(number) => number
            .parse()
            .map_err(|error| format!("MTLS_REFUSALS: {error}"))?,
        Err(_) => REFUSALS,
    };
    let asked = bench.cups.requests().len();
    for run in 1..=repeats {
        let report = agent.once()?;
        report
            .expect(1, "failed")
            .map_err(|reason| format!("run {run}: {reason}"))?;
        let named = report.text("class") == "client_cert_refused";
        if !named || report.printed.to_lowercase().contains("broken pipe") {
            return Err(format!(
                "run {run} of {repeats} was not understood: {}",
                report.printed
            ));
        }
    }
    if bench.cups.requests().len() > asked {
        return Err("the proxy let the stranger through to CUPS".to_owned());
    }
    Ok(())
}

/// One run that must take over the set with this key, after a proof at the LNS.
fn rotated_to(bench: &Bench, key: &str) -> Outcome<()> {
    bench.lns.accept_tokens([key]);
    let proofs = bench.lns.discoveries().len();
    let report = bench.agent.once()?;
    report.expect(0, "rotated")?;
    if report.printed.contains(key) {
        return Err("the agent printed the key of the set".to_owned());
    }
    let discoveries = bench.lns.discoveries();
    let proved = discoveries.iter().skip(proofs).any(|discovery| {
        discovery.accepted
            && discovery
                .token
                .as_deref()
                .is_some_and(|token| token.contains(key))
    });
    if !proved {
        return Err(format!(
            "the set was not proved at the LNS: {discoveries:?}"
        ));
    }
    let seen = bench
        .cups
        .requests()
        .last()
        .and_then(|request| request.client_cn.clone());
    if seen.as_deref() != Some(EUI) {
        return Err(format!("CUPS saw the certificate of {seen:?}"));
    }
    station_has(bench, key)
}

/// Basic Station's home holds the LNS, its trust and this key.
fn station_has(bench: &Bench, key: &str) -> Outcome<()> {
    let read = |name: &str| read(&bench.agent.station_home.join(name));
    let uri = String::from_utf8_lossy(&read("tc.uri")?).trim().to_owned();
    let rendered_key = String::from_utf8_lossy(&read("tc.key")?).into_owned();
    if uri != bench.lns.uri() || !rendered_key.contains(key) || read("tc.trust")?.is_empty() {
        return Err(format!("the station's home has another set: {uri}"));
    }
    Ok(())
}

fn read(path: &Path) -> Outcome<Vec<u8>> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
