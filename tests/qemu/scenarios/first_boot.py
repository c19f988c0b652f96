"""From a signed certificate to installed credentials under systemd, kept through a clean reboot."""

from machine import Failed

ARCHITECTURES = ("arm64", "armhf")
HOME = "/data/mtls-agent"


def play(device):
    device.lab.offer(1)
    begun = device.start(boot="systemd").begun
    device.lab.linked(400, device.machine, 1)
    print(f"   linked {device.lab.moment - begun:.1f} s after power on", flush=True)
    installed(device)
    device.machine.power_off()
    device.start(boot="systemd")
    # The set of before, without asking first.
    if device.lab.linked(400, device.machine) != 1:
        raise Failed("it came back with another set")
    installed(device)
    device.machine.power_off()
    device.check_data()


def installed(device):
    machine = device.machine
    status = device.until_status("the link is up", is_up, 120)
    cycle = status["cycle"]
    print(f"   status: {cycle['last']['result']}, set {cycle['current']}, link up", flush=True)
    machine.run("systemctl is-active mtls-agent")
    machine.run("runuser -u mtls-agent -- mtls-agent check")
    kept = machine.run("runuser -u mtls-agent -- mtls-agent credentials")
    if "wss://10.0.2.2:" not in kept:
        raise Failed(f"no set is kept:\n{kept}")
    for path, wanted in (
        (HOME, "mtls-agent:mtls-agent 700"),
        (f"{HOME}/store", "mtls-agent:mtls-agent 700"),
        (f"{HOME}/store/CURRENT", "mtls-agent:mtls-agent 600"),
        (f"{HOME}/device.key", "mtls-agent:mtls-agent 600"),
    ):
        found = machine.run(f"stat -c '%U:%G %a' {path}").strip()
        if found != wanted:
            raise Failed(f"{path} has {found}, not {wanted}")
    restarts = machine.run("systemctl show -p NRestarts --value mtls-agent").strip()
    if restarts != "0":
        raise Failed(f"systemd had to start the agent {restarts} times again")


def is_up(status):
    return status.get("lns", {}).get("link", {}).get("state") == "up"
