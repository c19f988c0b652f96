//! Spoils: answers, one switch for each way in which the field has seen them go wrong.

use core::time::Duration;

use crate::http::{Framing, RawAnswer};

/// Which requests are in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Auth requests.
    Auth,
    /// Inventory.
    Inventory,
    /// Deployments: next, status and log.
    Deployments,
    /// The WebSocket.
    Connect,
    /// All of them.
    Everything,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// 401 as for a device nobody has accepted; the request is not remembered.
    Pending,
    /// 401 with this word as error and a body, or without any body.
    Unauthorized(Option<&'static str>),
    /// 429 with this `Retry-After`, or without one.
    TooMany(Option<String>),
    /// 500 as the Mender server words it.
    ServerError,
    /// 500 with an empty body: the ambassador could not preauthorise.
    EmptyServerError,
    /// 502 with a page for people, from a proxy on the way.
    HtmlBadGateway,
    /// 3xx to this place.
    Redirect(u16, String),
    /// 200 with an empty body.
    EmptyOk,
    /// Takes the request and says nothing for so long.
    Silent(Duration),
    /// Takes the request and ends the connection.
    Hangup,
    /// The real answer, of which only the head and half of the body come.
    CutOff,
    /// The real answer in chunks.
    Chunked,
    /// The real answer, one octet of its body every so often.
    Slow(Duration),
    /// The real answer with a line feed after its body.
    NewlineAfter,
    /// The real answer as a server of HTTP/1.0 gives it.
    Http10,
    /// This; only date and request id are added.
    Other(RawAnswer),
}

impl Trouble {
    /// The answer of whoever does not ask the server at all; `None` if the server is asked.
    pub(super) fn instead(&self) -> Option<RawAnswer> {
        let empty = |status| RawAnswer {
            status,
            ..RawAnswer::default()
        };
        Some(match self {
            Self::Pending => error(401, "dev auth: unauthorized"),
            Self::Unauthorized(Some(word)) => error(401, word),
            Self::Unauthorized(None) => empty(401),
            Self::TooMany(wait) => {
                let mut answer = error(429, "too many requests");
                let wait = wait.iter().cloned();
                let header = wait.map(|wait| ("Retry-After".to_owned(), wait));
                answer.headers.extend(header);
                answer
            }
            Self::ServerError => error(500, "internal error"),
            Self::EmptyServerError => empty(500),
            Self::HtmlBadGateway => {
                let page = "<html><head><title>502 Bad Gateway</title></head>\
                    <body><h1>502 Bad Gateway</h1></body></html>";
                RawAnswer::typed(502, "text/html", page.into())
            }
            Self::Redirect(status, place) => {
                let mut answer = empty(*status);
                answer.headers.push(("Location".to_owned(), place.clone()));
                answer
            }
            Self::EmptyOk => empty(200),
            Self::Silent(pause) => empty(200).framed(Framing::Silent(*pause)),
            Self::Hangup => empty(200).framed(Framing::Hangup),
            Self::Other(answer) => answer.clone(),
            Self::CutOff | Self::Chunked | Self::Slow(_) | Self::NewlineAfter | Self::Http10 => {
                return None;
            }
        })
    }

    /// The real answer, spoilt.
    pub(super) fn spoil(&self, mut answer: RawAnswer) -> RawAnswer {
        answer.framing = match self {
            Self::CutOff => Framing::CutAfter(answer.body.len() / 2),
            Self::Chunked => Framing::Chunked,
            Self::Slow(pause) => Framing::Slow(*pause),
            Self::Http10 => Framing::Http10,
            _ => answer.framing,
        };
        if *self == Self::NewlineAfter {
            answer.body.push(b'\n');
        }
        answer
    }
}

/// An error as the Mender server words it; the id of the request is put in later.
pub(super) fn error(status: u16, word: &str) -> RawAnswer {
    let body = serde_json::json!({ "error": word });
    RawAnswer::typed(
        status,
        "application/json; charset=utf-8",
        body.to_string().into_bytes(),
    )
}
