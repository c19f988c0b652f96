//! Doubles of the servers the agent talks to.
