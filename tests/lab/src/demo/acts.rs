//! The eight acts: what the servers do, what the agent must do, and what must be true afterwards.

use mtls_lab::cups::answer::{Dialect, Segments, encode, token_credential};
use mtls_lab::http::RawAnswer;

use super::agent::Run;
use super::stage::{EUI, Stage, short};
use super::tell::{Checks, Scene};
use crate::Failure;

/// One act.
pub(super) type Act = fn(&mut Stage) -> Result<Scene, Failure>;

/// All of them in order.
pub(super) const ALL: [Act; 8] = [
    first_contact,
    nothing_changed,
    rotated,
    rotated_again,
    poisoned,
    truncated,
    unknown_authority,
    back_to_normal,
];

const FIRST: &str = "NNSXS.FIRSTKEYFIRSTKEYFIRSTKEY.FIRSTSECRETFIRSTSECRETFIRSTSECRET";
const SECOND: &str = "NNSXS.SECONDKEYSECONDKEYSECOND.SECONDSECRETSECONDSECRETSECONDSE";
const THIRD: &str = "NNSXS.THIRDKEYTHIRDKEYTHIRDKEY.THIRDSECRETTHIRDSECRETTHIRDSECRET";
const POISON: &str = "NNSXS.POISONKEYPOISONKEYPOISON.POISONSECRETPOISONSECRETPOISONSE";
const FOURTH: &str = "NNSXS.FOURTHKEYFOURTHKEYFOURTH.FOURTHSECRETFOURTHSECRETFOURTHSE";

fn first_contact(stage: &mut Stage) -> Result<Scene, Failure> {
    stage.offer(FIRST);
    stage.lns.accept_tokens([FIRST]);
    let mut scene = rotation(stage, FIRST)?;
    let requests = stage.cups.requests();
    let name = requests
        .last()
        .and_then(|seen| seen.client_cn.clone())
        .unwrap_or_default();
    scene
        .checks
        .is("the proxy passed on the certificate of", EUI, &name);
    scene.title = "First contact";
    scene.offered = format!(
        "the first set: {}, the LNS root, {}",
        stage.lns.uri(),
        short(FIRST)
    );
    Ok(scene)
}

fn nothing_changed(stage: &mut Stage) -> Result<Scene, Failure> {
    let mut scene = quiet(stage)?;
    scene.title = "Nothing has changed";
    scene.offered = "nothing: 18 zero octets, as The Things Stack says it".into();
    Ok(scene)
}

fn rotated(stage: &mut Stage) -> Result<Scene, Failure> {
    stage.offer(SECOND);
    stage.lns.accept_tokens([FIRST, SECOND]);
    let mut scene = rotation(stage, SECOND)?;
    scene.title = "The operator rotates the LNS key";
    scene.offered = format!("a new key, {}; the old one is still good", short(SECOND));
    Ok(scene)
}

fn rotated_again(stage: &mut Stage) -> Result<Scene, Failure> {
    stage.offer(THIRD);
    stage.lns.accept_tokens([THIRD]);
    let mut scene = rotation(stage, THIRD)?;
    scene.title = "And again, this time the old key is deleted at once";
    scene.offered = format!(
        "a new key, {}; the LNS refuses every older one",
        short(THIRD)
    );
    Ok(scene)
}

fn poisoned(stage: &mut Stage) -> Result<Scene, Failure> {
    stage.offer(POISON);
    let seen = stage.lns.discoveries().len();
    let mut scene = refusal(stage, None)?;
    let discoveries = stage.lns.discoveries();
    let mut since = discoveries.iter().skip(seen);
    let tried = since.any(|one| one.token.as_deref() == Some(POISON) && !one.accepted);
    scene
        .checks
        .that("the set was tried at the LNS before it was used", tried);
    scene.title = "A poisoned set: well formed, but the LNS refuses its token";
    scene.offered = format!("a key the LNS does not know, {}", short(POISON));
    Ok(scene)
}

fn truncated(stage: &mut Stage) -> Result<Scene, Failure> {
    stage.offer(FOURTH);
    stage.lns.accept_tokens([THIRD, FOURTH]);
    let mut octets = encode(
        &Segments {
            tc_uri: "wss://localhost:1",
            tc_credentials: &token_credential(&stage.pki.lns.root_der, FOURTH),
            ..Segments::default()
        },
        Dialect::TheThingsStack,
    );
    let whole = octets.len();
    octets.truncate(whole / 2);
    let half = octets.len();
    stage.cups.answer_next(RawAnswer::octets(octets));
    let mut scene = refusal(stage, None)?;
    let discoveries = stage.lns.discoveries();
    let never = discoveries
        .iter()
        .all(|one| one.token.as_deref() != Some(FOURTH));
    scene.checks.that("nothing of it reached the LNS", never);
    scene.title = "Half an answer";
    scene.offered = format!("{half} of {whole} octets: another LNS address, then half a set");
    Ok(scene)
}

fn unknown_authority(stage: &mut Stage) -> Result<Scene, Failure> {
    let (asked, failures) = (
        stage.cups.requests().len(),
        stage.front.handshake_failures(),
    );
    let stranger = stage.pki.unknown_ca_device();
    let mut scene = refusal(stage, Some(&stranger))?;
    let refused = stage.front.handshake_failures() > failures;
    scene
        .checks
        .that("the proxy refused the handshake", refused);
    scene
        .checks
        .that("CUPS was not reached", stage.cups.requests().len() == asked);
    scene.title = "A device certificate from an authority nobody here knows";
    scene.offered = "a refusal in TLS: the proxy does not know who signed it".into();
    Ok(scene)
}

fn back_to_normal(stage: &mut Stage) -> Result<Scene, Failure> {
    stage.offer(THIRD);
    let mut scene = quiet(stage)?;
    scene.title = "Back to normal";
    scene.offered = "the right certificate again, and nothing new from CUPS".into();
    Ok(scene)
}

/// No token may stand in anything the agent printed.
pub(super) fn secrets_stayed_inside(stage: &Stage) -> Checks {
    let mut checks = Checks::default();
    let shown = stage.keys.iter().any(|key| stage.printed.contains(key));
    checks.that("no token stands in anything the agent printed", !shown);
    let traffic = stage.lns.connections().is_empty();
    checks.that(
        "the agent never opened the traffic socket, which would end a session",
        traffic,
    );
    checks
}

/// A poll that must end with this key in use.
fn rotation(stage: &mut Stage, key: &str) -> Result<Scene, Failure> {
    let (seen, before) = (stage.lns.discoveries().len(), stage.set);
    let device = stage.pki.device.clone();
    let run = stage.poll(&device)?;
    let mut checks = outcome(&run, "rotated", 0);
    let discoveries = stage.lns.discoveries();
    let mut since = discoveries.iter().skip(seen);
    let proved = since.any(|one| one.token.as_deref() == Some(key) && one.accepted);
    checks.that("the set was proved at the LNS", proved);
    checks.that(
        "the agent names a newer set",
        run.set().is_some() && run.set() > before,
    );
    stage.set = run.set();
    key.clone_into(&mut stage.held);
    stage.check_home(&mut checks);
    Ok(scene(stage, &run, checks))
}

/// A poll that must change nothing because nothing is new.
fn quiet(stage: &mut Stage) -> Result<Scene, Failure> {
    let files = stage.files();
    let device = stage.pki.device.clone();
    let run = stage.poll(&device)?;
    let mut checks = outcome(&run, "unchanged", 0);
    let requests = stage.cups.requests();
    let nothing = requests.last().is_some_and(|seen| seen.answer == [0; 18]);
    checks.that(
        "CUPS saw the right checksums and sent 18 zero octets",
        nothing,
    );
    untouched(stage, &run, &files, &mut checks);
    Ok(scene(stage, &run, checks))
}

/// A poll that must fail and leave everything as it was.
fn refusal(stage: &mut Stage, stranger: Option<&mtls_lab::pki::Pair>) -> Result<Scene, Failure> {
    let files = stage.files();
    let identity = stranger
        .cloned()
        .unwrap_or_else(|| stage.pki.device.clone());
    let run = stage.poll(&identity)?;
    let mut checks = outcome(&run, "failed", 1);
    if stranger.is_some() {
        checks.is("class", "client_cert_refused", run.text("class"));
    }
    untouched(stage, &run, &files, &mut checks);
    Ok(scene(stage, &run, checks))
}

fn outcome(run: &Run, wanted: &str, code: i32) -> Checks {
    let mut checks = Checks::default();
    checks.is("outcome", wanted, run.text("outcome"));
    let seen = run.code.map_or_else(
        || "none, it had to be ended".to_owned(),
        |code| code.to_string(),
    );
    checks.is("exit code", &code.to_string(), &seen);
    checks
}

fn untouched(
    stage: &Stage,
    run: &Run,
    files: &std::collections::BTreeMap<String, Vec<u8>>,
    checks: &mut Checks,
) {
    checks.that(
        "no file of Basic Station's home has changed",
        *files == stage.files(),
    );
    let same = run.set().is_none_or(|set| Some(set) == stage.set);
    checks.that("the agent still names the same set", same);
    stage.check_home(checks);
}

fn scene(stage: &Stage, run: &Run, checks: Checks) -> Scene {
    let name = |name| Some(run.text(name)).filter(|text| !text.is_empty());
    let marks = ["class", "code"]
        .into_iter()
        .filter_map(name)
        .map(|text| format!("[{text}]"));
    let first: Vec<String> = name("outcome")
        .map(str::to_owned)
        .into_iter()
        .chain(marks)
        .collect();
    let words = ["message", "hint"]
        .into_iter()
        .filter_map(name)
        .map(str::to_owned);
    let parts: Vec<String> = core::iter::once(first.join(" ")).chain(words).collect();
    let mut said = parts.join(" | ");
    if said.is_empty() {
        let last = run
            .printed
            .trim()
            .lines()
            .last()
            .unwrap_or("nothing at all");
        said = format!("no JSON object; it printed: {last}");
    }
    Scene {
        agent: said,
        now: stage.current(),
        checks,
        ..Scene::default()
    }
}
