//! Every setting there is: name, kind, default and meaning.

use super::table::{Kind, Setting};

const fn given(
    name: &'static str,
    kind: Kind,
    example: &'static str,
    about: &'static str,
) -> Setting {
    Setting {
        name,
        kind,
        default: None,
        example,
        about,
    }
}

const fn usual(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Setting {
    Setting {
        name,
        kind,
        default: Some(default),
        example: default,
        about,
    }
}

/// Every setting there is, in the order of the template.
pub const SETTINGS: &[Setting] = &[
    usual(
        "service",
        Kind::Choice(&["cups", "mender"]),
        "\"cups\"",
        "Which service the device authenticates to; the settings of the other are not looked at.",
    ),
    usual(
        "data_dir",
        Kind::Path,
        "\"/data/mtls-agent\"",
        "Credential sets live here; must survive a reboot.",
    ),
    usual(
        "runtime_dir",
        Kind::Path,
        "\"/run/mtls-agent\"",
        "Sockets and the waits after refusals; lost at reboot.",
    ),
    usual(
        "eui",
        Kind::Eui,
        "null",
        "The gateway's EUI; only checked against the certificate, which decides.",
    ),
    usual(
        "sandbox",
        Kind::Choice(&["auto", "off"]),
        "\"auto\"",
        "Whether run confines itself by seccomp and Landlock, where the kernel has them.",
    ),
    given(
        "identity.certificate",
        Kind::Path,
        "\"/data/mtls-agent/device.crt\"",
        "Device certificate, then its intermediates, PEM.",
    ),
    given(
        "identity.key",
        Kind::Path,
        "\"/data/mtls-agent/device.key\"",
        "Private key, PEM (SEC1, PKCS#8 or PKCS#1), mode 0600.",
    ),
    given(
        "trust_anchors",
        Kind::Paths,
        "[\"/etc/mtls-agent/cups-root.pem\"]",
        "PEM files with the roots that the CUPS server's certificate must lead to.",
    ),
    given(
        "cups.uri",
        Kind::Text,
        "\"https://gateway.example.com:8987\"",
        "CUPS address, https://host:port.",
    ),
    usual(
        "cups.poll_s",
        Kind::Number(1, 2_592_000),
        "86400",
        "Seconds between polls, +-10 %.",
    ),
    usual(
        "cups.allow_cups_changes",
        Kind::Flag,
        "false",
        "Whether CUPS may move this gateway to another CUPS server or give it CUPS credentials.",
    ),
    usual(
        "cups.allow_plain",
        Kind::Flag,
        "false",
        "Whether http:// and ws:// addresses are taken at all.",
    ),
    usual(
        "cups.allowed_hosts",
        Kind::Texts,
        "[]",
        "Hosts CUPS may name; .example.com allows all below; empty allows any.",
    ),
    usual(
        "cups.model",
        Kind::Text,
        "\"\"",
        "Kind of device told to CUPS; empty: what the device tree says.",
    ),
    usual(
        "cups.package",
        Kind::Text,
        "\"\"",
        "Image version told to CUPS; empty: version.txt in the station home.",
    ),
    usual(
        "cups.signature_keys",
        Kind::Paths,
        "[]",
        "Keys that may sign updates; empty: sig-0.key, sig-1.key ... in the station home.",
    ),
    usual(
        "cups.update_command",
        Kind::Texts,
        "[]",
        "Program and arguments run with the path of a verified update; empty: updates are off.",
    ),
    usual(
        "cups.update_mib_max",
        Kind::Number(1, 2047),
        "64",
        "Largest update taken, MiB.",
    ),
    usual(
        "lns.station_home",
        Kind::PathOrNull,
        "null",
        "Basic Station's home directory; tc.uri, tc.trust, tc.crt and tc.key are written there.",
    ),
    usual(
        "lns.prove",
        Kind::Flag,
        "true",
        "Whether a new set must reach the LNS before it is used.",
    ),
    usual(
        "lns.mode",
        Kind::Choice(&["none", "station", "session", "relay"]),
        "\"none\"",
        "Who holds the LNS connection: nobody here, Basic Station under our watch, the agent itself, or a local relay.",
    ),
    usual(
        "lns.ping_s",
        Kind::Number(1, 600),
        "30",
        "Mode session: seconds between two pings, +-10 %; a link dead for three of them is opened anew.",
    ),
    usual(
        "station.command",
        Kind::Texts,
        "[]",
        "Mode station: program and arguments run as a child; empty: station.unit is used.",
    ),
    usual(
        "station.unit",
        Kind::Text,
        "\"\"",
        "Mode station: the systemd unit that is started, stopped and watched.",
    ),
    usual(
        "station.unit_control",
        Kind::Choice(&["systemctl", "dbus"]),
        "\"systemctl\"",
        "Mode station: how systemd is asked about the unit: by its program, or over the system bus.",
    ),
    usual(
        "station.journal",
        Kind::Flag,
        "false",
        "Mode station: whether the unit's log is read with journalctl, for what only it tells.",
    ),
    usual(
        "relay.listen",
        Kind::Text,
        "\"127.0.0.1:1887\"",
        "Mode relay: loopback address and port, or unix:/path of a socket.",
    ),
    usual(
        "relay.gateways",
        Kind::Texts,
        "[]",
        "Mode relay: EUIs let in besides the certificate's own; each needs the LNS to take this key for it.",
    ),
    usual(
        "relay.users",
        Kind::Texts,
        "[]",
        "Mode relay on a Unix socket: users let in besides root and our own.",
    ),
    usual(
        "relay.silent_s_max",
        Kind::Number(8, 3600),
        "120",
        "Mode relay: seconds after which an LNS connection that gives no sign of life, or takes nothing of what waits, is given up; TCP asks from half of them on.",
    ),
    usual(
        "mender.conf",
        Kind::Path,
        "\"/etc/mender/mender.conf\"",
        "Mender's own configuration: servers, certificate, keys, tenant token, intervals.",
    ),
    usual(
        "mender.fallback_conf",
        Kind::Path,
        "\"/var/lib/mender/mender.conf\"",
        "The same, read first; mender.conf wins key by key.",
    ),
    usual(
        "mender.data_dir",
        Kind::Path,
        "\"/var/lib/mender\"",
        "Where mender-agent.pem is made if no key is configured, and device_type is.",
    ),
    usual(
        "mender.mount_point",
        Kind::PathOrNull,
        "null",
        "A folder that must be mounted before a key is made, so that none is made below it.",
    ),
    usual(
        "mender.share_dir",
        Kind::Path,
        "\"/usr/share/mender\"",
        "Where identity/mender-device-identity and inventory/mender-inventory-* are.",
    ),
    usual(
        "mender.identity",
        Kind::Texts,
        "[]",
        "Identity without a script, as name=value; empty: the MAC address of the first real interface.",
    ),
    usual(
        "mender.inventory",
        Kind::Choice(&["auto", "on", "off"]),
        "\"auto\"",
        "Whether inventory is sent; auto: unless mender-update is installed, which sends its own.",
    ),
    usual(
        "mender.update_command",
        Kind::Texts,
        "[]",
        "Program and arguments run with the name of an update that waits; empty: not asked for.",
    ),
    usual(
        "mender.forwarder",
        Kind::Text,
        "\"127.0.0.1:0\"",
        "Loopback address where other Mender programs reach the server; empty: off; port 0: any.",
    ),
    usual(
        "mender.dbus",
        Kind::Flag,
        "true",
        "Whether to own io.mender.AuthenticationManager on the system bus.",
    ),
    usual(
        "mender.system_roots",
        Kind::Flag,
        "true",
        "Whether the system's roots are trusted beside ServerCertificate, as the official client does.",
    ),
    usual(
        "status.textfile",
        Kind::PathOrNull,
        "null",
        "A file that Prometheus' node_exporter reads, rewritten on change; best on tmpfs.",
    ),
    usual(
        "tls.version_max",
        Kind::Choice(&["1.2", "1.3"]),
        "\"1.3\"",
        "Highest TLS version; 1.2 costs fewer bytes on a metered link and shows the EUI on the wire.",
    ),
    usual(
        "tls.server_pin",
        Kind::Pins,
        "[]",
        "SHA-256 of the server's public key, and of its successor; only servers with such a key are trusted, whatever their certificate says.",
    ),
    usual(
        "network.connect_s",
        Kind::Number(1, 300),
        "60",
        "Seconds for connection and TLS handshake.",
    ),
    usual(
        "network.response_s",
        Kind::Number(1, 300),
        "40",
        "Seconds until the first octet of an answer.",
    ),
    usual(
        "network.total_s",
        Kind::Number(1, 140),
        "120",
        "Seconds for a whole exchange.",
    ),
    usual(
        "wait.boot_s_max",
        Kind::Number(0, 3600),
        "30",
        "Longest random delay of the first poll after boot.",
    ),
    usual(
        "wait.retry_s_max",
        Kind::Number(1, 3600),
        "120",
        "Longest random delay of the first retry.",
    ),
    usual(
        "log.level",
        Kind::Choice(&["error", "warn", "info", "debug"]),
        "\"info\"",
        "What is logged.",
    ),
];
