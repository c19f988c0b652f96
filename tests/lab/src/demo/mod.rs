//! Plays: the life of one device, at CUPS or at Mender, with the real agent against all doubles.

mod acts;
mod agent;
mod mender;
mod stage;
mod tell;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::args::Args;
use stage::Stage;
use tell::Teller;

/// Longest time all acts may take together.
const LIMIT: Duration = Duration::from_secs(30);

/// Plays all acts; true if everything was as it must be.
pub(crate) fn run(args: &Args) -> Result<bool, Failure> {
    let service = args.get("service").unwrap_or("cups");
    let play = match service {
        "cups" => play,
        "mender" => mender::play,
        other => return Err(Failure::Usage(format!("--service: there is no {other}"))),
    };
    let binary = match args.get("agent") {
        Some(_) => args.file("agent")?,
        None => agent::build()?,
    };
    let kept = args.get("keep").map(PathBuf::from);
    if kept.as_ref().is_some_and(|dir| is_used(dir)) {
        let what = "--keep: an earlier demonstration is in that directory; name an empty one";
        return Err(Failure::Usage(what.to_owned()));
    }
    let temporary = std::env::temp_dir().join(format!("mtls-lab-demo-{}", std::process::id()));
    let dir = kept.clone().unwrap_or_else(|| temporary.clone());
    let good = play(&dir, &binary);
    match kept {
        Some(dir) => println!("\nAll files are in {}.", dir.display()),
        None => drop(fs::remove_dir_all(&temporary)),
    }
    good
}

/// Whether an agent has worked in a directory before.
fn is_used(dir: &Path) -> bool {
    ["data", "device"]
        .iter()
        .any(|name| dir.join(name).exists())
}

fn play(dir: &Path, binary: &Path) -> Result<bool, Failure> {
    let start = Instant::now();
    let mut stage = Stage::set(dir, binary.to_owned())?;
    let mut teller = Teller::new(start, ["offered", "current"]);
    stage.introduce();
    for act in acts::ALL {
        let scene = act(&mut stage)?;
        teller.act(&scene);
    }
    let mut end = acts::secrets_stayed_inside(&stage);
    let elapsed = start.elapsed();
    end.that(
        &format!("it all took less than {} s", LIMIT.as_secs()),
        elapsed < LIMIT,
    );
    Ok(teller.finish(&end, "no answer ever cost the gateway its set."))
}
