//! Counts what happened in a world.

/// What happened in a run; equal for equal seeds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) rotated: u64,
    pub(crate) confirmed: u64,
    pub(crate) refused: u64,
    pub(crate) rolled_back: u64,
    pub(crate) delayed: u64,
    pub(crate) restarts: u64,
    /// Asks to the CUPS before the last move.
    pub(crate) former: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.rotated += other.rotated;
        self.confirmed += other.confirmed;
        self.refused += other.refused;
        self.rolled_back += other.rolled_back;
        self.delayed += other.delayed;
        self.restarts += other.restarts;
        self.former += other.former;
    }
}
