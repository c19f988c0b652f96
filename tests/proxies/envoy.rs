//! Configures: Envoy as The Things Stack is deployed behind it, XFCC header with chain.

use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::process::{Kind, Site, Tls};

/// Envoy, from the wheel that carries the plain binary.
pub(crate) const ENVOY: Kind = Kind {
    name: "envoy",
    variable: "MTLS_ENVOY",
    packaged: "lib/*/site-packages/envoy/_bin/envoy",
    refuses_in_http: false,
    command,
};

fn command(program: &Path, site: &Site) -> Outcome<Command> {
    let file = site.write("envoy.yaml", &configuration(site))?;
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

fn configuration(site: &Site) -> String {
    let version = match site.tls {
        Tls::V12 => "TLSv1_2",
        Tls::V13 => "TLSv1_3",
    };
    format!(
        r#"node: {{ id: test, cluster: test }}
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_params:
              tls_minimum_protocol_version: {version}
              tls_maximum_protocol_version: {version}
            tls_certificates:
            - certificate_chain: {{ filename: "{chain}" }}
              private_key: {{ filename: "{key}" }}
            validation_context:
              trusted_ca: {{ filename: "{authorities}" }}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: cups
          forward_client_cert_details: SANITIZE_SET
          set_current_client_cert_details: {{ chain: true }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            request_headers_to_remove:
            - x-forwarded-tls-client-cert
            - x-forwarded-tls-client-cert-info
            virtual_hosts:
            - name: cups
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: cups }}
{clusters}"#,
        clusters = clusters(site),
        port = site.port,
        chain = site.server_chain.display(),
        key = site.server_key.display(),
        authorities = site.client_authorities.display(),
    )
}

fn clusters(site: &Site) -> String {
    format!(
        r"  clusters:
  - name: cups
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: cups
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {{ address: {host}, port_value: {port} }}
",
        host = site.upstream.ip(),
        port = site.upstream.port(),
    )
}
