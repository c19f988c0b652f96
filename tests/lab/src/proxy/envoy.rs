//! Configures: Envoy as The Things Stack is deployed behind it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Program;
use crate::pki::Pair;
use crate::tls::Versions;

/// Envoy, from the wheel that carries the plain binary.
pub const ENVOY: Program = Program {
    name: "envoy",
    variable: "MTLS_ENVOY",
    packaged: "lib/*/site-packages/envoy/_bin/envoy",
};

/// One port that Envoy listens on, and what is behind it.
#[derive(Debug, Clone)]
pub struct Site {
    /// Names listener and cluster.
    pub name: &'static str,
    /// The free loopback port to listen on.
    pub port: u16,
    /// Envoy's own certificate, leaf first, and its key.
    pub server: Pair,
    /// The versions to speak.
    pub versions: Versions,
    /// The authorities of client certificates, PEM; without it none is asked for. The
    /// certificate is passed on in `x-forwarded-client-cert`, with its chain.
    pub client_authorities: Option<PathBuf>,
    /// Whether `Upgrade: websocket` is let through.
    pub takes_websockets: bool,
    /// The plain HTTP server behind it.
    pub upstream: SocketAddr,
}

/// Writes `envoy.yaml` into the folder and makes the command that serves these sites.
///
/// # Errors
/// The folder cannot be written.
pub fn command(program: &Path, folder: &Path, sites: &[Site]) -> io::Result<Command> {
    let file = folder.join("envoy.yaml");
    fs::write(&file, configuration(sites))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(file);
    command.args([
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "--log-level",
        "warning",
    ]);
    Ok(command)
}

fn configuration(sites: &[Site]) -> String {
    let all = |part: fn(&Site) -> String| sites.iter().map(part).collect::<String>();
    format!(
        "node: {{ id: test, cluster: test }}\nstatic_resources:\n  listeners:\n{}  clusters:\n{}",
        all(listener),
        all(cluster)
    )
}

fn listener(site: &Site) -> String {
    format!(
        r#"  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    # Two of them at one port would share the connections, and neither would complain.
    enable_reuse_port: false
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: {asks}
          common_tls_context:
{versions}            tls_certificates:
            - certificate_chain: {{ filename: "{chain}" }}
              private_key: {{ filename: "{key}" }}
{authorities}      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          forward_client_cert_details: SANITIZE_SET
          set_current_client_cert_details: {{ chain: true }}
{upgrades}          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            request_headers_to_remove:
            - x-forwarded-tls-client-cert
            - x-forwarded-tls-client-cert-info
            virtual_hosts:
            - name: {name}
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: {name} }}
"#,
        name = site.name,
        port = site.port,
        asks = site.client_authorities.is_some(),
        versions = versions(site.versions),
        chain = site.server.certificate.display(),
        key = site.server.key.display(),
        authorities = site
            .client_authorities
            .as_deref()
            .map_or_else(String::new, authorities),
        upgrades = if site.takes_websockets { UPGRADES } else { "" },
    )
}

/// Envoy's idle limit of 5 min stays: the pings of the link are octets to it.
const UPGRADES: &str = "          upgrade_configs: [{ upgrade_type: websocket }]\n";

fn authorities(file: &Path) -> String {
    let file = file.display();
    format!(
        "            validation_context:\n              trusted_ca: {{ filename: \"{file}\" }}\n"
    )
}

fn versions(versions: Versions) -> String {
    let only = match versions {
        Versions::Both => return String::new(),
        Versions::Tls12 => "TLSv1_2",
        Versions::Tls13 => "TLSv1_3",
    };
    let at = "              tls";
    format!(
        "            tls_params:\n{at}_minimum_protocol_version: {only}\n{at}_maximum_protocol_version: {only}\n"
    )
}

fn cluster(site: &Site) -> String {
    format!(
        r"  - name: {name}
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {{ address: {host}, port_value: {port} }}
",
        name = site.name,
        host = site.upstream.ip(),
        port = site.upstream.port(),
    )
}
