//! Credentials change in the middle of traffic and the LNS gets each frame once and in order,
//! although it cuts the old socket as soon as the new one is upgraded.

#![cfg(feature = "daemon")]
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test waits, and ends when its set-up fails"
)]

#[path = "support/holding.rs"]
mod holding;

use std::thread;
use std::time::Duration;

use holding::Stand;
use mtls_agent::daemon::holders::session::Pace;
use mtls_agent::daemon::linking::{Held, Holder as _};
use mtls_agent::wire::uplink::Frame;
use mtls_lab::lns::Fault;
use serde_json::json;

const FRAMES: usize = 100_000;
const ROTATIONS: usize = 10;

#[test]
fn a_hundred_thousand_frames_arrive_over_ten_rotations() {
    let mut stand = Stand::new(Pace::default());
    let mut old = stand.up("key-0");
    let mut asked = None;
    for number in 0..FRAMES {
        if number % (FRAMES / ROTATIONS) == 1000 {
            asked = Some(stand.open(&format!("key-{number}")));
        }
        send(&mut stand, number);
        for held in stand.holder.take() {
            let id = asked.take().unwrap();
            assert_eq!(held, Held::Connected { id });
            stand.holder.close(old);
            old = id;
        }
    }
    stand.until("every frame", |stand| stand.lns.uplink_count() >= FRAMES);
    let uplinks = stand.lns.uplinks();
    assert_eq!(uplinks.len(), FRAMES);
    for (number, text) in uplinks.iter().enumerate() {
        let payload = format!("\"FRMPayload\":\"E0{number:08X}\"");
        assert!(text.contains(&payload), "{number}: {text}");
    }
    assert_eq!(stand.shows("frames_lost"), json!(0));
    assert_eq!(stand.lns.connections().len(), 1 + ROTATIONS);
}

#[test]
fn a_rotation_that_fails_leaves_the_old_link_and_its_frames_alone() {
    let mut stand = Stand::new(Pace::default());
    stand.up("old");
    stand.lns.set_fault(Fault::TrafficStatus(401));
    stand.open("new");
    for number in 0..500 {
        send(&mut stand, number);
    }
    assert!(matches!(stand.told(), Held::Failed { .. }));
    stand.until("every frame", |stand| stand.lns.uplink_count() == 500);
    assert_eq!(stand.shows("router_config"), json!(true));
}

/// Gives one frame, as often as it takes.
fn send(stand: &mut Stand, number: usize) {
    let frame = Frame::parse(&format!("E0{number:08X}")).unwrap();
    while let Err(why) = stand.holder.uplink(frame.clone()) {
        assert!(why.starts_with("busy"), "{why}");
        thread::sleep(Duration::from_millis(1));
    }
}
