//! Acts: proves LNS credentials by a real discovery, TLS and WebSocket and one question.
//!
//! A proof is only `/router-info`: opening the traffic socket throws out whoever has it, so
//! only the holder of the link does that, by the same means. `reference/cups-lns.md` sections 4.1 and 4.3.

use core::time::Duration;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Request;
use tungstenite::http::{HeaderName, HeaderValue, Response};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::clock::{Cutoff, Effective};
use super::http::retry_after;
use super::session::{Seen, Session, SessionError};
use super::tls::TlsAccess;
use crate::agent::evidence::Stage;
use crate::agent::failure::{Class, Failure};
use crate::agent::refusal::{Refusal, discovery_refused};
use crate::config::Network;
use crate::identity::{anchors, pair};
use crate::limits::{BUFFER_OCTETS, RETRY_AFTER_MAX, WRITE_OCTETS_MAX};
use crate::wire::credential::{Credential, Method};
use crate::wire::cups::stack_error::printable;
use crate::wire::error::DecodeError;
use crate::wire::eui::Eui64;
use crate::wire::lns::{self, ANSWER_OCTETS_MAX, DISCOVERY_PATH, Discovered};
use crate::wire::token;
use crate::wire::traffic::MESSAGE_OCTETS_MAX;
use crate::wire::uri::{ServerUri, Service};

const TOKEN_HINT: &str =
    "the LNS does not accept the key in this set: check its rights and that it still exists";

/// Everything needed to reach the LNS with one set.
#[derive(Debug, Clone)]
pub struct Proof {
    /// The gateway.
    pub router: Eui64,
    /// The LNS address of the set.
    pub tc_uri: String,
    /// The credentials of the set.
    pub credential: Option<Credential>,
    /// Whether TLS 1.3 may be used.
    pub allow_tls13: bool,
    /// The time certificates are judged by.
    pub time: Effective,
    /// Deadlines.
    pub network: Network,
}

impl Proof {
    /// Asks the LNS where the gateway's traffic goes; the answer proves the set.
    pub fn run(&self) -> Result<ServerUri, Failure> {
        self.discover().map_err(|failure| self.withheld(failure))
    }

    /// Opens the traffic socket at the address that discovery gave. A proved set may still be
    /// refused here: The Things Stack looks at the token only now.
    pub fn open_traffic(&self, uri: &ServerUri) -> Result<WebSocket<Session>, Failure> {
        let opened = self.upgrade(uri, &uri.to_string(), MESSAGE_OCTETS_MAX);
        opened
            .map(|(socket, _)| socket)
            .map_err(|failure| self.withheld(failure))
    }

    /// The failure without the token, should the far side have repeated it.
    pub(super) fn withheld(&self, mut failure: Failure) -> Failure {
        failure.message = self.withheld_text(&failure.message);
        failure
    }

    /// The far side's words without the token.
    pub(super) fn withheld_text(&self, text: &str) -> String {
        let key = self.credential.as_ref().map(Credential::key);
        token::withheld(text, key.unwrap_or_default())
    }

    fn discover(&self) -> Result<ServerUri, Failure> {
        let uri = ServerUri::parse(&self.tc_uri, Service::Lns).map_err(|error| protocol(&error))?;
        let path = uri.with_path(DISCOVERY_PATH);
        let (mut socket, seen) = self.upgrade(&uri, &path, ANSWER_OCTETS_MAX)?;
        let answer = self
            .ask(&mut socket)
            .map_err(|error| self.failed(&uri, error, seen))?;
        // Polite, and not waited for.
        let _ = socket.close(None);
        Self::judge(&uri, &answer)
    }

    /// Connects and asks for the upgrade at an address with its path.
    fn upgrade(
        &self,
        uri: &ServerUri,
        target: &str,
        octets_max: usize,
    ) -> Result<(WebSocket<Session>, Seen), Failure> {
        let access = self.access(uri)?;
        let total = Cutoff::after(Duration::from_secs(self.network.total_s));
        let connect = Cutoff::after(Duration::from_secs(self.network.connect_s)).or_earlier(total);
        let mut session = Session::open(uri, &access, connect, total)
            .map_err(|error| self.broken(uri, &error))?;
        session.set_cutoff(
            Cutoff::after(Duration::from_secs(self.network.response_s)).or_earlier(total),
        );
        let seen = session.seen();
        let request = self.request(uri, target)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_OCTETS)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_OCTETS_MAX)
            .max_message_size(Some(octets_max))
            .max_frame_size(Some(octets_max));
        let (socket, response) =
            tungstenite::client::client_with_config(request, session, Some(config))
                .map_err(|error| self.not_upgraded(uri, error, seen))?;
        // What an extension makes of the frames nobody here could read (RFC 6455, 4.1).
        let extension = response.headers().get("sec-websocket-extensions");
        if extension.is_some_and(|extension| !extension.is_empty()) {
            let peer = uri.authority();
            let text = format!("{peer} uses a WebSocket extension that was not asked for");
            return Err(Failure::new(Class::Protocol, "websocket", text));
        }
        Ok((socket, seen))
    }

    fn ask(&self, socket: &mut WebSocket<Session>) -> Result<String, Error> {
        socket.send(Message::text(lns::query(self.router)))?;
        loop {
            match socket.read()? {
                Message::Text(text) => return Ok(text.as_str().to_owned()),
                Message::Binary(octets) => return Ok(String::from_utf8_lossy(&octets).into_owned()),
                Message::Close(_) => return Err(Error::ConnectionClosed),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    fn judge(uri: &ServerUri, answer: &str) -> Result<ServerUri, Failure> {
        match lns::parse(answer).map_err(|error| protocol(&error))? {
            Discovered::Refused(text) => Err(discovery_refused(&uri.authority(), &text)),
            Discovered::Traffic(traffic) if uri.is_secure() && !traffic.is_secure() => {
                let text = format!(
                    "the LNS {} sends traffic to plain {traffic}",
                    uri.authority()
                );
                Err(Failure::new(Class::Policy, "policy_downgrade", text)
                    .with_hint("let the LNS answer wss:// (The Things Stack: TLS override option)"))
            }
            Discovered::Traffic(traffic) => Ok(traffic),
        }
    }

    /// What a connection to this address is made with.
    pub(super) fn access(&self, uri: &ServerUri) -> Result<TlsAccess, Failure> {
        let trust = self
            .credential
            .as_ref()
            .map(Credential::trust)
            .filter(|trust| !trust.is_empty());
        let roots = match trust {
            Some(trust) => anchors::from_trust(trust),
            None => Some(RootCertStore::empty()),
        };
        let roots = roots.ok_or_else(|| {
            let text = "the trust part of the LNS credentials holds no usable certificate";
            Failure::new(Class::Protocol, "cred_trust_tag", text)
        })?;
        if roots.is_empty() && uri.is_secure() {
            let text = format!("CUPS gave the address {uri} but no certificate to trust it by");
            return Err(Failure::new(Class::Protocol, "lns_no_trust", text)
                .with_hint("set the gateway's LNS key on the server"));
        }
        Ok(TlsAccess {
            roots: Arc::new(roots),
            pins: Vec::new(),
            certified: self.certified()?,
            allow_tls13: self.allow_tls13,
            time: self.time,
        })
    }

    fn certified(&self) -> Result<Option<Arc<CertifiedKey>>, Failure> {
        let Some(credential) = &self.credential else {
            return Ok(None);
        };
        if credential.method() != Method::Mutual {
            return Ok(None);
        }
        pair::certified(credential.certificate(), credential.key())
            .map(Some)
            .ok_or_else(|| {
                let text = "certificate and key of the LNS credentials cannot be used";
                Failure::new(Class::Protocol, "cred_key_mismatch", text)
            })
    }

    fn request(&self, uri: &ServerUri, target: &str) -> Result<Request, Failure> {
        let unusable = || {
            let text = format!("{uri} cannot be asked");
            Failure::new(Class::Protocol, "uri_host", text)
        };
        let mut request = target.into_client_request().map_err(|_| unusable())?;
        for (name, value) in self.token(uri)? {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
            let mut value = HeaderValue::from_str(value).map_err(|_| unusable())?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }

    /// The header lines that carry the token to this address.
    pub(super) fn token(&self, uri: &ServerUri) -> Result<Vec<(&str, &str)>, Failure> {
        // A token never goes over a connection without TLS; station does the same.
        match &self.credential {
            Some(set) if set.method() == Method::Token && uri.is_secure() => {
                token::lines(set.key()).map_err(|error| protocol(&error))
            }
            _ => Ok(Vec::new()),
        }
    }

    fn not_upgraded(
        &self,
        uri: &ServerUri,
        error: HandshakeError<tungstenite::ClientHandshake<Session>>,
        seen: Seen,
    ) -> Failure {
        match error {
            HandshakeError::Failure(error) => self.failed(uri, error, seen),
            HandshakeError::Interrupted(_) => {
                let text = format!("{}: no answer in time", uri.authority());
                Failure::new(Class::Network, "timeout", text)
            }
        }
    }

    fn failed(&self, uri: &ServerUri, error: Error, seen: Seen) -> Failure {
        match error {
            Error::Io(error) => {
                self.broken(uri, &SessionError::from_io(&error, Stage::Response, seen))
            }
            Error::Http(response) => Self::refused(uri, &response, seen),
            Error::ConnectionClosed | Error::AlreadyClosed => {
                let text = format!(
                    "{} closed the connection instead of answering",
                    uri.authority()
                );
                Failure::new(Class::Network, "closed", text)
            }
            other => {
                let why = printable(&other.to_string(), 120);
                let text = format!("{} does not speak the LNS protocol: {why}", uri.authority());
                Failure::new(Class::Protocol, "websocket", text)
            }
        }
    }

    /// What another status than 101 means.
    pub(super) fn refused(
        uri: &ServerUri,
        response: &Response<Option<Vec<u8>>>,
        seen: Seen,
    ) -> Failure {
        let peer = uri.authority();
        let failure = Refusal {
            peer: &peer,
            status: response.status().as_u16(),
            body: response.body().as_deref().unwrap_or_default(),
            retry_after: retry_after(response.headers(), RETRY_AFTER_MAX),
            location: response
                .headers()
                .get("location")
                .and_then(|value| value.to_str().ok()),
            certificate_requested: seen.is_full_handshake.then_some(seen.certificate_requested),
        }
        .classify();
        if failure.class == Class::NotAuthorised {
            failure.with_hint(TOKEN_HINT)
        } else {
            failure
        }
    }

    /// What the end of a connection to this address means.
    pub(super) fn broken(&self, uri: &ServerUri, error: &SessionError) -> Failure {
        error
            .evidence(uri.authority(), true, self.time.is_sane())
            .classify()
    }
}

fn protocol(error: &DecodeError) -> Failure {
    Failure::new(Class::Protocol, error.code.name(), error.to_string())
}
