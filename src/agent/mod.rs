//! Decides: what to do next, as a pure function of events and time.

pub mod evidence;
pub mod failure;
pub mod refusal;
