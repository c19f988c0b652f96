//! Runs the laboratory.
fn main() {}
