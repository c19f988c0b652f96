//! Checks: what a renewal that fails does to the token in use.

use super::*;
use crate::agent::mender::refusal::{HttpAnswer, refusal};

fn answered(status: u16, error: Option<&'static str>) -> Failure {
    refusal(&HttpAnswer {
        peer: "h:1",
        status,
        error,
        body: b"x",
        request_id: None,
        retry_after: None,
        location: None,
        certificate_requested: Some(true),
        has_certificate: true,
        has_token: false,
    })
}

#[test]
fn only_a_401_of_its_renewal_takes_a_token_away() {
    for (status, error, stays) in [
        (401, Some("dev auth: unauthorized"), false),
        (401, Some("unauthorized"), false),
        (401, Some("signature verification failed"), false),
        // A filter on the way, not the server.
        (403, None, true),
        (429, None, true),
        (500, None, true),
    ] {
        let mut mender = authorised(quiet());
        let actions = refuse(&mut mender, answered(status, error));
        let signal = actions.iter().find(|action| action.is_signal());
        let expected = if stays {
            Action::Announce
        } else {
            Action::Withdraw
        };
        assert_eq!(signal, Some(&expected), "{status} {error:?}");
        assert_eq!(mender.has_token(), stays, "{status} {error:?}");
    }
}
