//! A million steps of the machine, in a world of faults and in pure noise.
//!
//! Every run follows from one seed. `MTLS_SIM_SEED=n` repeats a single one; a failure
//! prints its seed and the last events. Only the machine's public face is used.

#![expect(clippy::print_stderr, reason = "a failing seed has to be told")]
#![expect(
    clippy::disallowed_methods,
    reason = "the seed to repeat comes from the environment"
)]
#![expect(clippy::panic, clippy::indexing_slicing, reason = "test code")]

#[path = "simulation/chance.rs"]
mod chance;
#[path = "simulation/moves.rs"]
mod moves;
#[path = "simulation/noise.rs"]
mod noise;
#[path = "simulation/tally.rs"]
mod tally;
#[path = "simulation/watch.rs"]
mod watch;
#[path = "simulation/world.rs"]
mod world;

const NOISE_SEEDS: u64 = 250;
const NOISE_STEPS: u32 = 2_000;
const WORLD_SEEDS: u64 = 125;
const WORLD_STEPS: u32 = 4_500;

#[test]
fn no_order_of_events_breaks_an_invariant() {
    for seed in seeds(NOISE_SEEDS) {
        noise::run(seed, NOISE_STEPS);
    }
}

#[test]
fn no_world_of_faults_loses_the_last_proven_set_and_a_calm_one_always_rotates() {
    let mut sum = tally::Tally::default();
    for seed in seeds(WORLD_SEEDS) {
        sum.add(&world::run(seed, WORLD_STEPS));
    }
    eprintln!("{sum:?}");
    if seeds(2).count() == 2 {
        // A world in which nothing happens would prove nothing.
        assert!(sum.rotated > 1_000 && sum.confirmed > 500, "{sum:?}");
        assert!(sum.refused > 500 && sum.rolled_back > 20, "{sum:?}");
        assert!(sum.delayed > 100 && sum.restarts > 500, "{sum:?}");
        assert!(sum.former > 50, "{sum:?}");
        assert!(sum.steps >= u64::from(WORLD_STEPS) * WORLD_SEEDS, "{sum:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    assert_eq!(world::run(11, 2_000), world::run(11, 2_000));
}

fn seeds(count: u64) -> Box<dyn Iterator<Item = u64>> {
    match std::env::var("MTLS_SIM_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
    {
        Some(seed) => Box::new(core::iter::once(seed)),
        None => Box::new(0..count),
    }
}
