//! Plays: the life of one device behind Mender's ambassador.

mod acts;
mod bus;
mod errors;
mod stage;

use std::path::Path;
use std::time::{Duration, Instant};

use super::tell::{Scene, Teller};
use crate::Failure;
use stage::Stage;

/// Longest time all acts may take together. Between two attempts there are 5 s, whatever anybody
/// wants.
const LIMIT: Duration = Duration::from_secs(90);

/// One act; without a scene what it needs is not on this machine.
type Act = fn(&mut Stage) -> Result<Option<Scene>, Failure>;

const ALL: [Act; 10] = [
    errors::server_by_the_book,
    errors::other_key,
    errors::past_the_ambassador,
    acts::first_contact,
    bus::other_programs,
    acts::first_server_down,
    acts::first_server_back,
    acts::refused_in_mid_life,
    acts::decommissioned,
    acts::accepted_again,
];

/// Plays all acts; true if everything was as it must be.
pub(super) fn play(dir: &Path, binary: &Path) -> Result<bool, Failure> {
    let start = Instant::now();
    let mut stage = Stage::set(dir, binary)?;
    let mut teller = Teller::new(start, ["happens", "status"]);
    stage.introduce();
    for act in ALL {
        if let Some(scene) = act(&mut stage)? {
            teller.act(&scene);
        }
    }
    let mut end = stage.secrets_stayed_inside();
    end.that(
        &format!("it all took less than {} s", LIMIT.as_secs()),
        start.elapsed() < LIMIT,
    );
    stage.keep()?;
    Ok(teller.finish(&end, "nobody at the server pressed a button."))
}
