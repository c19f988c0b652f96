//! Waits: how long after which failure.

use super::*;

/// The waits after `times` failures of this kind, for many seeds.
fn waits(settings: Settings, told: &Failure, times: usize) -> Vec<Vec<Duration>> {
    let mut all = vec![Vec::new(); times];
    for seed in 0..100 {
        let mut mender = Mender::new(settings, seed);
        mender.step(Event::IdentityLoaded, at(0));
        let boot_delay_wanted = false;
        mender.step(Event::Started { boot_delay_wanted }, at(0));
        for row in &mut all {
            refuse(&mut mender, told.clone());
            row.push(wait(&mender));
        }
    }
    all
}

fn assert_between(rows: &[Vec<Duration>], bounds: &[(u64, u64)]) {
    for (row, (low, high)) in rows.iter().zip(bounds) {
        let (least, most) = (row.iter().min().unwrap(), row.iter().max().unwrap());
        assert!(
            *least >= secs(*low) && *most <= secs(*high),
            "{least:?} {most:?}"
        );
        // And the range is used.
        let middle = Duration::from_secs(u64::midpoint(*low, *high));
        assert!(*least < middle && *most > middle, "{least:?} {most:?}");
    }
}

#[test]
fn acceptance_is_asked_for_after_a_minute_and_then_every_five() {
    let rows = waits(quiet(), &pending(), 5);
    let bounds = [(30, 60), (60, 120), (120, 240), (150, 300), (150, 300)];
    assert_between(&rows, &bounds);
}

#[test]
fn the_retry_setting_stretches_the_wait_for_acceptance_only_upwards() {
    let with = |retry| Settings {
        retry: secs(retry),
        ..quiet()
    };
    let rows = waits(with(1800), &pending(), 7);
    assert_between(&rows[5..], &[(900, 1800), (900, 1800)]);
    let rows = waits(with(0), &pending(), 5);
    assert_between(&rows[..1], &[(30, 60)]);
    assert_between(&rows[4..], &[(150, 300)]);
}

#[test]
fn a_missing_network_waits_with_full_jitter_from_the_first_spread_on() {
    let rows = waits(quiet(), &failure(Class::Network), 4);
    assert_between(&rows, &[(5, 120), (5, 240), (5, 300), (5, 300)]);
    let hasty = Settings {
        first_retry_spread: Duration::ZERO,
        ..quiet()
    };
    let rows = waits(hasty, &failure(Class::ServerFault), 4);
    assert!(rows[0].iter().all(|wait| *wait == FLOOR));
    assert!(rows[1].iter().all(|wait| *wait <= secs(10)));
    assert_between(&rows[3..], &[(5, 40)]);
}

#[test]
fn a_refusal_for_good_waits_a_quarter_of_an_hour_and_longer() {
    for class in [
        Class::Configuration,
        Class::NotAuthorised,
        Class::ClientCertRefused,
        Class::ServerUntrusted,
    ] {
        let rows = waits(quiet(), &failure(class), 6);
        let bounds = [(720, 1080), (1440, 2160), (2880, 4320), (5760, 8640)];
        assert_between(&rows, &bounds);
        assert_between(&rows[5..], &[(17_280, 25_920)]);
    }
}

#[test]
fn a_suspect_clock_is_looked_at_every_ten_seconds() {
    let rows = waits(quiet(), &failure(Class::ClockSuspect), 6);
    assert!(
        rows.iter()
            .flatten()
            .all(|wait| *wait >= secs(10) && *wait <= secs(11))
    );
    let mut mender = begun(quiet());
    refuse(&mut mender, failure(Class::ClockSuspect));
    assert_eq!((mender.status().state, reason(&mender)), ("clock", "clock"));
}

#[test]
fn a_servers_word_counts_up_to_a_day_and_is_spread() {
    let busy = |told| failure(Class::Busy).with_retry_after(Some(secs(told)));
    assert_between(&waits(quiet(), &busy(1000), 1), &[(1000, 1100)]);
    let bounds = [(86_400, 95_040)];
    assert_between(&waits(quiet(), &busy(9_000_000), 1), &bounds);
    // A short one does not undo our own wait.
    assert_between(&waits(quiet(), &busy(0), 1), &[(5, 132)]);
}

#[test]
fn an_outage_does_not_stretch_the_wait_for_acceptance() {
    let mut mender = begun(quiet());
    for _ in 0..9 {
        refuse(&mut mender, failure(Class::Network));
    }
    refuse(&mut mender, pending());
    assert!(wait(&mender) <= secs(60));
}
