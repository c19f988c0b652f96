//! Decides: the list of commands that a step of a machine gives back.

use core::ops::Deref;

/// Commands to the shell, to be carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands<A>(pub Vec<A>);

impl<A> Commands<A> {
    pub(super) fn push(&mut self, command: A) {
        self.0.push(command);
    }
}

impl<A> Default for Commands<A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A> Deref for Commands<A> {
    type Target = [A];

    fn deref(&self) -> &[A] {
        &self.0
    }
}

impl<A> IntoIterator for Commands<A> {
    type Item = A;
    type IntoIter = std::vec::IntoIter<A>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<A: PartialEq, const N: usize> PartialEq<[A; N]> for Commands<A> {
    fn eq(&self, other: &[A; N]) -> bool {
        self.0 == other
    }
}
