//! Decides: what the end of a traffic socket means, and what the LNS is told of it.

use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::agent::evidence::Stage;
use crate::agent::failure::{Class, Failure};
use crate::daemon::discovery::Proof;
use crate::daemon::session::{Seen, SessionError};
use crate::wire::cups::stack_error::printable;
use crate::wire::traffic::MESSAGE_OCTETS_MAX;

/// What an error of the socket means.
pub(super) fn of_error(peer: String, seen: Seen, access: &Proof, error: Error) -> Failure {
    let failure = match error {
        Error::Io(error) => SessionError::from_io(&error, Stage::Response, seen)
            .evidence(peer, true, access.time.is_sane())
            .classify(),
        Error::Capacity(_) => {
            let limit = MESSAGE_OCTETS_MAX / 1024;
            let text = format!("{peer} sent a message of more than {limit} KiB");
            Failure::new(Class::Protocol, "lns_oversize", text)
        }
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => {
            let text = format!("{peer} closed the traffic socket without a word");
            Failure::new(Class::Network, "lns_closed", text)
        }
        other => {
            let why = printable(&other.to_string(), 120);
            let text = format!("{peer} does not keep to the LNS protocol: {why}");
            Failure::new(Class::Protocol, "websocket", text)
        }
    };
    access.withheld(failure)
}

/// What the LNS is told where the fault is its own (RFC 6455, section 7.4.1).
pub(super) const fn told(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(_) => Some(CloseCode::Size),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}

/// What the server's close frame means. Codes only tell how long to wait: whether a key is
/// still good is seen at the next try.
pub(super) fn of_close(peer: &str, access: &Proof, frame: Option<CloseFrame>) -> Failure {
    let Some(frame) = frame else {
        let text = format!("{peer} closed the traffic socket without a code");
        return Failure::new(Class::Network, "lns_closed", text);
    };
    let class = match frame.code {
        CloseCode::Error => Class::ServerFault,
        CloseCode::Restart | CloseCode::Again => Class::Busy,
        _ => Class::Network,
    };
    let code = u16::from(frame.code);
    let reason = match printable(frame.reason.as_str(), 120) {
        reason if reason.is_empty() => String::new(),
        reason => format!(": {reason}"),
    };
    let text = format!("{peer} closed the traffic socket with code {code}{reason}");
    access.withheld(Failure::new(class, "lns_closed", text))
}
