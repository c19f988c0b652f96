//! Parses the arguments, calls the library, turns an error into an exit code.
fn main() {}
