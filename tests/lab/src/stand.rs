//! Runs: one double on its own, until standard input ends.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mtls_lab::cups::answer::Dialect;
use mtls_lab::cups::{self, CupsDouble, Gateway};
use mtls_lab::front::{self, Front, Header};
use mtls_lab::lns::{self, LnsDouble};
use mtls_lab::mender::{self, Ambassador, Door, MenderDouble, Rules, Status};
use mtls_lab::pki::{Pair, Pki};
use mtls_lab::tls::{self, Versions};

use crate::Failure;
use crate::args::{Args, eui};

/// How often new events are looked for.
const GLANCE: Duration = Duration::from_millis(100);

/// Makes all certificates and lists them.
pub(crate) fn pki(args: &Args) -> Result<bool, Failure> {
    let eui = eui(args.get("eui").unwrap_or("0123456789ABCDEF"))?;
    let pki = Pki::make(Path::new(args.need("out")?), &eui);
    let files = [
        (
            "device certificate, with its issuing CA",
            &pki.device.certificate,
        ),
        ("device key", &pki.device.key),
        (
            "root of the device certificates, for the proxy",
            &pki.client_root,
        ),
        (
            "their issuing CA, for the CA store of CUPS",
            &pki.client_issuing,
        ),
        (
            "certificate of the proxy, with its issuing CA",
            &pki.server.certificate,
        ),
        ("key of the proxy", &pki.server.key),
        (
            "root of the proxy, trust anchor of the agent",
            &pki.server_root,
        ),
        ("certificate of the LNS", &pki.lns.server.certificate),
        ("key of the LNS", &pki.lns.server.key),
        ("root of the LNS, delivered by CUPS", &pki.lns.root),
    ];
    for (what, path) in files {
        println!("{:48} {}", what, path.display());
    }
    Ok(true)
}

/// Runs a CUPS double.
pub(crate) fn cups(args: &Args) -> Result<bool, Failure> {
    let dialect = if args.has("canonical") {
        Dialect::Canonical
    } else {
        Dialect::TheThingsStack
    };
    let config = cups::Config {
        port: args.port()?,
        ca_store: args.files("ca")?,
        api_keys: args.all("api-key").map(str::to_owned).collect(),
        dialect,
        budget: None,
    };
    let double = CupsDouble::start(&config).map_err(|error| cannot_listen(&error))?;
    if let Some(text) = args.get("eui") {
        let trust = match args.get("lns-trust") {
            None => Vec::new(),
            Some(_) => tls::certificates(&args.file("lns-trust")?)
                .first()
                .map_or_else(Vec::new, |certificate| certificate.to_vec()),
        };
        double.set_gateway(
            &eui(text)?,
            Gateway {
                lns_uri: args.need("lns-uri")?.to_owned(),
                lns_trust_der: trust,
                lns_key: args.get("lns-key").map(str::to_owned),
                cups_target: None,
            },
        );
    }
    println!("{}", double.uri());
    let mut shown = 0;
    until_input_ends(|| {
        let requests = double.requests();
        for seen in requests.iter().skip(shown) {
            let who = seen.client_cn.as_deref().unwrap_or("no certificate");
            let (method, path) = (&seen.request.method, &seen.request.path);
            println!(
                "{method} {path} ({who}) -> {}, {} octets",
                seen.status,
                seen.answer.len()
            );
        }
        shown = requests.len();
    });
    Ok(true)
}

/// Runs an LNS double.
pub(crate) fn lns(args: &Args) -> Result<bool, Failure> {
    let pair = match args.get("cert") {
        None => None,
        Some(_) => Some(Pair {
            certificate: args.file("cert")?,
            key: args.file("key")?,
        }),
    };
    let config = lns::Config {
        port: args.port()?,
        tls: pair,
        accept_tokens: args
            .has("token")
            .then(|| args.all("token").map(str::to_owned).collect()),
        discovery_ignores_token: args.has("discovery-ignores-token"),
        ..lns::Config::default()
    };
    let double = LnsDouble::start(&config).map_err(|error| cannot_listen(&error))?;
    println!("{}", double.uri());
    let (mut discoveries, mut connections) = (0, 0);
    until_input_ends(|| {
        for seen in double.discoveries().iter().skip(discoveries) {
            discoveries += 1;
            let outcome = if seen.accepted {
                "address given"
            } else {
                "refused"
            };
            println!(
                "discovery of {}, {}: {outcome}",
                seen.router,
                token(seen.token.as_deref())
            );
        }
        for seen in double.connections().iter().skip(connections) {
            connections += 1;
            let token = token(seen.token.as_deref());
            println!("traffic of {}, {token}: {}", seen.eui, seen.status);
        }
    });
    Ok(true)
}

/// Runs a front.
pub(crate) fn front(args: &Args) -> Result<bool, Failure> {
    let upstream = args.need("upstream")?;
    let config = front::Config {
        port: args.port()?,
        certificate: args.file("cert")?,
        key: args.file("key")?,
        client_root: args.file("client-root")?,
        upstream: upstream.parse().map_err(|_| wrong("upstream", upstream))?,
        versions: versions(args)?,
        header: match args.get("header") {
            None | Some("traefik") => Header::Traefik,
            Some("envoy") => Header::Envoy,
            Some("none") => Header::None,
            Some(other) => return Err(wrong("header", other)),
        },
        keep_alive: true,
    };
    let double = Front::start(config).map_err(|error| cannot_listen(&error))?;
    println!("{}", double.uri());
    let mut shown = (0, 0);
    until_input_ends(|| {
        let now = (double.handshakes(), double.handshake_failures());
        if now != shown {
            println!("handshakes: {} done, {} failed", now.0, now.1);
            shown = now;
        }
    });
    Ok(true)
}

/// Runs an ambassador and the Mender server behind it.
pub(crate) fn mender(args: &Args) -> Result<bool, Failure> {
    let door = if args.has("behind-proxy") {
        Door::BehindProxy
    } else {
        let server = Pair {
            certificate: args.file("cert")?,
            key: args.file("key")?,
        };
        match args.get("client-root") {
            None => Door::Server { server },
            Some(_) => Door::Ambassador {
                server,
                client_root: args.file("client-root")?,
            },
        }
    };
    let token_life_s = match args.get("token-life") {
        None => Rules::default().token_life_s,
        Some(text) => text.parse().map_err(|_| wrong("token-life", text))?,
    };
    let config = mender::Config {
        port: args.port()?,
        versions: versions(args)?,
        ambassador: Ambassador {
            takes_new_keys: args.has("new-keys"),
            ..Ambassador::default()
        },
        rules: Rules {
            token_life_s,
            tenant_token: args.get("tenant-token").map(str::to_owned),
            ..Rules::default()
        },
        tokens: if args.has("rs256") {
            mender::token::Algorithm::Rs256
        } else {
            mender::token::Algorithm::EdDsa
        },
        ..mender::Config::new(door)
    };
    let double = MenderDouble::start(config).map_err(|error| cannot_listen(&error))?;
    println!("{}", double.uri());
    let mut shown = 0;
    until_input_ends(|| {
        for seen in double.requests().iter().skip(shown) {
            shown += 1;
            let leaf = seen.client.as_ref();
            let who = leaf.map_or("no certificate", |leaf| leaf.subject.as_str());
            let (method, path) = (&seen.request.method, &seen.request.path);
            match seen.status {
                Some(status) => println!("{method} {path} ({who}) -> {status}"),
                None => println!("{method} {path} ({who}) -> nothing"),
            }
        }
        let sets = double.devices().into_iter().flat_map(|device| device.sets);
        for set in sets.filter(|set| args.has("accept") && set.status == Status::Pending) {
            double.accept(&set.id);
        }
    });
    Ok(true)
}

fn versions(args: &Args) -> Result<Versions, Failure> {
    match args.get("tls") {
        None => Ok(Versions::Both),
        Some("1.2") => Ok(Versions::Tls12),
        Some("1.3") => Ok(Versions::Tls13),
        Some(other) => Err(wrong("tls", other)),
    }
}

fn wrong(name: &str, text: &str) -> Failure {
    Failure::Usage(format!("--{name} cannot be {text}"))
}

/// Names a token without showing it.
fn token(token: Option<&str>) -> String {
    let name = |token: &str| {
        tls::fingerprint(token.as_bytes())
            .chars()
            .take(8)
            .collect::<String>()
    };
    token.map_or_else(
        || "no token".to_owned(),
        |token| format!("token #{}", name(token)),
    )
}

fn cannot_listen(error: &std::io::Error) -> Failure {
    Failure::work("cannot listen", error)
}

fn until_input_ends(mut glance: impl FnMut()) {
    let ended = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ended);
    thread::spawn(move || {
        while matches!(std::io::stdin().read(&mut [0; 256]), Ok(1..)) {}
        seen.store(true, Ordering::SeqCst);
    });
    while !ended.load(Ordering::SeqCst) {
        glance();
        thread::sleep(GLANCE);
    }
    glance();
}
