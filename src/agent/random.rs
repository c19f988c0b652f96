//! Decides: where in a range a wait falls. The seed comes from outside.

use core::time::Duration;

/// A `SplitMix64` sequence: enough to spread a fleet, never for keys.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A duration from `low` to `high`, every nanosecond as likely as the next.
    pub(super) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low).as_nanos();
        let span = u64::try_from(span).unwrap_or(u64::MAX);
        let scaled = (u128::from(self.next()) * u128::from(span)) >> 64;
        let offset = u64::try_from(scaled).unwrap_or(u64::MAX);
        low.saturating_add(Duration::from_nanos(offset))
    }

    /// A duration within `percent` of `middle`, either side.
    pub(super) fn around(&mut self, middle: Duration, percent: u32) -> Duration {
        let part = middle / 100;
        let low = part.saturating_mul(100_u32.saturating_sub(percent));
        let high = part.saturating_mul(100_u32.saturating_add(percent));
        self.between(low, high)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_stays_within_its_range() {
        let mut random = Random::new(7);
        let (low, high) = (Duration::from_secs(30), Duration::from_secs(60));
        for _ in 0..1000 {
            let drawn = random.between(low, high);
            assert!(drawn >= low && drawn <= high);
        }
    }

    #[test]
    fn a_range_turned_round_gives_its_low_end() {
        let drawn = Random::new(7).between(Duration::from_secs(9), Duration::from_secs(1));
        assert_eq!(drawn, Duration::from_secs(9));
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let (mut one, mut other) = (Random::new(42), Random::new(42));
        let hour = Duration::from_secs(3600);
        assert_eq!(one.around(hour, 10), other.around(hour, 10));
    }
}
