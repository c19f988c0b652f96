//! Stands: a gateway with the state of a vector, before a CUPS that answers as the vector says.

use mtls_lab::cups::{Config, CupsDouble};
use mtls_lab::front::{self, Front, Header};
use mtls_lab::http::{Framing, RawAnswer, Request};
use mtls_lab::tls::Versions;
use serde_json::Value;

use super::gateway::Gateway;
use super::vectors::{Files, Vectors, body};

/// The device of the vectors, a proxy whose certificate their `cups.trust` anchors, and CUPS.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) front: Front,
    pub(crate) cups: CupsDouble,
}

impl Stage {
    pub(crate) fn new(vectors: &Vectors, before: &Files) -> Self {
        let cups = CupsDouble::start(&Config::default()).unwrap();
        Self::before(cups.address(), cups, vectors, before)
    }

    /// The same with another server behind the proxy.
    pub(crate) fn before(
        upstream: std::net::SocketAddr,
        cups: CupsDouble,
        vectors: &Vectors,
        before: &Files,
    ) -> Self {
        let mut gateway = Gateway::new();
        for (name, octets) in before {
            let is_identity = name.starts_with("cups.") && name != "cups.uri";
            match name.as_str() {
                _ if is_identity => gateway.write(name, octets),
                "cups.uri" => continue,
                _ => gateway.write(&format!("station/{name}"), octets),
            };
        }
        let material = |name: &str| gateway.write(name, &vectors.material(name));
        let front = Front::start(front::Config {
            port: 0,
            certificate: material("server_localhost_signed_by_rootB_pem"),
            key: material("server_localhost_signed_by_rootB_key_pem"),
            client_root: material("rootA_pem"),
            upstream,
            versions: Versions::Both,
            header: Header::Traefik,
            keep_alive: true,
        })
        .unwrap();
        gateway.set("cups", "uri", front.uri());
        gateway.set("cups", "model", "raspberrypi4-64");
        gateway.set("cups", "package", "1.0.0");
        Self {
            gateway,
            front,
            cups,
        }
    }

    /// The request that was sent last.
    pub(crate) fn last_request(&self) -> Request {
        self.cups.requests().pop().unwrap().request
    }

    /// The JSON of the request that was sent last.
    pub(crate) fn last_json(&self) -> Value {
        serde_json::from_slice(&self.last_request().body).unwrap()
    }
}

/// The HTTP answer of a vector.
pub(crate) fn http_answer(vector: &Value) -> RawAnswer {
    let response = &vector["response"];
    let headers = [
        ("content_type", "Content-Type"),
        ("location", "Location"),
        ("retry_after", "Retry-After"),
    ];
    let headers = headers.iter().filter_map(|(field, name)| {
        let value = response[*field].as_str()?;
        Some(((*name).to_owned(), value.to_owned()))
    });
    RawAnswer {
        status: u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
        headers: headers.collect(),
        body: body(vector),
        framing: match vector["http_framing"].as_str() {
            None | Some("content-length") => Framing::ContentLength,
            Some("chunked") => Framing::Chunked,
            Some("no-content-length" | "close") => Framing::UntilClose,
            Some(other) => unreachable!("no such framing in the vectors: {other}"),
        },
    }
}
