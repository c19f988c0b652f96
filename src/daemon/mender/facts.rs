//! Acts: what the agent knows of the device without a script: interfaces, host, kernel, release.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::sys::utsname::uname;

/// Octets of a small file of the system.
const FILE_OCTETS_MAX: u64 = 4096;
const NET: &str = "/sys/class/net";

/// Name and MAC address of the first interface that has a device behind it: a virtual one
/// (`ifb0`, `gretap0`) is another one tomorrow. `reference/mender.md` section 2.5.
#[must_use]
pub fn first_real_interface() -> Option<(String, String)> {
    first_interface(Path::new(NET))
}

fn first_interface(net: &Path) -> Option<(String, String)> {
    let mut found: Vec<(u32, String, String)> = net
        .read_dir()
        .ok()?
        .flatten()
        .filter(|entry| entry.path().join("device").exists())
        .filter_map(|entry| {
            let index = line_of(&entry.path().join("ifindex"))?.parse().ok()?;
            let mac = mac_of(&entry.path())?;
            let name = entry.file_name().into_string().ok()?;
            Some((index, name, mac))
        })
        .collect();
    found.sort();
    let (_, name, mac) = found.into_iter().next()?;
    Some((name, mac))
}

fn mac_of(interface: &Path) -> Option<String> {
    let mac = line_of(&interface.join("address"))?;
    let is_mac = mac.len() == 17 && mac != "00:00:00:00:00:00";
    is_mac.then_some(mac)
}

/// `name`, `value` of what an inventory shows beside the scripts' output.
#[must_use]
pub fn attributes(device_type_file: &Path) -> Vec<(String, String)> {
    let mut found = vec![
        (
            "mender_client_version".to_owned(),
            concat!("mtls-agent ", env!("CARGO_PKG_VERSION")).to_owned(),
        ),
        (
            "mender_client_version_provider".to_owned(),
            "external".to_owned(),
        ),
    ];
    if let Ok(system) = uname() {
        found.push((
            "hostname".to_owned(),
            system.nodename().to_string_lossy().into_owned(),
        ));
        let kernel = format!(
            "{} {}",
            system.sysname().to_string_lossy(),
            system.release().to_string_lossy()
        );
        found.push(("kernel".to_owned(), kernel));
    }
    let named = |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value));
    found.extend(named("device_type", device_type(device_type_file)));
    found.extend(named("artifact_name", artifact_name()));
    found.extend(interfaces());
    found
}

/// What `device_type=` says in that file.
#[must_use]
pub fn device_type(file: &Path) -> Option<String> {
    value_in(file, "device_type")
}

/// The release that is installed, as the image says.
#[must_use]
pub fn artifact_name() -> Option<String> {
    value_in(Path::new("/etc/mender/artifact_info"), "artifact_name")
}

/// `mac_NAME` and `ipv4_NAME` of interfaces with a device behind them.
fn interfaces() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Ok(addresses) = getifaddrs() else {
        return found;
    };
    for interface in addresses {
        let name = &interface.interface_name;
        let folder = Path::new(NET).join(name);
        if !folder.join("device").exists() {
            continue;
        }
        let address = interface.address.as_ref();
        let Some(ip) = address.and_then(|address| address.as_sockaddr_in()) else {
            continue;
        };
        let mask = interface.netmask.as_ref();
        let mask = mask.and_then(|mask| mask.as_sockaddr_in());
        let bits = mask.map_or(32, |mask| u32::from(mask.ip()).count_ones());
        found.push((format!("ipv4_{name}"), format!("{}/{bits}", ip.ip())));
        found.extend(mac_of(&folder).map(|mac| (format!("mac_{name}"), mac)));
    }
    found
}

fn value_in(file: &Path, name: &str) -> Option<String> {
    let text = small(file)?;
    let mut values = text.lines().filter_map(|line| line.split_once('='));
    let value = values.find(|(key, _)| key.trim() == name)?.1.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

fn line_of(file: &Path) -> Option<String> {
    small(file)?
        .lines()
        .next()
        .map(|line| line.trim().to_owned())
}

fn small(file: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(file).ok()?;
    file.take(FILE_OCTETS_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}
