//! Configures: nginx, which has no DER variable and so imitates Envoy's header.

use std::path::Path;
use std::process::Command;

use mtls_lab::proxy::Program;

use crate::Outcome;
use crate::process::{Kind, Site, Tls};

/// nginx of the distribution.
pub(crate) const NGINX: Kind = Kind {
    program: Program {
        name: "nginx",
        variable: "MTLS_NGINX",
        packaged: "sbin/nginx",
    },
    refuses_in_http: true,
    command,
};

fn command(program: &Path, site: &Site) -> Outcome<Command> {
    let file = site.write("nginx.conf", &configuration(site))?;
    let mut command = Command::new(program);
    command
        .arg("-p")
        .arg(&site.folder)
        .arg("-c")
        .arg(file)
        .args(["-e", "stderr"]);
    Ok(command)
}

/// One process and no daemon, so that killing it ends all of it.
fn configuration(site: &Site) -> String {
    let version = match site.tls {
        Tls::V12 => "TLSv1.2",
        Tls::V13 => "TLSv1.3",
    };
    format!(
        r#"daemon off;
master_process off;
pid nginx.pid;
error_log stderr info;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    server_name localhost;
    ssl_protocols {version};
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_client_certificate {authorities};
    ssl_verify_client on;
    ssl_verify_depth 3;
    location / {{
      proxy_pass http://{upstream};
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-Client-Cert 'Chain="$ssl_client_escaped_cert"';
      proxy_set_header X-Forwarded-Tls-Client-Cert "";
      proxy_set_header X-Forwarded-Tls-Client-Cert-Info "";
    }}
  }}
}}
"#,
        port = site.port,
        chain = site.server_chain.display(),
        key = site.server_key.display(),
        authorities = site.client_authorities.display(),
        upstream = site.upstream,
    )
}
