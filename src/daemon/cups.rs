//! Acts: one CUPS exchange from connection to an offer that has passed every check.
//!
//! Status, content type, size, framing, addresses, credentials, policy, signature: in this
//! order, all or nothing. `reference/cups-lns.md` section 7.

use core::time::Duration;
use std::path::PathBuf;

use ureq::http::{HeaderMap, Method, Response};

use super::accept;
use super::clock::Cutoff;
use super::http::{self, Answering, HttpError, Message};
use super::session::{Session, SessionError};
use super::tls::TlsAccess;
use super::update::{Sink, SinkError};
use crate::agent::evidence::Stage;
use crate::agent::failure::{Class, Failure};
use crate::agent::refusal::Refusal;
use crate::config::Network;
use crate::limits::{ANSWER_OCTETS_MAX, BUFFER_OCTETS, RETRY_AFTER_MAX};
use crate::wire::cups::answer::{self, Answer, Layout};
use crate::wire::cups::stack_error::printable;
use crate::wire::error::{Code, DecodeError};
use crate::wire::policy::{InForce, Note, Offer, Policy};
use crate::wire::token;
use crate::wire::uri::ServerUri;

/// The path of the only CUPS request.
const PATH: &str = "/update-info";

/// Everything needed to ask a CUPS server.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The server.
    pub uri: ServerUri,
    /// Anchors, identity, time.
    pub tls: TlsAccess,
    /// Header lines of token credentials, if CUPS credentials of that kind are in force.
    pub headers: Vec<(String, String)>,
    /// The request's body.
    pub body: String,
    /// The LNS address in force.
    pub tc_uri: Option<ServerUri>,
    /// What CUPS may change.
    pub policy: Policy,
    /// What happens to an update.
    pub updates: Updates,
    /// Deadlines.
    pub network: Network,
    /// Whether the device certificate is within its validity.
    pub own_certificate_valid: bool,
    /// Connections in a row that ended without a word.
    pub silent_closes: u32,
}

/// What happens to an update segment.
#[derive(Debug, Clone, Default)]
pub struct Updates {
    /// Where updates are stored, if they are on.
    pub data_dir: Option<PathBuf>,
    /// Largest update, octets.
    pub octets_max: u64,
    /// Contents of the installed keys.
    pub keys: Vec<Vec<u8>>,
}

/// A good answer.
#[derive(Debug, Clone, Default)]
pub struct Answered {
    /// What is left to change, and what was ignored.
    pub offer: Offer,
    /// A verified update, ready to be run.
    pub update: Option<PathBuf>,
}

/// A failed exchange, and whether it was one more close without a word.
#[derive(Debug, Clone)]
pub struct AskError {
    /// What it means.
    pub failure: Failure,
    /// Whether the server closed silently after asking for our certificate.
    pub is_silent_close: bool,
}

impl From<Failure> for AskError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            is_silent_close: false,
        }
    }
}

impl Ask {
    /// Asks, and checks the whole answer.
    pub fn run(&self) -> Result<Answered, AskError> {
        let total = Cutoff::after(Duration::from_secs(self.network.total_s));
        let connect = Cutoff::after(Duration::from_secs(self.network.connect_s));
        let session = Session::open(&self.uri, &self.tls, connect.or_earlier(total), total)
            .map_err(|error| self.broken(&error))?;
        let response = Cutoff::after(Duration::from_secs(self.network.response_s));
        let url = self.uri.with_path(PATH);
        let message = Message {
            method: &Method::POST,
            url: &url,
            headers: &self.headers,
            body: &self.body,
        };
        let (head, mut body) =
            http::send(session, message, response, total).map_err(|error| self.http(error))?;
        if head.status().as_u16() != 200 {
            let failure = self.refused(&head, &mut body);
            return Err(self.without_token(failure).into());
        }
        check_content_type(head.headers())
            .and_then(|()| check_content_encoding(head.headers()))
            .map_err(|error| self.malformed(&error))?;
        self.read_answer(&mut body)
    }

    fn read_answer(&self, body: &mut Answering) -> Result<Answered, AskError> {
        let (head, layout) = self.read_head(body)?;
        let (update, surplus) = self.read_update(body, &head, &layout)?;
        let malformed = |error: DecodeError| self.malformed(&error);
        layout.check_surplus(&surplus).map_err(malformed)?;
        let answer = Answer::from_head(&head, &layout).map_err(malformed)?;
        for credential in [&answer.cups, &answer.tc].into_iter().flatten() {
            accept::check(credential, self.tls.time).map_err(malformed)?;
        }
        let signature = answer.signature.clone();
        let in_force = InForce {
            cups_uri: &self.uri,
            tc_uri: self.tc_uri.as_ref(),
        };
        let mut offer = self
            .policy
            .apply(answer, in_force)
            .map_err(|error| self.malformed(&error))?;
        let Some(sink) = update else {
            return Ok(Answered {
                offer,
                update: None,
            });
        };
        let verdict = match sink.finish(signature.as_ref(), &self.updates.keys) {
            Err(SinkError::Storage(error)) => return Err(not_stored(&error)),
            Err(SinkError::Refused(error)) => Err(error),
            Ok(update) => Ok(update),
        };
        if self.updates.data_dir.is_some() {
            let update = verdict.map_err(|error| self.malformed(&error))?;
            return Ok(Answered { offer, update });
        }
        offer
            .notes
            .push(ignored_update(layout.update_length, verdict.err()));
        Ok(Answered {
            offer,
            update: None,
        })
    }

    /// Reads until the whole head is there; what follows it may be in the buffer already.
    fn read_head(&self, body: &mut Answering) -> Result<(Vec<u8>, Layout), AskError> {
        let mut head = Vec::new();
        let mut buffer = [0; BUFFER_OCTETS];
        loop {
            if let Some(layout) = Layout::find(&head).map_err(|error| self.malformed(&error))? {
                return Ok((head, layout));
            }
            if head.len() > ANSWER_OCTETS_MAX {
                return Err(self.malformed(&too_large()));
            }
            let amount = body
                .read(&mut buffer)
                .map_err(|error| self.cut(error, &head))?;
            if amount == 0 {
                return Err(self.malformed(&answer::truncated(&head)));
            }
            head.extend_from_slice(buffer.get(..amount).unwrap_or_default());
        }
    }

    /// Passes the update on and returns what follows it.
    fn read_update(
        &self,
        body: &mut Answering,
        head: &[u8],
        layout: &Layout,
    ) -> Result<(Option<Sink>, Vec<u8>), AskError> {
        let length = layout.update_length;
        if u64::try_from(length).unwrap_or(u64::MAX) > self.updates.octets_max && length > 0 {
            let what = format!(
                "update: {length} octets announced, cups.update_mib_max allows {}",
                self.updates.octets_max
            );
            return Err(self.malformed(&DecodeError::of(Code::UpdateTooLarge, what)));
        }
        let storage = |error| not_stored(&error);
        let mut sink = (length > 0)
            .then(|| Sink::open(self.updates.data_dir.as_deref()))
            .transpose()
            .map_err(storage)?;
        let mut left = length;
        let mut buffer = [0; BUFFER_OCTETS];
        let mut surplus = Vec::new();
        let mut piece = head.get(layout.update_start..).unwrap_or_default();
        loop {
            let (data, rest) = piece.split_at(piece.len().min(left));
            if let Some(sink) = &mut sink {
                sink.take(data).map_err(storage)?;
            }
            left = left.saturating_sub(data.len());
            surplus.extend_from_slice(rest);
            if layout.update_start.saturating_add(surplus.len()) > ANSWER_OCTETS_MAX {
                return Err(self.malformed(&too_large()));
            }
            let amount = body
                .read(&mut buffer)
                .map_err(|error| self.cut(error, head))?;
            if amount == 0 {
                break;
            }
            piece = buffer.get(..amount).unwrap_or_default();
        }
        if left > 0 {
            let there = layout.body_length().saturating_sub(left);
            return Err(self.malformed(&answer::truncated_update(layout, there)));
        }
        Ok((sink, surplus))
    }

    fn malformed(&self, error: &DecodeError) -> AskError {
        let class = match error.code {
            Code::PolicyDowngrade | Code::PolicyHost | Code::PolicyPlain => Class::Policy,
            Code::UpdateUnsigned | Code::UpdateSignature => Class::Policy,
            _ => Class::Protocol,
        };
        let text = format!("the answer of {} is refused: {error}", self.uri.authority());
        Failure::new(class, error.code.name(), text)
            .with_hint(hint(error.code))
            .into()
    }

    /// A body that breaks off: the length that was announced did not come.
    fn cut(&self, error: HttpError, head: &[u8]) -> AskError {
        match &error {
            HttpError::Broken(broken) if broken.tls.is_none() && broken.is_end() => {
                self.malformed(&DecodeError::at(
                    Code::Truncated,
                    head.len(),
                    "the answer is cut off before its announced length",
                ))
            }
            _ => self.http(error),
        }
    }

    fn http(&self, error: HttpError) -> AskError {
        match error {
            HttpError::Broken(error) => self.broken(&error),
            HttpError::NotHttp(failure) => {
                let message = format!("{}: {}", self.uri.authority(), failure.message);
                Failure { message, ..failure }.into()
            }
        }
    }

    fn broken(&self, error: &SessionError) -> AskError {
        let clock_sane = self.tls.time.is_sane();
        let mut evidence =
            error.evidence(self.uri.authority(), self.own_certificate_valid, clock_sane);
        evidence.silent_closes = self.silent_closes;
        AskError {
            failure: evidence.classify(),
            is_silent_close: evidence.is_silent_close(),
        }
    }

    /// A failure without the token, should the server repeat it.
    fn without_token(&self, mut failure: Failure) -> Failure {
        let line = |(name, value): &(String, String)| format!("{name}: {value}\n");
        let lines: String = self.headers.iter().map(line).collect();
        failure.message = token::withheld(&failure.message, lines.as_bytes());
        failure
    }

    fn refused(&self, head: &Response<()>, body: &mut Answering) -> Failure {
        let text = body.excerpt();
        let seen = body.seen();
        let peer = self.uri.authority();
        Refusal {
            peer: &peer,
            status: head.status().as_u16(),
            body: &text,
            retry_after: http::retry_after(head.headers(), RETRY_AFTER_MAX),
            location: header(head.headers(), "location"),
            certificate_requested: seen.is_full_handshake.then_some(seen.certificate_requested),
        }
        .classify()
    }
}

impl SessionError {
    /// Whether the far side ended the connection, rather than a deadline of ours.
    const fn is_end(&self) -> bool {
        use crate::agent::evidence::SocketFault;
        matches!(self.socket, SocketFault::Closed | SocketFault::Reset)
            && matches!(self.stage, Stage::Body)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn check_content_type(headers: &HeaderMap) -> Result<(), DecodeError> {
    let Some(kind) = header(headers, "content-type") else {
        return Ok(());
    };
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if kind == "application/octet-stream" || kind == "binary/octet-stream" {
        return Ok(());
    }
    let what = format!("the answer is {kind:?} instead of application/octet-stream");
    Err(DecodeError::of(Code::HttpContentType, what))
}

/// Nothing was asked for, so nothing but the octets themselves may come.
fn check_content_encoding(headers: &HeaderMap) -> Result<(), DecodeError> {
    let Some(coding) = headers.get("content-encoding") else {
        return Ok(());
    };
    let coding = coding.to_str().unwrap_or("unreadable").trim();
    if coding.is_empty() || coding.eq_ignore_ascii_case("identity") {
        return Ok(());
    }
    let coding = printable(coding, 40);
    let what = format!("the answer is encoded ({coding}) although no encoding was asked for");
    Err(DecodeError::of(Code::HttpBody, what))
}

fn not_stored(error: &std::io::Error) -> AskError {
    let text = format!("the update cannot be stored: {error}");
    Failure::new(Class::Storage, "update_storage", text).into()
}

fn too_large() -> DecodeError {
    let what = "the answer is larger than any CUPS answer";
    DecodeError::of(Code::TooLarge, what)
}

fn ignored_update(length: usize, error: Option<DecodeError>) -> Note {
    let code = error
        .as_ref()
        .map_or(Code::UpdateIgnored, |error| error.code);
    let why = error.map_or_else(String::new, |error| format!(" ({error})"));
    let text = format!("an update of {length} octets is ignored, updates are off{why}");
    Note {
        code,
        text: text.into(),
    }
}

const fn hint(code: Code) -> &'static str {
    match code {
        Code::HttpContentType | Code::TooLarge => {
            "something else than CUPS answers: a captive portal, or the wrong port"
        }
        Code::PolicyDowngrade | Code::PolicyPlain | Code::PolicyHost => {
            "correct the address on the server, or allow it in the configuration"
        }
        Code::UpdateSignature | Code::UpdateUnsigned | Code::UpdateTooLarge => {
            "correct the update on the server; nothing was run"
        }
        Code::Truncated => "the answer was cut on the way or by the server; nothing was changed",
        _ => "nothing was changed; correct the gateway's settings on the server",
    }
}
