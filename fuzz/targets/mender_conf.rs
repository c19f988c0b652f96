//! Fuzzes: both files of `mender.conf`, split at the first zero octet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::mender::conf::MenderConf;
use mtls_agent::wire::mender::server::ServerUrl;

fuzz_target!(|text: &str| {
    let (fallback, main) = match text.split_once('\0') {
        Some((fallback, main)) => (Some(("fallback", fallback)), main),
        None => (None, text),
    };
    let Ok((conf, _)) = MenderConf::read(fallback, Some(("main", main))) else {
        return;
    };
    for server in &conf.servers {
        assert_eq!(ServerUrl::parse(&server.to_string()).as_ref(), Ok(server));
    }
});
