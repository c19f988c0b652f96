//! Acts: one HTTP call to a Mender server or its ambassador, and what its answer means.

use core::time::Duration;

use ureq::http::Method;
use ureq::http::response::Parts;

use crate::agent::failure::{Class, Failure};
use crate::agent::mender::refusal::{HttpAnswer, refusal};
use crate::config::Network;
use crate::daemon::clock::Cutoff;
use crate::daemon::http::{self, Answering, HttpError, Message};
use crate::daemon::session::{Session, SessionError};
use crate::daemon::tls::TlsAccess;
use crate::limits::{BUFFER_OCTETS, MENDER_RETRY_AFTER_MAX};
use crate::wire::cups::stack_error::printable;
use crate::wire::mender::auth::{REQUEST_ID_HEADER, ServerError, request_id};
use crate::wire::mender::server::ServerUrl;

/// What every call needs.
#[derive(Debug, Clone)]
pub struct Access {
    /// How the server is judged, and what it is shown.
    pub tls: TlsAccess,
    /// Deadlines.
    pub network: Network,
    /// Whether the device certificate is within its validity.
    pub own_certificate_valid: bool,
    /// Connections in a row that ended without a word.
    pub silent_closes: u32,
}

/// One request.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Usually POST.
    pub method: &'a Method,
    /// The server.
    pub server: &'a ServerUrl,
    /// Path and query of the API.
    pub path: &'a str,
    /// Header lines; may hold a token.
    pub headers: &'a [(String, String)],
    /// JSON; may be empty.
    pub body: &'a str,
    /// Largest answer, octets.
    pub octets_max: usize,
}

impl Call<'_> {
    fn has_token(&self) -> bool {
        let is_token = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("authorization") && value.starts_with("Bearer ")
        };
        self.headers.iter().any(is_token)
    }
}

/// An answer of the 200 family.
#[derive(Debug)]
pub struct Answer {
    /// 200, 201, 204.
    pub status: u16,
    /// Whatever came; may be a token.
    pub body: Vec<u8>,
    /// What the operator of the server can search their log for.
    pub request_id: Option<String>,
    /// Whether the server asked for a client certificate.
    pub certificate_requested: bool,
}

/// Why there is none.
#[derive(Debug, Clone)]
pub struct CallError {
    /// What it means.
    pub failure: Failure,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Whether the server closed silently after asking for our certificate.
    pub is_silent_close: bool,
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            status: None,
            is_silent_close: false,
        }
    }
}

impl Access {
    /// Sends a request and reads the whole answer, not beyond `latest`.
    pub fn call(&self, call: Call<'_>, latest: Cutoff) -> Result<Answer, CallError> {
        let seconds = Duration::from_secs;
        let total = Cutoff::after(seconds(self.network.total_s)).or_earlier(latest);
        let connect = Cutoff::after(seconds(self.network.connect_s)).or_earlier(total);
        let uri = call.server.uri();
        let session = Session::open(uri, &self.tls, connect, total)
            .map_err(|error| self.broken(&call, &error))?;
        let response = Cutoff::after(seconds(self.network.response_s));
        let url = call.server.with_path(call.path);
        let message = Message {
            method: call.method,
            url: &url,
            headers: call.headers,
            body: call.body,
        };
        let (head, mut body) = http::send(session, message, response, total)
            .map_err(|error| self.http(&call, error))?;
        let (parts, ()) = head.into_parts();
        let status = parts.status.as_u16();
        if !(200..300).contains(&status) {
            return Err(self.refused(&call, &parts, &mut body));
        }
        Ok(Answer {
            status,
            body: self.whole(&call, &mut body)?,
            request_id: header(&parts, REQUEST_ID_HEADER).and_then(request_id),
            certificate_requested: body.seen().certificate_requested,
        })
    }

    fn whole(&self, call: &Call<'_>, body: &mut Answering) -> Result<Vec<u8>, CallError> {
        let mut whole = Vec::new();
        let mut buffer = [0; BUFFER_OCTETS];
        loop {
            let amount = body
                .read(&mut buffer)
                .map_err(|error| self.http(call, error))?;
            if amount == 0 {
                return Ok(whole);
            }
            whole.extend_from_slice(buffer.get(..amount).unwrap_or_default());
            if whole.len() > call.octets_max {
                let text = format!(
                    "{} answered with more than {} octets",
                    call.server.uri().authority(),
                    call.octets_max
                );
                return Err(Failure::new(Class::Protocol, "http_body", text).into());
            }
        }
    }

    fn refused(&self, call: &Call<'_>, parts: &Parts, body: &mut Answering) -> CallError {
        let text = body.excerpt();
        let said = ServerError::parse(&text);
        let seen = body.seen();
        let peer = call.server.uri().authority();
        let of_header = header(parts, REQUEST_ID_HEADER).and_then(request_id);
        let of_body = said.as_ref().and_then(|said| said.request_id.clone());
        let request_id = of_body.or(of_header);
        let answer = HttpAnswer {
            peer: &peer,
            status: parts.status.as_u16(),
            error: said.as_ref().map(|said| said.error.as_str()),
            body: &text,
            request_id: request_id.as_deref(),
            retry_after: http::retry_after(&parts.headers, MENDER_RETRY_AFTER_MAX),
            location: header(parts, "location"),
            certificate_requested: seen.is_full_handshake.then_some(seen.certificate_requested),
            has_certificate: self.tls.certified.is_some(),
            has_token: call.has_token(),
        };
        let mut failure = refusal(&answer);
        failure.message = without_secrets(&failure.message, call);
        CallError {
            failure,
            status: Some(answer.status),
            is_silent_close: false,
        }
    }

    fn http(&self, call: &Call<'_>, error: HttpError) -> CallError {
        match error {
            HttpError::Broken(error) => self.broken(call, &error),
            HttpError::NotHttp(failure) => {
                let peer = call.server.uri().authority();
                let message = printable(&format!("{peer}: {}", failure.message), 400);
                Failure { message, ..failure }.into()
            }
        }
    }

    fn broken(&self, call: &Call<'_>, error: &SessionError) -> CallError {
        let peer = call.server.uri().authority();
        let clock_sane = self.tls.time.is_sane();
        let mut evidence = error.evidence(peer, self.own_certificate_valid, clock_sane);
        evidence.silent_closes = self.silent_closes;
        CallError {
            failure: evidence.classify(),
            status: None,
            is_silent_close: evidence.is_silent_close(),
        }
    }
}

/// Without what the headers hold, should the server repeat it.
fn without_secrets(text: &str, call: &Call<'_>) -> String {
    let line = |(name, value): &(String, String)| format!("{name}: {value}\n");
    let lines: String = call.headers.iter().map(line).collect();
    crate::wire::token::withheld(text, lines.as_bytes())
}

fn header<'a>(parts: &'a Parts, name: &str) -> Option<&'a str> {
    parts
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
}
