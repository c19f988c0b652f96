//! Configures: Traefik with `passTLSClientCert`, the other header The Things Stack reads.

use std::path::Path;
use std::process::Command;

use mtls_lab::proxy::Program;

use crate::Outcome;
use crate::process::{Kind, Site, Tls};

/// Traefik, from the wheel that carries the plain binary.
pub(crate) const TRAEFIK: Kind = Kind {
    program: Program {
        name: "traefik",
        variable: "MTLS_TRAEFIK",
        packaged: "bin/traefik",
    },
    refuses_in_http: false,
    command,
};

fn command(program: &Path, site: &Site) -> Outcome<Command> {
    let routes = site.write("routes.yaml", &routes(site))?;
    let entry = format!(
        r#"global: {{ checkNewVersion: false, sendAnonymousUsage: false }}
log: {{ level: INFO }}
entryPoints:
  devices: {{ address: "127.0.0.1:{port}" }}
providers:
  file: {{ filename: "{routes}", watch: false }}
"#,
        port = site.port,
        routes = routes.display(),
    );
    let mut command = Command::new(program);
    command
        .arg("--configFile")
        .arg(site.write("traefik.yaml", &entry)?);
    Ok(command)
}

/// The TLS options belong to the host name of the router: a router without `Host` would get
/// the default options, which do not ask for a certificate. Traefik leaves Envoy's header
/// of a client alone, so both families are taken out by hand.
fn routes(site: &Site) -> String {
    let version = match site.tls {
        Tls::V12 => "VersionTLS12",
        Tls::V13 => "VersionTLS13",
    };
    format!(
        r#"http:
  routers:
    cups:
      rule: "Host(`localhost`)"
      entryPoints: [devices]
      middlewares: [strip, forward]
      service: cups
      tls: {{ options: devices }}
  middlewares:
    strip:
      headers:
        customRequestHeaders:
          X-Forwarded-Client-Cert: ""
          X-Forwarded-Tls-Client-Cert: ""
          X-Forwarded-Tls-Client-Cert-Info: ""
    forward:
      passTLSClientCert: {{ pem: true }}
  services:
    cups:
      loadBalancer:
        servers: [{{ url: "http://{upstream}" }}]
tls:
  certificates:
  - {{ certFile: "{chain}", keyFile: "{key}" }}
  options:
    devices:
      minVersion: {version}
      maxVersion: {version}
      clientAuth: {{ caFiles: ["{authorities}"], clientAuthType: RequireAndVerifyClientCert }}
"#,
        upstream = site.upstream,
        chain = site.server_chain.display(),
        key = site.server_key.display(),
        authorities = site.client_authorities.display(),
    )
}
