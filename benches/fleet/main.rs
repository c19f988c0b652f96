//! Measures: how 100,000 devices come back to one proxy, by simulation.
//!
//! `cargo bench --no-default-features --bench fleet` prints the table of `docs/fleet.md` and
//! draws its pictures anew. Without `--bench` among the arguments, as under `cargo test`, it
//! does nothing.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "the pictures can be drawn again; they need no durable write"
)]

#[path = "../../tests/fleet/mod.rs"]
mod fleet;
mod plot;

use core::time::Duration;
use std::path::Path;

use fleet::{Model, Outcome, Plan, Schedule};
use plot::{Curve, Plot};

const DEVICES: u32 = 100_000;
const CAPACITY: u32 = 500;
const OUTAGES: [(&str, Duration); 2] = [
    ("10s", Duration::from_secs(10)),
    ("1h", Duration::from_secs(3600)),
];

fn main() -> std::io::Result<()> {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("nothing is measured without --bench");
        return Ok(());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fleet");
    std::fs::create_dir_all(&folder)?;
    println!(
        "| outage | proxy | schedule | peak, connections/s | 99 % back after, s | tries a device |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, outage) in OUTAGES {
        for model in Model::ALL {
            let mut curves = Vec::new();
            for schedule in Schedule::ALL {
                let outcome = fleet::run(&Plan {
                    devices: DEVICES,
                    capacity: CAPACITY,
                    outage,
                    model,
                    schedule,
                    seed: 1,
                });
                tell(name, model, schedule, &outcome);
                curves.push(Curve {
                    name: schedule.name(),
                    values: outcome.arrivals,
                });
            }
            let title = format!(
                "{DEVICES} devices after an outage of {name}, proxy model \"{}\"",
                model.name()
            );
            let picture = Plot {
                title,
                zero_at: usize::try_from(outage.as_secs()).unwrap_or(0),
                capacity: CAPACITY,
                curves,
            };
            let file = folder.join(format!("{name}-{}.svg", model.name()));
            std::fs::write(file, picture.to_string())?;
        }
    }
    Ok(())
}

fn tell(outage: &str, model: Model, schedule: Schedule, outcome: &Outcome) {
    let back = match outcome.t99 {
        Some(after) => after.as_secs().to_string(),
        None => format!("never ({} h)", fleet::HORIZON.as_secs() / 3600),
    };
    println!(
        "| {outage} | {} | {} | {} | {back} | {:.1} |",
        model.name(),
        schedule.name(),
        outcome.peak(),
        outcome.attempts,
    );
}
