"""The data partition is full: the new set is refused in words, the old one stays; then there is space."""

from machine import Failed

ARCHITECTURES = ("arm64", "armhf")


def play(device):
    device.set_up(data_mib=8)
    device.lab.offer(1)
    machine = device.start()
    device.lab.linked(180, machine, 1)
    # All that root can have is more than the agent can.
    machine.run("cat /dev/zero >/data/filling 2>/dev/null; sync; test -s /data/filling", limit=300)
    device.lab.offer(2)
    refused(device)
    kept(device)
    machine.cut()
    # Neither is a boot without an octet to spare the end of it.
    machine = device.start()
    device.lab.linked(180, machine, 1)
    refused(device)
    kept(device)
    # It would come back to it within minutes; who frees space need not wait.
    machine.run("rm /data/filling && mtls-agent refresh")
    device.lab.linked(180, machine, 2)
    device.until_status("the new set is in use", lambda status: status["lns"]["link"]["set"] > 1, 120)
    machine.cut()
    device.check_data()


def refused(device):
    status = device.until_status("the new set is refused", lambda status: failure(status).get("code") == "store_full", 180)
    said = failure(status)
    print(f"   {said['class']}: {said['message']}", flush=True)
    if said["class"] != "storage" or "no space left: free some and it is tried again" not in said["message"]:
        raise Failed(f"it does not say what to do: {said}")


def kept(device):
    status = device.status()
    link = status["lns"]["link"]
    if (link["state"], link["set"], status["cycle"]["current"]) != ("up", 1, 1):
        raise Failed(f"the old set is not in use any more: {status}")


def failure(status):
    return (status["cycle"]["last"] or {}).get("failure") or {}
