"""A boot in 1970 without network; then the network comes, then the time: the set stays all the while."""

from machine import Failed

# 2048 is past the end of a 32-bit clock.
ARCHITECTURES = ("arm64",)
EARLY_US = 60_000_000


def play(device):
    device.commission()
    # While it was off, the certificate in front of CUPS was renewed. Its first day, in 2048, lies
    # behind all that the device knows to have passed. That of the LNS is of 2024.
    device.lab.tell("server future")
    device.lab.offer(2)
    # Of itself systemd would begin with the day on which it was built.
    machine = device.start(boot="systemd", link=False, append=f"systemd.clock-usec={EARLY_US}")
    alone(device)
    machine.link(True)
    # The day on which the agent was built is enough for the LNS.
    device.lab.linked(300, machine, 1)
    too_early(device)
    machine.run("date -u -s 2048-06-01")
    device.lab.linked(300, machine, 2)
    status = device.until_status("all is well", lambda status: status["lns"]["link"]["set"] > 1, 120)
    if not status["identity"]["clock_sane"]:
        raise Failed(f"the clock is set and it does not know: {status['identity']}")
    restarts = machine.run("systemctl show -p NRestarts --value mtls-agent").strip()
    if restarts != "0":
        raise Failed(f"systemd had to start the agent {restarts} times again")


def alone(device):
    """Without time and network it has what it had, and says what is wrong."""
    device.machine.until("the shell", lambda: device.machine.run("true", limit=400) == "", 400)
    status = device.until_status("it waits for the network", failure, 300)
    year = device.machine.run("date -u +%Y").strip()
    if year != "1970":
        raise Failed(f"this boot was to be in 1970, not in {year}")
    if failure(status)["class"] != "network":
        raise Failed(f"without a network it blames something else: {failure(status)}")
    if status["current"]["number"] != 1 or status["handed_over"] is not True:
        raise Failed(f"the set is not kept and handed over: {status}")
    if status["identity"]["clock_sane"]:
        raise Failed("it takes 1970 for the time")
    if "the clock is not set" not in device.machine.run("mtls-agent status"):
        raise Failed("people are not told of the clock")


def too_early(device):
    """With the network it says why CUPS cannot be trusted yet, and keeps the set."""
    status = device.until_status("it judges the clock", lambda status: (failure(status) or {}).get("code") == "clock", 300)
    said = failure(status)
    print(f"   {said['class']}: {said['message']}; {said['hint']}", flush=True)
    if said["class"] != "clock_suspect" or "cannot be judged: this clock is not set" not in said["message"]:
        raise Failed(f"it does not say that the clock is at fault: {said}")
    if status["cycle"]["current"] != 1 or status["lns"]["link"]["state"] != "up":
        raise Failed(f"the clock cost it a set: {status}")


def failure(status):
    return (status["cycle"]["last"] or {}).get("failure")
