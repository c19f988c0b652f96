//! Credentials that CUPS hands out only once, while the LNS cannot be reached, are proved on and
//! used when it comes back, also by an agent that was started again meanwhile.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    reason = "a test looks at files, and ends when it cannot"
)]

use std::fs;

use mtls_lab::device::{Device, EUI, Scratch, Surroundings};
use mtls_lab::http::RawAnswer;
use mtls_lab::lns::Fault;

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");

#[test]
fn an_answer_of_no_change_does_not_drop_what_waits_for_the_lns() {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let device = Device::new(BINARY, &around.pki, around.front.address());
    around.offer("first");
    assert_eq!(device.run("once --json").text("outcome"), "rotated");
    around.cups.rotate_key(EUI, "second");
    around.lns.set_fault(Fault::DiscoveryStatus(503));
    assert_eq!(device.run("once --json").text("class"), "server_fault");

    // From now on CUPS knows nothing of it any more.
    let no_change = RawAnswer::octets(vec![0; 18]);
    around.cups.answer_always(Some(no_change));
    let waiting = device.run("once --json");
    assert_eq!(waiting.text("class"), "server_fault", "{waiting:?}");
    around.lns.set_fault(Fault::None);
    let rotated = device.run("once --json");
    assert_eq!(rotated.text("outcome"), "rotated", "{rotated:?}");
    let key = fs::read_to_string(device.path("station/tc.key")).unwrap();
    assert_eq!(key, "Authorization: second\r\n");
}
