//! The acts of the running service, from its first contact to its second life.
#![expect(clippy::unnecessary_wraps, reason = "all acts have one type")]

use mtls_lab::front::Front;
use mtls_lab::mender::Status;

use super::stage::{NAME, Stage};
use crate::Failure;
use crate::demo::tell::{Checks, Scene};

/// Nobody presses a button.
pub(super) fn first_contact(stage: &mut Stage) -> Result<Option<Scene>, Failure> {
    stage.serve();
    let mut checks = Checks::default();
    stage.wait(&mut checks, "the server shows the inventory", |stage| {
        stage
            .shown("site")
            .is_some_and(|site| site == "a roof in Bern")
    });
    let devices = stage.server.devices();
    let set = devices.first().and_then(|device| device.sets.first());
    let accepted = set.is_some_and(|set| set.status == Status::Accepted);
    checks.that(
        "the server has one accepted device",
        accepted && devices.len() == 1,
    );
    let requests = stage.server.requests();
    let leaf = requests.last().and_then(|one| one.client.clone());
    let subject = leaf.as_ref().map(|leaf| leaf.subject.clone());
    let named = subject.is_some_and(|subject| subject.contains(NAME));
    checks.that(&format!("the certificate of {NAME} came with it"), named);
    let key = leaf.map(|leaf| leaf.key_sha256).unwrap_or_default();
    let same = stage.text("/identity/key_sha256") == key;
    checks.that("the accepted key is the one that status shows", same);
    Ok(Some(Scene {
        title: "First contact through the ambassador",
        offered: "an ambassador that knows who signed the certificate, and preauthorises".into(),
        ..stage.scene(checks)
    }))
}

/// Failover: the second address leads to the same server.
pub(super) fn first_server_down(stage: &mut Stage) -> Result<Option<Scene>, Failure> {
    stage.first = None;
    let second = stage.second.uri();
    stage.refresh();
    let mut checks = Checks::default();
    stage.wait(&mut checks, "the second ambassador serves", |stage| {
        stage.text("/server") == second
    });
    checks.is("state", "authorised", &stage.text("/cycle/state"));
    Ok(Some(Scene {
        title: "The first ambassador is down",
        offered: "nobody listens at the first address; a person says refresh".into(),
        ..stage.scene(checks)
    }))
}

/// A renewal begins at the first server again.
pub(super) fn first_server_back(stage: &mut Stage) -> Result<Option<Scene>, Failure> {
    stage.open_first()?;
    let first = stage.first.as_ref().map(Front::uri).unwrap_or_default();
    stage.refresh();
    let mut checks = Checks::default();
    stage.wait(
        &mut checks,
        "the renewal went to the first ambassador",
        |stage| stage.text("/server") == first,
    );
    let renewed = stage.said("the Mender token is renewed") > 0;
    let kept = stage.said("accepted by the Mender server") == 1 && stage.said("expired") == 0;
    checks.that("there was a token all the time", renewed && kept);
    Ok(Some(Scene {
        title: "It is back, and the token is renewed there",
        offered: "both listen; a renewal comes by itself at 80 % of the token's life".into(),
        ..stage.scene(checks)
    }))
}

/// Somebody deletes the token at the server.
pub(super) fn refused_in_mid_life(stage: &mut Stage) -> Result<Option<Scene>, Failure> {
    for device in stage.server.devices() {
        for set in device.sets {
            stage.server.delete_token(&set.id);
        }
    }
    stage.stand_at("a mast in Chur")?;
    let mut checks = Checks::default();
    stage.wait(
        &mut checks,
        "the changed inventory came with a new token",
        |stage| {
            stage
                .shown("site")
                .is_some_and(|site| site == "a mast in Chur")
        },
    );
    let refused = stage.said("the server refused the Mender token in use");
    checks.that("the 401 was noticed", refused == 1);
    Ok(Some(Scene {
        title: "The token ends in mid-life",
        offered: "the server deletes it; the inventory's next news are answered 401".into(),
        ..stage.scene(checks)
    }))
}

/// The same 401 as for a device that waits, told apart by what was before.
pub(super) fn decommissioned(stage: &mut Stage) -> Result<Option<Scene>, Failure> {
    for device in stage.server.devices() {
        stage.server.begin_decommissioning(&device.id);
    }
    stage.refresh();
    let mut checks = Checks::default();
    stage.wait(
        &mut checks,
        "the agent says that it is decommissioned",
        |stage| stage.text("/cycle/why/code") == "decommissioned",
    );
    let wait = stage.show("/cycle/next/in_s").as_u64();
    checks.that("it waits half a minute or more", wait >= Some(29));
    let token = stage.show("/cycle/token").is_null();
    checks.that("it has no token any more", token);
    Ok(Some(Scene {
        title: "The device is decommissioned",
        offered: "401 to all it asks".into(),
        ..stage.scene(checks)
    }))
}

/// What is gone at the server is let in again by the ambassador, as another device.
pub(super) fn accepted_again(stage: &mut Stage) -> Result<Option<Scene>, Failure> {
    let old = stage.server.devices();
    for device in &old {
        stage.server.decommission(&device.id);
    }
    stage.refresh();
    let mut checks = Checks::default();
    stage.wait(&mut checks, "the whole inventory is there again", |stage| {
        stage
            .shown("site")
            .is_some_and(|site| site == "a mast in Chur")
    });
    checks.is("state", "authorised", &stage.text("/cycle/state"));
    let devices = stage.server.devices();
    let id = devices.first().map(|device| device.id.clone());
    let id = id.unwrap_or_default();
    let is_new = old.iter().all(|device| device.id != id);
    checks.that("it is another device to the server", is_new);
    checks.is("device", &id, &stage.text("/device/id"));
    Ok(Some(Scene {
        title: "Accepted again",
        offered: "the old device is gone; its certificate is still good; a person says refresh"
            .into(),
        ..stage.scene(checks)
    }))
}
