"""The cable is pulled and put back: status says so, and the same set is linked again at once."""

import time

from machine import Failed

ARCHITECTURES = ("arm64", "armhf")


def play(device):
    # A retry by itself would come within the hour: what comes sooner is the kernel's news that
    # the agent hears inside its sandbox.
    device.configure(lns__ping_s=1, cups__poll_s=3600, wait__retry_s_max=3600)
    device.lab.offer(1)
    machine = device.start(boot="systemd")
    device.lab.linked(400, machine, 1)
    before = device.until_status("the link is up", lambda status: state(status) == "up", 120)
    machine.link(False)
    begun = time.monotonic()
    down = device.until_status("the link is lost", lambda status: state(status) == "waiting", 300)
    print(f"   noticed after {time.monotonic() - begun:.1f} s: {why(down)['message']}", flush=True)
    if why(down)["class"] != "network":
        raise Failed(f"it takes a pulled cable for something else: {why(down)}")
    if "link       waiting" not in machine.run("mtls-agent status"):
        raise Failed("people are not told that the link is down")
    device.lab.forget()
    machine.link(True)
    begun = time.monotonic()
    device.lab.linked(300, machine, 1)
    print(f"   linked again {device.lab.moment - begun:.1f} s after the cable", flush=True)
    after = device.until_status("the link is up again", lambda status: state(status) == "up", 120)
    if (before["pid"], before["current"]) != (after["pid"], after["current"]):
        raise Failed(f"another process or another set: {before} {after}")


def state(status):
    return status["lns"]["link"]["state"]


def why(status):
    return status["lns"]["link"]["why"]
