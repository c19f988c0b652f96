"""Mender mode on what an old client left: accepted, on the bus, again after a reboot and a 401."""

import json

from device import HOME
from machine import Failed

ARCHITECTURES = ("arm64",)
FOLDER = "/data/mender"
UNIT = "mtls-agent-mender"
STATUS = "mtls-agent status --json --config /etc/mender/mender.conf"
AUTH = "/api/devices/v1/authentication/auth_requests"
# Of the identity, and how it is called in Mender's folder.
KEPT = (("device.crt", "mender-cert.pem"), ("device.key", "mender-cert-private.pem"), ("device.key", "mender-agent.pem"))
TOKEN = "/run/mtls-agent/mender-token"
SITE = f"{FOLDER}/site"
SECRET = "/etc/mender/for-root-alone"
BUS = "io.mender.AuthenticationManager /io/mender/AuthenticationManager io.mender.Authentication1"


def play(device):
    machine = device.start(boot="systemd", keep_root=True)
    machine.run("systemctl start data.mount", limit=600)
    install(device)
    stand_at(machine, "roof")
    as_left_behind(machine)
    machine.run(f"systemctl enable --now {UNIT}", limit=600)
    first = authorised(device, "roof")
    print("   accepted by its certificate, inventory shown", flush=True)
    taken_over(machine)
    sandboxed(machine)
    on_the_bus(machine)
    told_of_the_script(machine)

    machine.power_off()
    device.lab.forget()
    machine = device.start(boot="systemd", keep_root=True)
    second = authorised(device, "roof")
    if first == second:
        raise Failed("the token outlived the memory it is kept in")
    print("   the same after a reboot, with a token of its own", flush=True)

    device.lab.forget()
    device.lab.tell("mender revoke")
    # News for the inventory, which is answered 401.
    stand_at(machine, "mast")
    machine.run(f"systemctl reload {UNIT}", limit=300)
    refused = device.lab.wait(lambda event: event[0] == "mender" and event[3] == "401", 600, "a 401", machine)
    if refused[2] == AUTH:
        raise Failed(f"refused as a device, not for its token: {refused}")
    third = authorised(device, "mast")
    if third == second:
        raise Failed("the refused token is still in use")
    print("   a token that ends in mid-life is replaced", flush=True)
    # The same process all the time.
    if machine.run(f"systemctl show -p NRestarts --value {UNIT}").strip() != "0":
        raise Failed("systemd had to start it again")
    machine.power_off()
    device.check_data()


def install(device):
    """What an installer does: files of Mender, the bus, and the other unit put to rest."""
    machine = device.machine
    settings = {
        "ServerURL": device.lab.mender,
        "ServerCertificate": "/etc/mtls-agent/cups-root.pem",
        "HttpsClient": {"Certificate": f"{FOLDER}/mender-cert.pem", "Key": f"{FOLDER}/mender-cert-private.pem"},
        # The same key: the agent must be able to read both.
        "Security": {"AuthPrivateKey": f"{FOLDER}/mender-agent.pem"},
        "InventoryPollIntervalSeconds": 5,
        "MtlsAgent": {"mender": {"mount_point": "/data"}, "wait": {"boot_s_max": 0, "retry_s_max": 1}},
    }
    machine.run("systemctl disable --now mtls-agent", limit=300)
    machine.run(f"install -d -m 0700 {FOLDER} && ln -s {FOLDER} /var/lib/mender")
    for source, name in KEPT:
        machine.run(f"install -m 0600 {HOME}/{source} {FOLDER}/{name}")
    machine.run("install -d /etc/mender /usr/share/mender/identity /usr/share/mender/inventory")
    write(machine, "/etc/mender/mender.conf", json.dumps(settings), "0600")
    write(machine, f"{FOLDER}/device_type", "device_type=gateway\n", "0644")
    scripts = "/usr/share/mender"
    write(machine, f"{scripts}/identity/mender-device-identity", "#!/bin/sh\necho mac=02:00:00:ab:cd:01\n", "0755")
    write(machine, f"{scripts}/inventory/mender-inventory-site", f"#!/bin/sh\ncat {SITE}\n", "0755")
    write(machine, SECRET, "serial=1", "0600")
    write(machine, f"{scripts}/inventory/mender-inventory-serial", f"#!/bin/sh\ncat {SECRET}\n", "0755")
    # The image has a bus that sleeps.
    machine.run("rm /etc/systemd/system/dbus.service /etc/systemd/system/dbus.socket")
    machine.run("systemctl daemon-reload && systemctl start dbus.socket", limit=300)


def as_left_behind(machine):
    """All is root's alone, as of Mender's own client and of the unit when it ran as root."""
    write(machine, f"{FOLDER}/mender-store", "of mender-update", "0600")
    machine.run(f"mkdir -m 0700 {FOLDER}/deeper && install -m 0600 /dev/null {FOLDER}/deeper/mender-agent.pem")
    machine.run("install -d /run/mtls-agent && install -m 0600 /dev/null /run/mtls-agent/LOCK")
    names = f"{FOLDER} {FOLDER}/mender-* {FOLDER}/deeper/* /etc/mender/mender.conf /run/mtls-agent/LOCK"
    owners = machine.run(f"stat -c '%U:%G %a' {names} | sort -u").splitlines()
    if owners != ["root:root 600", "root:root 700"]:
        raise Failed(f"not as an old client leaves it: {owners}")


def taken_over(machine):
    """The folder is shared, the keys are the agent's, all else is root's as before."""
    wanted = {
        FOLDER: "root:mtls-agent 1750",
        f"{FOLDER}/mender-agent.pem": "mtls-agent:mtls-agent 600",
        f"{FOLDER}/mender-cert-private.pem": "mtls-agent:mtls-agent 600",
        f"{FOLDER}/mender-cert.pem": "root:mtls-agent 640",
        "/etc/mender/mender.conf": "root:mtls-agent 640",
        f"{FOLDER}/mender-store": "root:root 600",
        f"{FOLDER}/deeper/mender-agent.pem": "root:root 600",
        "/run/mtls-agent": "mtls-agent:mtls-agent 755",
    }
    for path, owner in wanted.items():
        is_so = machine.run(f"stat -c '%U:%G %a' {path}").strip()
        if is_so != owner:
            raise Failed(f"{path} is {is_so}, not {owner}")
    machine.run(f"runuser -u mtls-agent -- test -r {FOLDER}/mender-agent.pem")
    for tried in (f"mv {FOLDER}/mender-store {FOLDER}/mender-store.old", f"touch {FOLDER}/mender-connect.conf"):
        machine.run(f"runuser -u mtls-agent -- {tried} 2>&1 | grep -q 'Permission denied'")
    print("   taken over from a client that ran as root; root's files are still root's", flush=True)


def told_of_the_script(machine):
    """A script that needs root is named in one line, and the others count."""
    line = machine.until(
        "the script's failure is told",
        lambda: machine.run(f"journalctl --no-pager -b -o cat -u {UNIT} | grep -m 1 mender-inventory-serial", good=None).strip(),
        300, step=2)
    for part in ("exit status: 1", SECRET, "Permission denied", "left out"):
        if part not in line:
            raise Failed(f"no {part!r} in what the log says of the script: {line}")


def write(machine, path, text, mode):
    machine.run(f"install -m {mode} /dev/stdin {path} <<'END'\n{text}\nEND")


def stand_at(machine, place):
    write(machine, SITE, f"site={place}", "0644")


def authorised(device, place):
    """Waits until it has a token and the server shows where it stands; a mark of the token."""
    machine, lab = device.machine, device.lab

    def shown():
        # The lab tells what it shows just before it is done.
        lab.process.stdin.write("mender show site\n")
        lab.process.stdin.flush()
        event = lab.wait(lambda event: event[0] in ("shown", "done"), 40, "what the server shows", machine)
        return event[0] == "shown" and event[3] == place

    machine.until(f"the server shows the device at the {place}", shown, 600, step=1)

    def look():
        try:
            status = json.loads(machine.run(STATUS))
        except (Failed, ValueError):
            return None
        return status if status["cycle"]["state"] == "authorised" else None

    status = machine.until("the agent says that it is authorised", look, 300, step=1)
    if status["mutual_tls"] != "used":
        raise Failed(f"mutual TLS: {status['mutual_tls']}")
    kept = machine.run(f"stat -c '%U %a' {TOKEN}").strip()
    if kept != "mtls-agent 600":
        raise Failed(f"the token is kept as {kept}")
    return machine.run(f"sha256sum <{TOKEN}")


def sandboxed(machine):
    machine.run(f"systemctl is-active {UNIT}")
    process = machine.run(f"systemctl show -p MainPID --value {UNIT}").strip()
    if machine.run(f"stat -c %U /proc/{process}").strip() != "mtls-agent":
        raise Failed("it does not run as its own user")
    rights = machine.run(f"grep CapEff /proc/{process}/status").split()[1]
    if int(rights, 16):
        raise Failed(f"it has capabilities: {rights}")
    machine.run(f"! grep -r -q -F -f {TOKEN} /data /etc /var/log")


def on_the_bus(machine):
    """Other programs of Mender get token and address by asking the bus."""
    def look():
        said = machine.run(f"busctl call {BUS} GetJwtToken", good=None)
        return said if said.startswith('ss "') else None
    said = machine.until("the bus hands the token out", look, 300, step=2)
    if machine.run(f"cat {TOKEN}").strip() not in said or "http://127.0.0.1:" not in said:
        raise Failed("another token than the one in use, or no forwarder")
    machine.run(f"busctl status {BUS.split()[0]} | grep -qx 'Unit={UNIT}.service'")
    for user in ("mtls-agent", "daemon"):
        machine.run(f"runuser -u {user} -- busctl call {BUS} GetJwtToken 2>&1 | grep -q 'Access denied'")
    print("   on the bus: the name is the agent's, token and forwarder are for root alone", flush=True)
