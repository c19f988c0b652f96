//! A device whose certificate the ambassador trusts is accepted without a hand, shows what it is,
//! and gets back in whatever becomes of its token.

use std::time::Duration;

use super::scene::{Scene, side_by_side};
use mtls_lab::device::IDENTITY;
use mtls_lab::mender::{At, Status, Trouble};
use serde_json::json;

#[test]
fn the_first_contact_is_accepted_and_the_inventory_shown() {
    let scene = Scene::new();
    let device = &scene.device;
    device.inventory_script(
        "bootloader",
        "echo bootloader=u-boot; echo disk=a; echo disk=b",
    );
    device.inventory_script("broken", "echo broken=yes; exit 1");
    device.inventory_script("nonsense", "echo no equals sign");
    device.script("share/inventory/other", "echo other=yes");
    let ran = scene.once();
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.log);
    assert_eq!(
        (ran.text("service"), ran.text("outcome")),
        ("mender", "accepted")
    );
    assert_eq!(scene.auths(), [Some(200)]);
    assert_eq!(scene.inventories(), [("PUT".to_owned(), Some(200))]);
    let known = &scene.mender.devices()[0];
    assert_eq!(known.status(), Some(Status::Accepted));
    assert_eq!(known.identity.text, IDENTITY);
    let inventory = scene.inventory();
    assert_eq!(inventory["bootloader"], "u-boot");
    assert_eq!(inventory["disk"], json!(["a", "b"]));
    assert_eq!(inventory["device_type"], "gateway");
    for name in ["hostname", "kernel", "mender_client_version"] {
        assert!(inventory.contains_key(name), "{inventory:?}");
    }
    for name in ["broken", "other"] {
        assert!(!inventory.contains_key(name), "{inventory:?}");
    }
    for name in ["mender-inventory-broken", "mender-inventory-nonsense"] {
        assert!(ran.log.contains(name), "{}", ran.log);
    }
}

fn a_slow_inventory_script_is_left_out() {
    let scene = Scene::new();
    scene
        .device
        .inventory_script("a-slow", "sleep 60; echo slow=yes");
    scene.device.inventory_script("b-quick", "echo quick=yes");
    let ran = scene.once();
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.log);
    let inventory = scene.inventory();
    assert_eq!(inventory["quick"], "yes");
    assert!(!inventory.contains_key("slow"));
    assert!(
        ran.log.contains("a-slow took longer than 10 s"),
        "{}",
        ran.log
    );
}

fn an_inventory_that_has_not_changed_is_not_sent_again() {
    let mut scene = Scene::new();
    scene.device.conf("InventoryPollIntervalSeconds", 5);
    let script = |value: &str| {
        let lines = scene.counted("runs", &format!("echo kind={value}"));
        scene.device.inventory_script("kind", &lines);
    };
    script("old");
    let service = scene.serve_until("authorised");
    service.until("two polls more", |_| scene.count("runs") >= 3);
    assert_eq!(scene.inventories().len(), 1);
    script("new");
    service.until("what changed", |_| scene.inventories().len() == 2);
    assert_eq!(scene.inventory()["kind"], "new");
    // A person who asks wants to see it, changed or not; but not one that is on its way.
    service.until("it is known", |service| {
        service.count("inventory sent") == 2
    });
    scene.device.refresh();
    service.until("what was asked for", |_| scene.inventories().len() == 3);
}

/// These wait most of their time: together they take as long as the longest.
#[test]
fn a_device_lives_through_what_becomes_of_its_token_and_inventory() {
    side_by_side(&[
        (
            "a_slow_inventory_script_is_left_out",
            a_slow_inventory_script_is_left_out,
        ),
        (
            "an_inventory_that_has_not_changed_is_not_sent_again",
            an_inventory_that_has_not_changed_is_not_sent_again,
        ),
        (
            "a_device_nobody_knows_waits_until_it_is_accepted_by_hand",
            a_device_nobody_knows_waits_until_it_is_accepted_by_hand,
        ),
        (
            "a_device_that_is_decommissioned_says_so_and_backs_off",
            a_device_that_is_decommissioned_says_so_and_backs_off,
        ),
        (
            "a_device_that_was_removed_comes_back_as_a_new_one_with_its_inventory",
            a_device_that_was_removed_comes_back_as_a_new_one_with_its_inventory,
        ),
        (
            "a_token_that_the_server_has_deleted_is_replaced_at_once",
            a_token_that_the_server_has_deleted_is_replaced_at_once,
        ),
        (
            "a_403_costs_one_new_token_and_then_is_believed",
            a_403_costs_one_new_token_and_then_is_believed,
        ),
        (
            "a_token_is_renewed_before_its_end_while_the_old_one_serves",
            a_token_is_renewed_before_its_end_while_the_old_one_serves,
        ),
        (
            "a_renewal_that_fails_leaves_the_token_until_its_end",
            a_renewal_that_fails_leaves_the_token_until_its_end,
        ),
    ]);
}

#[test]
fn a_server_without_put_gets_a_patch() {
    let scene = Scene::with(|config, _| config.rules.inventory_patch_only = true);
    assert_eq!(scene.once().code, Some(0));
    let expected = [
        ("PUT".to_owned(), Some(405)),
        ("PATCH".to_owned(), Some(200)),
    ];
    assert_eq!(scene.inventories(), expected);
    assert_eq!(scene.inventory()["device_type"], "gateway");
}

fn a_device_nobody_knows_waits_until_it_is_accepted_by_hand() {
    let scene = Scene::without_ambassador();
    let service = scene.serve_until("pending");
    assert_eq!(service.show("/cycle/why/class"), "pending");
    assert_eq!(service.show("/cycle/next/reason"), "pending");
    assert_eq!(service.show("/mutual_tls"), "not_requested");
    assert!(
        service.has_told_of("waiting for acceptance"),
        "{:?}",
        service.told()
    );
    scene.mender.accept(&scene.set());
    scene.device.refresh();
    service.until("accepted", |service| {
        service.show("/cycle/state") == "authorised"
    });
    service.until("inventory", |_| !scene.inventories().is_empty());
}

fn a_device_that_is_decommissioned_says_so_and_backs_off() {
    let scene = Scene::new();
    let service = scene.serve_until("authorised");
    service.until("inventory", |service| service.count("inventory sent") == 1);
    scene.mender.begin_decommissioning(&scene.id());
    scene.device.refresh();
    service.until("the end", |service| {
        service.show("/cycle/why/code") == "decommissioned"
    });
    assert_eq!(service.show("/cycle/state"), "pending");
    assert!(service.show("/cycle/next/in_s").as_u64().unwrap() >= 20);
    let words = "no longer accepted, decommissioned or rejected";
    service.says_once(words);
    assert_eq!(scene.auths().len(), 2);
}

fn a_device_that_was_removed_comes_back_as_a_new_one_with_its_inventory() {
    let scene = Scene::new();
    let service = scene.serve_until("authorised");
    service.until("inventory", |service| service.count("inventory sent") == 1);
    let before = scene.id();
    scene.mender.decommission(&before);
    scene.device.refresh();
    service.until("another device", |_| {
        let devices = scene.mender.devices();
        devices.first().is_some_and(|device| device.id != before)
    });
    service.until("its inventory", |_| {
        scene.mender.inventory(&scene.id()).is_some()
    });
    assert_eq!(service.show("/device/id"), scene.id());
}

fn a_token_that_the_server_has_deleted_is_replaced_at_once() {
    let mut scene = Scene::new();
    scene.device.conf("InventoryPollIntervalSeconds", 5);
    let number = scene.counted("runs", "echo number=$(wc -l < RUNS)");
    let runs = scene.device.path("runs").display().to_string();
    scene
        .device
        .inventory_script("number", &number.replace("RUNS", &runs));
    let service = scene.serve_until("authorised");
    service.until("inventory", |_| scene.inventories().len() == 1);
    scene.mender.delete_token(&scene.set());
    service.until("a refusal", |_| {
        scene
            .inventories()
            .iter()
            .any(|(_, status)| *status == Some(401))
    });
    service.until("a new token", |_| scene.auths() == [Some(200), Some(200)]);
    service.until("inventory again", |_| {
        scene
            .inventories()
            .last()
            .is_some_and(|(_, status)| *status == Some(200))
    });
    service.says_once("the server refused the Mender token in use");
}

fn a_403_costs_one_new_token_and_then_is_believed() {
    let mut scene = Scene::new();
    let answer = mtls_lab::http::RawAnswer {
        status: 403,
        ..mtls_lab::http::RawAnswer::default()
    };
    scene
        .mender
        .trouble(At::Deployments, usize::MAX, Trouble::Other(answer));
    scene.device.conf("UpdatePollIntervalSeconds", 5);
    scene
        .device
        .set("mender.update_command", json!(["/bin/true"]));
    let service = scene.serve_until("authorised");
    let polls = || scene.asked("/api/devices/v2/deployments").len();
    service.until("a poll", |_| polls() >= 1);
    service.until("a new token", |_| scene.auths().len() == 2);
    service.until("its inventory", |_| scene.inventories().len() == 2);
    let before = polls();
    scene.device.refresh();
    service.until("another poll", |_| polls() > before);
    service.until("an end of it", |service| {
        service.show("/cycle/job").is_null()
    });
    std::thread::sleep(Duration::from_secs(1));
    service.says_once("the server refused the Mender token in use");
    assert_eq!(service.show("/cycle/state"), "authorised");
}

fn a_token_is_renewed_before_its_end_while_the_old_one_serves() {
    let scene = Scene::life_s(40);
    let service = scene.serve_until("authorised");
    service.until("a plan", |service| {
        service.show("/cycle/next/reason") == "renewal"
    });
    // Longer than `until` is patient: 30 to 34 s.
    std::thread::sleep(Duration::from_secs(20));
    service.until("a renewal", |_| scene.auths().len() == 2);
    service.until("said", |service| {
        service.count("the Mender token is renewed") == 1
    });
    assert_eq!(service.count("expired"), 0);
    assert_eq!(scene.auths(), [Some(200), Some(200)]);
    assert_eq!(scene.inventories().len(), 1);
}

fn a_renewal_that_fails_leaves_the_token_until_its_end() {
    let scene = Scene::life_s(12);
    let service = scene.serve_until("authorised");
    scene
        .mender
        .trouble(At::Auth, usize::MAX, Trouble::ServerError);
    scene.device.refresh();
    service.until("a failure", |service| {
        service.count("the Mender token is not renewed yet, it stays in use") == 1
    });
    assert_eq!(service.show("/cycle/state"), "authorised");
    service.until("the end", |service| {
        service.show("/cycle/state") == "waiting"
    });
    service.says_once("has expired and could not be renewed in time");
    scene.mender.lift_troubles();
    scene.device.refresh();
    service.until("again", |service| {
        service.show("/cycle/state") == "authorised"
    });
}
