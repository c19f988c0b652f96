//! Doubles of the servers the agent talks to.
//!
//! | module | stands for |
//! |---|---|
//! | [`pki`] | the operator's certificate authorities |
//! | [`front`] | the proxy that ends mutual TLS |
//! | [`cups`] | the configuration server behind the proxy, as The Things Stack behaves |
//! | [`believer`] | a CUPS that takes any certificate and has nothing new |
//! | [`lns`] | the network server: discovery and traffic |
//! | [`mender`] | the mTLS ambassador and the Mender server behind it |
//! | [`faults`] | servers that never behave |
//! | [`proxy`] | nothing: it starts real proxies |
//! | [`device`] | a gateway with the agent on it, and systemd |
//! | [`relay`] | a gateway whose agent relays, and local clients |
//! | [`vanish`] | a far network whose packets vanish |
//! | [`station`] | Basic Station, for whoever starts and watches it |
//! | [`skip`] | nothing: it says that a test is skipped, where it may be |
//! | [`openssl`] | the operator's own hands |
//!
//! The doubles share no code with the agent: a mistake in one cannot hide a mistake in the other.
//! All of them listen on loopback (but for those in a far network), use one thread a connection and end when dropped.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a laboratory for tests: it may read clocks and files, and it ends at once when its own set-up fails"
)]

pub mod believer;
pub mod cups;
pub mod device;
pub mod faults;
pub mod front;
pub mod http;
pub mod lns;
pub mod mender;
pub mod openssl;
pub mod pipe;
pub mod pki;
pub mod proxy;
pub mod relay;
pub mod server;
pub mod skip;
pub mod station;
pub mod tls;
pub mod vanish;
