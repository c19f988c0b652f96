//! Configures: HAProxy imitating Traefik's header, the leaf as one line of base64.

use std::fs;
use std::path::Path;
use std::process::Command;

use mtls_lab::proxy::Program;

use crate::Outcome;
use crate::process::{Kind, Site, Tls};

/// HAProxy of the distribution.
pub(crate) const HAPROXY: Kind = Kind {
    program: Program {
        name: "haproxy",
        variable: "MTLS_HAPROXY",
        packaged: "sbin/haproxy",
    },
    refuses_in_http: false,
    command,
};

fn command(program: &Path, site: &Site) -> Outcome<Command> {
    let both = site.write("server.pem", &pair(site)?)?;
    let file = site.write("haproxy.cfg", &configuration(site, &both))?;
    let mut command = Command::new(program);
    // In the foreground and without worker processes, so that killing it ends all of it.
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

/// HAProxy wants the chain and the key in one file.
fn pair(site: &Site) -> Outcome<String> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    Ok(read(&site.server_chain)? + &read(&site.server_key)?)
}

fn configuration(site: &Site, both: &Path) -> String {
    let version = match site.tls {
        Tls::V12 => "TLSv1.2",
        Tls::V13 => "TLSv1.3",
    };
    format!(
        r"global
  log stdout format raw local0
  maxconn 200
  tune.ssl.default-dh-param 2048
  ssl-default-bind-options ssl-min-ver {version} ssl-max-ver {version}

defaults
  mode http
  log global
  option httplog
  timeout connect 5s
  timeout client 60s
  timeout server 60s

frontend devices
  bind 127.0.0.1:{port} ssl crt {both} ca-file {authorities} verify required
  http-request del-header X-Forwarded-Client-Cert
  http-request del-header X-Forwarded-Tls-Client-Cert -m beg
  http-request set-header X-Forwarded-Tls-Client-Cert %[ssl_c_der,base64]
  default_backend cups

backend cups
  server cups {upstream}
",
        port = site.port,
        both = both.display(),
        authorities = site.client_authorities.display(),
        upstream = site.upstream,
    )
}
