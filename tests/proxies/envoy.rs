//! Configures: Envoy as The Things Stack is deployed behind it, XFCC header with chain.

use std::path::Path;
use std::process::Command;

use mtls_lab::pki::Pair;
use mtls_lab::proxy::envoy;
use mtls_lab::tls::Versions;

use crate::Outcome;
use crate::process::{Kind, Site, Tls};

/// Envoy, from the wheel that carries the plain binary.
pub(crate) const ENVOY: Kind = Kind {
    program: envoy::ENVOY,
    refuses_in_http: false,
    command,
};

fn command(program: &Path, site: &Site) -> Outcome<Command> {
    let cups = envoy::Site {
        name: "cups",
        port: site.port,
        server: Pair {
            certificate: site.server_chain.clone(),
            key: site.server_key.clone(),
        },
        versions: match site.tls {
            Tls::V12 => Versions::Tls12,
            Tls::V13 => Versions::Tls13,
        },
        client_authorities: Some(site.client_authorities.clone()),
        takes_websockets: false,
        upstream: site.upstream,
    };
    envoy::command(program, &site.folder, &[cups])
        .map_err(|error| format!("cannot write the configuration: {error}"))
}
