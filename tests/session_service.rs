//! The service holds the LNS link by itself: over restarts of the LNS and its own, over
//! refusals and new credentials, and it sends what it is given.

#![cfg(feature = "daemon")]

use core::time::Duration;

use mtls_lab::device::{Device, EUI, Scratch, Service, Surroundings};
use mtls_lab::lns::{Config, Fault, LnsDouble, Speech};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_mtls-agent");
const JOIN: &str = "0008070605040302011817161514131211EFBE01020384";

struct Scene {
    device: Device,
    around: Surroundings,
    _scratch: Scratch,
}

/// A gateway whose LNS has a key for it.
fn scene() -> Scene {
    let scratch = Scratch::new();
    let around = Surroundings::start(scratch.path());
    let mut device = Device::new(BINARY, &around.pki, around.front.address());
    device.set("lns.mode", "session");
    around.offer("first");
    Scene {
        device,
        around,
        _scratch: scratch,
    }
}

fn is_up(service: &Service) -> bool {
    service.show("/lns/link/state") == json!("up")
}

fn is_up_with(set: u64) -> impl FnMut(&Service) -> bool {
    move |service| is_up(service) && service.show("/lns/link/set") == json!(set)
}

#[test]
fn a_frame_goes_out_by_the_command_and_mistakes_are_told() {
    let scene = scene();
    let none = scene.device.run(&format!("uplink {JOIN}"));
    assert_eq!(none.code, Some(1), "{}", none.log);
    let service = scene.device.serve();
    service.until("up", is_up);
    let sent = scene.device.run(&format!("uplink {JOIN} 868300000 3"));
    assert_eq!((sent.code, sent.log.as_str()), (Some(0), ""));
    service.until("the frame", |_| scene.around.lns.uplink_count() == 1);
    let frame: Value = serde_json::from_str(&scene.around.lns.uplinks()[0]).unwrap();
    assert_eq!(
        (&frame["msgtype"], &frame["DR"]),
        (&json!("jreq"), &json!(3))
    );
    let downlink = scene.device.run("uplink 60");
    assert_eq!(downlink.code, Some(2));
    assert!(downlink.log.contains("is a downlink"), "{}", downlink.log);
}

#[test]
fn without_proof_and_in_other_modes_the_link_is_what_was_asked_for() {
    let mut scene = scene();
    scene.device.set("lns.prove", false);
    {
        let service = scene.device.serve();
        service.until("up", is_up);
        assert_eq!(service.show("/lns/holder/mode"), json!("session"));
    }
    scene.device.set("lns.mode", "none");
    let service = scene.device.serve();
    service.until("answering", |service| !service.status().is_null());
    let refused = scene.device.run(&format!("uplink {JOIN}"));
    assert!(refused.log.contains("lns.mode is none"), "{}", refused.log);
}

#[test]
fn the_link_comes_back_after_a_restart_of_the_lns_and_of_the_agent() {
    let Scene {
        device,
        mut around,
        _scratch,
    } = scene();
    let mut service = device.serve();
    service.until("up", is_up);
    let port = around.lns.address().port();
    let config = Config {
        port,
        tls: Some(around.pki.lns.server.clone()),
        ..Config::default()
    };
    let elsewhere = LnsDouble::start(&Config::default()).unwrap();
    drop(core::mem::replace(&mut around.lns, elsewhere));
    service.until("noticed", |service| !is_up(service));
    service.until("told", |service| service.count("the LNS link is lost") == 1);
    around.lns = LnsDouble::start(&config).unwrap();
    service.until("up again", is_up);
    service.signal("TERM");
    assert_eq!(service.wait(Duration::from_secs(5)), Some(0));
    let again = device.serve();
    again.until("up after a restart of the agent", is_up);
    drop(again);
    device.serve().until("up after a kill", is_up);
}

#[test]
fn a_refusal_on_traffic_alone_makes_cups_be_asked_soon() {
    let scene = scene();
    scene.around.lns.set_fault(Fault::TrafficStatus(401));
    let service = scene.device.serve();
    service.until("refused", |service| {
        service.show("/lns/link/why/class") == json!("not_authorised")
    });
    // CUPS has been asked a moment ago, so the next time is five minutes after that.
    service.until("CUPS will be asked", |service| {
        service.show("/cycle/next/reason") == json!("refresh_by_link")
    });
    assert!(service.show("/cycle/next/in_s").as_u64() <= Some(300));
    assert_eq!(service.show("/lns/link/next/reason"), json!("refusal"));
    let wait_s = service.show("/lns/link/next/in_s").as_u64().unwrap();
    assert!((600..1200).contains(&wait_s), "{wait_s}");
    scene.around.lns.set_fault(Fault::None);
    scene.around.cups.rotate_key(EUI, "second");
    assert_eq!(scene.device.run("refresh").code, Some(0));
    service.until("up with the new key", is_up_with(2));
}

#[test]
fn a_changed_time_between_pings_is_taken_while_the_link_stays() {
    let mut scene = scene();
    let service = scene.device.serve();
    service.until("up", is_up);
    scene.device.set("lns.ping_s", 1);
    scene.device.configure();
    assert_eq!(scene.device.run("reload").code, Some(0));
    service.until("pings", |service| {
        service.show("/lns/holder/pings").as_u64() >= Some(3)
    });
    assert_eq!(scene.around.lns.connections().len(), 1);
    assert!(is_up(&service));
}

#[test]
fn what_the_lns_wants_to_run_is_refused_in_one_line() {
    let scene = scene();
    let marker = scene.device.path("ran");
    let error = json!({ "msgtype": "error", "error": "no such gateway" });
    let command = json!({ "msgtype": "runcmd", "command": "touch", "arguments": [marker] });
    let shell = json!({ "msgtype": "rmtsh", "user": "root", "start": 0 });
    let down = json!({ "msgtype": "dnmsg" });
    scene.around.lns.set_fault(Fault::Says(
        [error, command, shell, down]
            .map(|message| Speech::Text(message.to_string()))
            .to_vec(),
    ));
    let service = scene.device.serve();
    service.until("all heard", |service| {
        service.show("/lns/holder/frames_down") == json!(1)
    });
    service.until("told", |service| service.count("by runcmd; refused") == 1);
    service.says_once("reports an error: no such gateway");
    assert_eq!(service.count("by rmtsh"), 0);
    assert!(!marker.exists());
    assert!(is_up(&service));
}

#[test]
fn a_busy_lns_is_not_asked_before_its_own_time() {
    let scene = scene();
    scene.around.lns.set_fault(Fault::TrafficBusy(429, 600));
    let service = scene.device.serve();
    service.until("refused", |service| {
        service.show("/lns/link/why/class") == json!("busy")
    });
    let wait_s = service.show("/lns/link/next/in_s").as_u64().unwrap();
    assert!(wait_s >= 500, "{wait_s}");
}

#[test]
fn credentials_that_change_twice_in_a_row_lose_no_frame() {
    let scene = scene();
    let service = scene.device.serve();
    service.until("up", is_up_with(1));
    let config = br#"{"msgtype":"router_config"}"#;
    let mut slow = vec![0x81, u8::try_from(config.len()).unwrap()];
    slow.extend(config);
    let slow = Speech::Drip(slow, Duration::from_millis(100));
    scene.around.lns.set_fault(Fault::SaysFirst(vec![slow]));
    scene.around.cups.rotate_key(EUI, "second");
    assert_eq!(scene.device.run("refresh").code, Some(0));
    service.until("on its way", |_| scene.around.lns.connections().len() == 2);
    scene.around.lns.set_fault(Fault::None);
    scene.around.cups.rotate_key(EUI, "third");
    assert_eq!(scene.device.run("refresh").code, Some(0));
    service.until("in use", |service| {
        service.show("/current/number") == json!(3)
    });
    let mut sent = 0;
    while service.show("/lns/link/set") != json!(3) {
        let ran = scene.device.run(&format!("uplink {JOIN}"));
        assert_eq!(ran.code, Some(0), "{}", ran.log);
        sent += 1;
    }
    assert_eq!(scene.around.lns.uplink_count(), sent);
    assert_eq!(service.count("the LNS link is lost"), 0);
}

#[test]
fn new_credentials_take_over_without_the_link_being_lost() {
    let scene = scene();
    let service = scene.device.serve();
    service.until("up", is_up_with(1));
    scene.around.cups.rotate_key(EUI, "second");
    assert_eq!(scene.device.run("refresh").code, Some(0));
    service.until("up with the new key", is_up_with(2));
    let tokens: Vec<_> = scene
        .around
        .lns
        .connections()
        .into_iter()
        .map(|seen| seen.token.unwrap_or_default())
        .collect();
    assert_eq!(tokens, ["first", "second"]);
    assert_eq!(service.count("the LNS link is lost"), 0);
}
