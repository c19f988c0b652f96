//! What a station reads is whole, and what it has is adopted octet for octet.

#![expect(
    clippy::disallowed_methods,
    reason = "a test plants and looks at files directly"
)]

use super::super::disk::{Access, RealDisk};
use super::super::tests::{Fault, FaultyDisk, Scratch, Step, contents, crash_everywhere, record};
use super::{
    adopt, configured_eui, finish, render, render_on, signature_keys, version_text, warnings,
};
use crate::store::StoreError;
use crate::wire::credential::Credential;
use crate::wire::eui::Eui64;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

fn plant(home: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(home.join(name), text).unwrap();
    }
}

/// What a station sees: it finishes the renames if there is a marker, then reads.
fn seen_by_station(home: &Path) -> [Option<Vec<u8>>; 4] {
    if home.join("tc-temp.upd").exists() {
        finish(&RealDisk::open(home, true).unwrap()).unwrap();
    }
    ["tc.trust", "tc.crt", "tc.key", "tc.uri"].map(|name| fs::read(home.join(name)).ok())
}

#[test]
fn a_rendered_set_is_four_plain_files_and_is_adopted_as_it_was() {
    let scratch = Scratch::new();
    let home = scratch.path().join("station");
    assert!(render(&home, &contents(1)).unwrap());
    let [trust, certificate, key, uri] = seen_by_station(&home).map(Option::unwrap);
    assert_eq!(
        (trust.as_slice(), certificate.as_slice()),
        (&b"trust"[..], &b""[..])
    );
    assert_eq!(key, b"Authorization: key-1\r\n");
    assert_eq!(uri, b"wss://lns-1.example:8887");
    assert_eq!(adopt(&home).unwrap(), Some(contents(1)));
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.join("tc.key")), 0o600);
    assert_eq!(fs::read_dir(&home).unwrap().count(), 4);
}

#[test]
fn rendering_the_same_set_again_writes_nothing() {
    let scratch = Scratch::new();
    render(scratch.path(), &contents(1)).unwrap();
    let changed = || scratch.path().metadata().unwrap().modified().unwrap();
    let before = changed();
    assert!(!render(scratch.path(), &contents(1)).unwrap());
    assert_eq!(changed(), before);
    assert!(render(scratch.path(), &contents(2)).unwrap());
}

#[test]
fn interrupted_at_any_call_a_station_sees_the_old_set_or_the_new_and_the_next_call_finishes() {
    for fault in [Fault::Death, Fault::Once, Fault::AfterTheFact, Fault::Full] {
        let mut number = 1;
        loop {
            let scratch = Scratch::new();
            let home = scratch.path();
            render(home, &contents(1)).unwrap();
            let old = seen_by_station(home);
            let (disk, left) = FaultyDisk::new(home, fault, number);
            let outcome = render_on(&disk, home, &contents(2), Access::PRIVATE);
            let adopted = adopt(home).unwrap();
            let seen = seen_by_station(home);
            render(home, &contents(2)).unwrap();
            let new = seen_by_station(home);
            assert!(seen == old || seen == new, "{fault:?} {number}");
            assert!(outcome.is_err() || seen == new, "{fault:?} {number}");
            let uri = adopted.unwrap().tc_uri;
            assert_eq!(uri.as_bytes(), seen[3].as_deref().unwrap());
            assert_eq!(fs::read_dir(home).unwrap().count(), 4);
            if left.get() > 0 {
                break;
            }
            number += 1;
        }
        assert!(number > 20);
    }
}

fn files_of(number: u32) -> [Option<Vec<u8>>; 4] {
    let contents = contents(number);
    let credential = contents.tc.unwrap();
    let parts = [
        credential.trust(),
        credential.certificate(),
        credential.key(),
    ];
    let [trust, certificate, key] = parts.map(|part| Some(part.to_vec()));
    [trust, certificate, key, Some(contents.tc_uri.into_bytes())]
}

#[test]
fn a_call_that_finishes_an_interrupted_one_may_be_interrupted_itself() {
    let stops = 1..36;
    for (first, second) in stops
        .clone()
        .flat_map(|n| stops.clone().map(move |m| (n, m)))
    {
        let scratch = Scratch::new();
        let home = scratch.path();
        render(home, &contents(1)).unwrap();
        for (number, stop) in [(2, first), (3, second)] {
            let (disk, _) = FaultyDisk::new(home, Fault::Death, stop);
            drop(render_on(&disk, home, &contents(number), Access::PRIVATE));
        }
        let copy = Scratch::new();
        for entry in fs::read_dir(home).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        let seen = seen_by_station(copy.path());
        let is_whole = (1..=3).any(|number| seen == files_of(number));
        assert!(is_whole, "{first} {second}");
        render(home, &contents(4)).unwrap();
        assert_eq!(seen_by_station(home), files_of(4), "{first} {second}");
    }
}

#[test]
fn no_power_cut_leaves_a_station_with_a_mixed_set() {
    let scratch = Scratch::new();
    let steps = record(scratch.path(), |disk, note| {
        for number in 1..=3 {
            note(Step::Attempt(number));
            render_on(&*disk, scratch.path(), &contents(number), Access::PRIVATE).unwrap();
            note(Step::Acknowledge(number));
        }
    });
    crash_everywhere(&steps, |home, numbers, what| {
        let seen = seen_by_station(home);
        let is_expected = |number: u32| number == 0 || seen == files_of(number);
        assert!(numbers.into_iter().any(is_expected), "{what}");
    });
}

#[test]
fn a_set_with_nothing_usable_in_tc_uri_is_not_adopted() {
    let scratch = Scratch::new();
    assert_eq!(adopt(&scratch.path().join("absent")).unwrap(), None);
    for text in ["", "\n", "https://cups:443", "wss://a b:1"] {
        plant(scratch.path(), &[("tc.uri", text), ("tc.trust", "x")]);
        assert_eq!(adopt(scratch.path()).unwrap(), None, "{text:?}");
    }
    plant(
        scratch.path(),
        &[("tc.uri", "ws://lns:1887\n"), ("tc.trust", "")],
    );
    let adopted = adopt(scratch.path()).unwrap().unwrap();
    assert_eq!(
        (adopted.tc_uri.as_str(), adopted.tc),
        ("ws://lns:1887", None)
    );
}

#[test]
fn a_whole_system_s_bundle_of_roots_is_adopted_and_a_larger_one_is_replaced() {
    let scratch = Scratch::new();
    let home = scratch.path();
    let roots = "-----BEGIN CERTIFICATE-----\n".repeat(8 * 1024);
    plant(home, &[("tc.uri", "wss://lns:1"), ("tc.trust", &roots)]);
    let adopted = adopt(home).unwrap().unwrap();
    assert_eq!(adopted.tc.unwrap().trust(), roots.as_bytes());
    plant(home, &[("tc.trust", &roots.repeat(2))]);
    assert!(render(home, &contents(1)).unwrap());
    assert_eq!(adopt(home).unwrap(), Some(contents(1)));
}

#[test]
fn renames_that_station_had_not_finished_count_as_done() {
    let scratch = Scratch::new();
    let old = [
        ("tc.uri", "wss://old:1"),
        ("tc.trust", "t1"),
        ("tc.key", "k1"),
    ];
    plant(scratch.path(), &old);
    plant(
        scratch.path(),
        &[("tc-temp.uri", "wss://new:1"), ("tc-temp.key", "k2")],
    );
    assert_eq!(
        adopt(scratch.path()).unwrap().unwrap().tc_uri,
        "wss://old:1"
    );
    plant(scratch.path(), &[("tc-temp.upd", "")]);
    let adopted = adopt(scratch.path()).unwrap().unwrap();
    assert_eq!(adopted.tc_uri, "wss://new:1");
    assert_eq!(adopted.tc, Some(Credential::from_parts(b"t1", b"", b"k2")));
}

#[test]
fn symbolic_links_are_refused_and_left_alone() {
    let scratch = Scratch::new();
    for name in ["tc.key", "tc-temp.upd"] {
        let home = scratch.path().join(name);
        fs::create_dir(&home).unwrap();
        symlink("/etc/hostname", home.join(name)).unwrap();
        match render(&home, &contents(1)) {
            Err(StoreError::Link(path)) => assert_eq!(path, home.join(name)),
            other => panic!("{other:?}"),
        }
        assert!(home.join(name).is_symlink());
    }
}

#[test]
fn files_made_by_root_belong_to_whom_the_home_belongs() {
    let scratch = Scratch::new();
    if !nix::unistd::geteuid().is_root() {
        return mtls_lab::skip::skipped("a home of another user", "only root gives files away");
    }
    chown(scratch.path(), Some(1234), Some(5678)).unwrap();
    render(scratch.path(), &contents(1)).unwrap();
    let facts = scratch.path().join("tc.key").metadata().unwrap();
    assert_eq!((facts.uid(), facts.gid()), (1234, 5678));
    assert_eq!(facts.mode() & 0o777, 0o600);
}

#[test]
fn a_home_is_made_but_not_its_parents() {
    let scratch = Scratch::new();
    let deep = scratch.path().join("a/b");
    assert!(matches!(
        render(&deep, &contents(1)),
        Err(StoreError::Missing(_))
    ));
    assert!(render(deep.parent().unwrap(), &contents(1)).unwrap());
}

#[test]
fn cups_files_are_warned_about() {
    let scratch = Scratch::new();
    assert_eq!(warnings(scratch.path()), Vec::<String>::new());
    plant(
        scratch.path(),
        &[("cups.uri", "https://x:443"), ("cups.trust", "x")],
    );
    let warnings = warnings(scratch.path());
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("cups.uri, cups.trust"));
}

#[test]
fn signature_keys_stop_at_the_first_missing_number() {
    let scratch = Scratch::new();
    plant(
        scratch.path(),
        &[("sig-0.key", "a"), ("sig-1.key", "b"), ("sig-3.key", "d")],
    );
    let keys = signature_keys(scratch.path()).unwrap();
    let octets: Vec<&[u8]> = keys.iter().map(|(_, octets)| octets.as_slice()).collect();
    assert_eq!(octets, [b"a", b"b"]);
}

#[test]
fn the_version_is_trimmed() {
    let scratch = Scratch::new();
    assert_eq!(version_text(scratch.path()), None);
    plant(scratch.path(), &[("version.txt", " 1.2.3\r\n")]);
    assert_eq!(version_text(scratch.path()).as_deref(), Some("1.2.3"));
}

#[test]
fn the_eui_comes_from_station_conf_or_from_the_file_it_names() {
    let eui = |text: &str| Eui64::from_hex(text).unwrap();
    let with = |router: &str| {
        let scratch = Scratch::new();
        let text = format!(
            "/* radio */ {{ \"SX1301_conf\": {{\"x\": \"/* no comment */\"}}, /* \" */\n\
             \"station_conf\": {{ {router} }} }}"
        );
        plant(
            scratch.path(),
            &[("station.conf", &text), ("eui.txt", "::1:2\n")],
        );
        configured_eui(scratch.path()).map(|found| {
            found.map(|(eui, path)| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (eui, name)
            })
        })
    };
    let conf = "station.conf".to_owned();
    assert_eq!(with("").unwrap(), None);
    let found = with("\"routerid\": \"1:2:3:4\"").unwrap();
    assert_eq!(found, Some((eui("0001000200030004"), conf.clone())));
    let found = with("\"routerid\": \"b8:27:eb:12:34:56\"").unwrap();
    assert_eq!(found, Some((eui("B827EBFFFE123456"), conf)));
    let found = with("\"routerid\": \"eui.txt\"").unwrap();
    assert_eq!(found, Some((eui("000000FFFE010002"), "eui.txt".to_owned())));
    assert!(with("\"routerid\": \"no such file\"").is_err());
    assert!(with("\"routerid\": ").is_err());
}
