//! Acts: what is known of a connection that has failed.

use std::io::Error;

use crate::agent::evidence::{Evidence, SocketFault, Stage, TlsFault};
use crate::daemon::{dial, tls};

/// Why a connection failed, and what was seen of it until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionError {
    /// How far it came.
    pub stage: Stage,
    /// What rustls said.
    pub tls: Option<TlsFault>,
    /// What the socket said.
    pub socket: SocketFault,
    /// What was seen.
    pub seen: Seen,
}

/// What is known of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one independent observation"
)]
pub struct Seen {
    /// Finished, and not a resumption.
    pub is_full_handshake: bool,
    /// TLS 1.3.
    pub is_tls13: bool,
    /// The server asked for a client certificate.
    pub certificate_requested: bool,
    /// None of its signature schemes fitted our key.
    pub scheme_mismatch: bool,
}

impl SessionError {
    /// Turns an I/O error of a session into what is known of its end.
    #[must_use]
    pub fn from_io(error: &Error, stage: Stage, seen: Seen) -> Self {
        let reason = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        Self {
            stage,
            tls: reason.map(tls::fault_of),
            socket: dial::fault_of(error),
            seen,
        }
    }

    /// Completes the evidence with what only the caller knows.
    #[must_use]
    pub fn evidence(
        &self,
        peer: String,
        own_certificate_valid: bool,
        clock_sane: bool,
    ) -> Evidence {
        Evidence {
            peer,
            stage: self.stage,
            is_full_handshake: self.seen.is_full_handshake,
            is_tls13: self.seen.is_tls13,
            certificate_requested: self.seen.certificate_requested,
            scheme_mismatch: self.seen.scheme_mismatch,
            tls: self.tls.clone(),
            socket: self.socket,
            own_certificate_valid,
            clock_sane,
            silent_closes: 0,
        }
    }
}
