//! Fuzzes: the answer of CUPS, whole and in parts. Both ways of reading agree.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mtls_agent::wire::cups::answer::{Answer, Layout};

fuzz_target!(|octets: &[u8]| {
    let whole = Answer::parse(octets);
    let Ok(Some(layout)) = Layout::find(octets) else {
        assert!(whole.is_err());
        return;
    };
    if let Ok((answer, update)) = whole {
        assert!(update.len() <= octets.len());
        assert_eq!(Answer::from_head(octets, &layout).as_ref(), Ok(&answer));
    }
});
