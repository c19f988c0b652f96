//! Proves: each proxy is set up as the fleet's is, before the agent is tried against it.

use std::fs;

use crate::bench::Bench;
use crate::probe::Reply;
use crate::upstream::forwarded_leaf;
use crate::{Case, Outcome};

/// The cases, in order.
pub(crate) const CASES: [Case; 3] = [
    Case {
        name: "forwards the device's certificate and no forged one",
        run: forwards,
    },
    Case {
        name: "refuses a certificate of an unknown authority",
        run: refuses_unknown,
    },
    Case {
        name: "refuses a device without a certificate",
        run: refuses_none,
    },
];

fn forwards(bench: &Bench) -> Outcome<()> {
    let answer = bench.ask(Some(&bench.pki.device))?;
    if !matches!(answer.reply, Reply::Status { code: 200, .. }) || answer.tls != Some(bench.tls) {
        return Err(format!(
            "not answered over {}: {answer:?}",
            bench.tls.name()
        ));
    }
    let head = bench.upstream.last_head();
    if head.contains("forged") {
        return Err(format!("a header of the client came through: {head}"));
    }
    let pem = fs::read_to_string(&bench.pki.device.certificate)
        .map_err(|error| format!("cannot read the device's certificate: {error}"))?;
    let own: Option<String> = pem
        .split("-----")
        .nth(2)
        .map(|body| body.split_whitespace().collect());
    if forwarded_leaf(&head) == own {
        Ok(())
    } else {
        Err(format!(
            "The Things Stack would not find the certificate in: {head}"
        ))
    }
}

fn refuses_unknown(bench: &Bench) -> Outcome<()> {
    let stranger = bench.pki.unknown_ca_device();
    refused(
        bench,
        &bench.ask(Some(&stranger))?.reply,
        &["UnknownCA"],
        "SSL certificate error",
    )
}

/// A proxy of TLS 1.2 has no alert of its own for this and says that the handshake failed.
fn refuses_none(bench: &Bench) -> Outcome<()> {
    let alerts = ["CertificateRequired", "HandshakeFailure"];
    refused(
        bench,
        &bench.ask(None)?.reply,
        &alerts,
        "No required SSL certificate",
    )
}

fn refused(bench: &Bench, reply: &Reply, alerts: &[&str], page: &str) -> Outcome<()> {
    let as_expected = match reply {
        Reply::Alert(alert) => !bench.refuses_in_http && alerts.contains(&alert.as_str()),
        Reply::Status { code, text } => {
            bench.refuses_in_http && *code == 400 && text.contains(page)
        }
    };
    if as_expected {
        Ok(())
    } else {
        Err(format!("{} answered {reply:?}", bench.kind))
    }
}
