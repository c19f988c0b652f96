//! Tests of the table that reads a broken connection.

use super::{Class, Defect, Evidence, SILENT_CLOSES_MIN, SocketFault, Stage, TlsFault};

fn evidence() -> Evidence {
    Evidence {
        peer: "cups:8987".to_owned(),
        stage: Stage::Response,
        is_full_handshake: true,
        is_tls13: true,
        certificate_requested: true,
        scheme_mismatch: false,
        tls: None,
        socket: SocketFault::Other,
        own_certificate_valid: true,
        clock_sane: true,
        silent_closes: 0,
    }
}

fn class_of_alert(alert: u8, is_tls13: bool, certificate_requested: bool) -> Class {
    let tls = Some(TlsFault::Alert(alert));
    Evidence {
        is_tls13,
        certificate_requested,
        tls,
        ..evidence()
    }
    .classify()
    .class
}

#[test]
fn every_alert_about_our_certificate_is_a_refusal() {
    for alert in [41, 42, 43, 44, 45, 46, 48, 49, 51, 116] {
        assert_eq!(
            class_of_alert(alert, true, true),
            Class::ClientCertRefused,
            "{alert}"
        );
    }
}

#[test]
fn handshake_failure_depends_on_version_and_request() {
    assert_eq!(class_of_alert(40, false, true), Class::ClientCertRefused);
    assert_eq!(class_of_alert(40, true, true), Class::TlsNegotiation);
    assert_eq!(class_of_alert(40, false, false), Class::TlsNegotiation);
}

#[test]
fn other_alerts_are_not_blamed_on_the_certificate() {
    for (alert, class) in [
        (70, Class::TlsNegotiation),
        (71, Class::TlsNegotiation),
        (112, Class::TlsNegotiation),
        (120, Class::TlsNegotiation),
        (80, Class::ServerFault),
    ] {
        assert_eq!(class_of_alert(alert, true, true), class, "{alert}");
    }
}

#[test]
fn expired_by_a_proxy_although_valid_here_points_to_the_proxy() {
    let tls = Some(TlsFault::Alert(45));
    let failure = Evidence { tls, ..evidence() }.classify();
    assert!(failure.hint.unwrap().contains("proxy's clock"));
}

#[test]
fn validity_of_the_server_is_not_judged_by_an_unset_clock() {
    for fault in [TlsFault::Expired, TlsFault::NotYetValid] {
        let tls = Some(fault);
        let unset = Evidence {
            tls: tls.clone(),
            clock_sane: false,
            ..evidence()
        };
        assert_eq!(unset.classify().class, Class::ClockSuspect);
        assert_eq!(
            Evidence { tls, ..evidence() }.classify().class,
            Class::ServerUntrusted
        );
    }
}

#[test]
fn only_the_third_silent_close_in_a_row_is_a_refusal() {
    for socket in [SocketFault::Reset, SocketFault::Closed] {
        for earlier in 0..SILENT_CLOSES_MIN {
            let closed = Evidence {
                socket,
                silent_closes: earlier,
                ..evidence()
            };
            let expected = if earlier == SILENT_CLOSES_MIN - 1 {
                Class::ClientCertRefused
            } else {
                Class::Network
            };
            assert_eq!(closed.classify().class, expected);
        }
    }
    let not_asked = Evidence {
        socket: SocketFault::Reset,
        silent_closes: 9,
        certificate_requested: false,
        ..evidence()
    };
    assert_eq!(not_asked.classify().class, Class::Network);
}

fn told(fault: TlsFault) -> (&'static str, String, &'static str) {
    let tls = Some(fault);
    let failure = Evidence { tls, ..evidence() }.classify();
    assert_eq!(failure.class, Class::ServerUntrusted);
    (failure.code, failure.message, failure.hint.unwrap())
}

#[test]
fn each_defect_of_a_servers_certificate_has_its_words_and_a_cure() {
    for (defect, words, cure) in [
        (Defect::VersionOne, "is X.509 version 1", "-extfile"),
        (
            Defect::Authority,
            "is a CA certificate used as a server certificate",
            "let that CA issue",
        ),
        (
            Defect::NotForServers,
            "is not for servers: its extendedKeyUsage lacks serverAuth",
            "serverAuth",
        ),
        (
            Defect::Other("BadEncoding".to_owned()),
            "is unusable: BadEncoding",
            "tls.server_pin",
        ),
    ] {
        let (code, message, hint) = told(TlsFault::Unusable(defect));
        assert_eq!(code, "server_certificate");
        assert_eq!(message, format!("the certificate of cups:8987 {words}"));
        assert!(hint.contains(cure), "{hint}");
    }
}

#[test]
fn a_certificate_without_names_is_told_from_one_with_other_names() {
    let (code, message, hint) = told(TlsFault::WrongName(Vec::new()));
    assert_eq!(code, "server_name");
    assert!(message.ends_with("not in subjectAltName"), "{message}");
    assert!(hint.contains("subjectAltName=DNS:HOST"), "{hint}");
    let names = ["a.example", "b.example", "c.example", "d.example"].map(str::to_owned);
    let (_, message, _) = told(TlsFault::WrongName(names.to_vec()));
    let words = "is for a.example, b.example, c.example, not for this host";
    assert!(message.ends_with(words), "{message}");
}
