"""Station's unit is started, watched and changed over the bus, by the systemd that is really there."""

from machine import Failed

ARCHITECTURES = ("arm64",)
HOME = "/data/mtls-agent"
CONFIGURATION = "/etc/mtls-agent/agent.json"
# Only that it runs counts here; what station does is the double's in tests/.
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n"


def play(device):
    device.configure(
        lns__mode="station", lns__station_home=f"{HOME}/station",
        station__unit="station.service", station__unit_control="dbus")
    device.lab.offer(1)
    machine = device.start(boot="systemd")
    for name in ("station", "spare"):
        machine.run(f"cat >/run/systemd/system/{name}.service <<'END'\n{UNIT}END")
    # The image has a bus that sleeps.
    machine.run("rm /etc/systemd/system/dbus.service /etc/systemd/system/dbus.socket")
    machine.run("systemctl daemon-reload && systemctl start dbus.socket", limit=300)
    refused(device)
    unconfined(device)
    first = watched(device, "station")
    print("   started over the bus, and its process is known", flush=True)
    machine.run(f"kill -KILL {first}")
    machine.until("another process runs", lambda: main_process(machine, "station") not in ("0", first), 120, step=1)
    watched(device, "station")
    machine.run("grep -q 'station was killed by signal 9' /run/agent.log")
    print("   killed, told of, started again", flush=True)
    machine.run(f"sed -i s/station.service/spare.service/ {CONFIGURATION} && mtls-agent reload", limit=60)
    watched(device, "spare")
    machine.until("the former unit is stopped", lambda: main_process(machine, "station") == "0", 120, step=1)
    print("   another unit after a reload: the former is stopped", flush=True)


def refused(device):
    """Without a rule of polkit the agent's user may not; systemd's own words say so."""
    machine = device.machine
    machine.run("systemctl restart mtls-agent", limit=300)
    device.until_status("the unit is refused", lambda status: holder(status).get("state") == "blocked", 300)
    line = machine.until(
        "it is told",
        lambda: machine.run("journalctl --no-pager -b -o cat -u mtls-agent | grep -m 1 'StartUnit refused'", good=None).strip(),
        120, step=1)
    print(f"   {line}", flush=True)
    if main_process(machine, "station") != "0":
        raise Failed("it was started all the same")


def unconfined(device):
    """The agent goes on as root, whom systemd obeys."""
    machine = device.machine
    machine.run("systemctl stop mtls-agent", limit=120)
    machine.run(f"chown -R root: {HOME} && install -d /run/mtls-agent")
    machine.run("setsid mtls-agent run >/run/agent.log 2>&1 </dev/null &")


def watched(device, name):
    """Waits until the agent shows the process that systemd shows."""
    def is_same(status):
        return holder(status).get("pid") and str(holder(status)["pid"]) == main_process(device.machine, name)
    return str(holder(device.until_status(f"the process of {name} is shown", is_same, 180))["pid"])


def holder(status):
    return status["lns"].get("holder") or {}


def main_process(machine, name):
    return machine.run(f"systemctl show -p MainPID --value {name}.service").strip()
