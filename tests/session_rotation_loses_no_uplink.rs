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
use mtls_agent::agent::ExchangeId;
use mtls_agent::daemon::holders::session::Pace;
use mtls_agent::daemon::linking::{Held, Holder as _};
use mtls_agent::wire::uplink::Frame;
use mtls_lab::lns::Fault;
use serde_json::json;

const FRAMES: usize = 100_000;
const ROTATIONS: usize = 10;

#[test]
fn a_hundred_thousand_frames_arrive_over_rotations() {
    let mut stand = Stand::new(Pace::default());
    let mut old = stand.up("key-0");
    let (mut asked, mut rotations) = (None, 0);
    for number in 0..FRAMES {
        // On a slow machine one may still be on its way when the next would be due.
        if asked.is_none() && number >= rotations * (FRAMES / ROTATIONS) + 1000 {
            rotations += 1;
            asked = Some(stand.open(&format!("key-{rotations}")));
        }
        send(&mut stand, number);
        for held in stand.holder.take() {
            old = replaced(&mut stand, &held, old, asked.take());
        }
    }
    if asked.is_some() {
        let held = stand.told();
        replaced(&mut stand, &held, old, asked);
    }
    stand.until("every frame", |stand| stand.lns.uplink_count() >= FRAMES);
    let uplinks = stand.lns.uplinks();
    assert_eq!(uplinks.len(), FRAMES);
    for (number, text) in uplinks.iter().enumerate() {
        let payload = format!("\"FRMPayload\":\"E0{number:08X}\"");
        assert!(text.contains(&payload), "{number}: {text}");
    }
    assert_eq!(stand.shows("frames_lost"), json!(0));
    assert_eq!(stand.lns.connections().len(), 1 + rotations);
    assert!(rotations > 1, "the frames were too quick");
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

#[test]
fn credentials_that_change_again_before_the_new_link_is_there_lose_no_frame() {
    let mut stand = Stand::new(Pace::default());
    stand.up("first");
    stand.lns.set_fault(Fault::NoRouterConfig);
    stand.open("second");
    stand.until("the old socket cut", |stand| {
        let seen = stand.lns.connections();
        seen.len() == 2 && !seen[0].open
    });
    send(&mut stand, 0);
    stand.lns.set_fault(Fault::None);
    stand.up("third");
    stand.until("the frame", |stand| stand.lns.uplink_count() == 1);
    assert_eq!(stand.shows("frames_lost"), json!(0));
}

/// Closes the old link, as the machine does, and returns the new one.
fn replaced(
    stand: &mut Stand,
    held: &Held,
    old: ExchangeId,
    asked: Option<ExchangeId>,
) -> ExchangeId {
    let id = asked.unwrap();
    assert_eq!(*held, Held::Connected { id });
    stand.holder.close(old);
    id
}

/// Gives one frame, as often as it takes.
fn send(stand: &mut Stand, number: usize) {
    let frame = Frame::parse(&format!("E0{number:08X}")).unwrap();
    while let Err(why) = stand.holder.uplink(frame.clone()) {
        assert!(why.starts_with("busy"), "{why}");
        thread::sleep(Duration::from_millis(1));
    }
}
