"""The data partition cannot be written: mounted so, then by an error of its file system."""

from machine import Failed

ARCHITECTURES = ("arm64",)


def play(device):
    device.commission()
    mount(device, "ro")
    device.lab.offer(2)
    machine = device.start(boot="systemd")
    device.lab.linked(400, machine, 1)
    if refused(device) != 1:
        raise Failed("there is another set than before the boot")
    # The sandbox has kept the mount that it began with: a new one is needed.
    machine.run("mount -o remount,rw,errors=remount-ro /data && systemctl restart mtls-agent", limit=300)
    device.lab.linked(300, machine, 2)
    status = device.until_status("set 2 is in use", lambda status: status["lns"]["link"]["set"] > 1, 120)
    machine.run("echo 1 >/sys/fs/ext4/vdb/trigger_fs_error")
    device.lab.offer(3)
    if refused(device) != status["lns"]["link"]["set"]:
        raise Failed("set 2 is not in use any more")
    machine.run("systemctl is-active mtls-agent")
    restarts = machine.run("systemctl show -p NRestarts --value mtls-agent").strip()
    if restarts != "0":
        raise Failed(f"systemd had to start the agent {restarts} times again")


def mount(device, options):
    """How /data is mounted."""
    file = f"{device.folder}/fstab"
    with open(file, "w", encoding="ascii") as table:
        table.write(f"/dev/vdb /data ext4 {options},noatime,nofail,x-systemd.device-timeout=3min 0 0\n")
    device.put(file, "/etc/fstab", 0o644)


def refused(device):
    """The agent says it, and works with the set it has: its number in the store."""
    status = device.until_status("the new set is refused", is_refused, 180)
    said = status["cycle"]["last"]["failure"]
    print(f"   {said['class']}: {said['message']}", flush=True)
    if "Read-only file system" not in said["message"]:
        raise Failed(f"it does not say why: {said}")
    link = status["lns"]["link"]
    if link["set"] != status["cycle"]["current"]:
        raise Failed(f"the link is up with another set than the current one: {status}")
    return link["set"]


def is_refused(status):
    failure = (status["cycle"]["last"] or {}).get("failure") or {}
    return failure.get("class") == "storage" and status["lns"]["link"]["state"] == "up"
