"""No data disk at boot: nothing is put in its place; once it is mounted the agent comes by itself."""

from machine import Failed

ARCHITECTURES = ("arm64",)
# A slot in which a disk can be put while the machine is on.
SLOT = ["-device", "pcie-root-port,id=bay,chassis=1"]


def play(device):
    mount(device, "3s")
    device.lab.offer(1)
    machine = device.start(boot="systemd", data=None, extra=SLOT)
    machine.until("the agent is given up", lambda: is_given_up(machine), 400)
    absent(machine)
    machine.run("mtls-agent status", good=(1,))
    plug(device)
    # By hand, as somebody would who mends it. Who knows systemd says: systemctl start data.mount.
    machine.until("the disk is there", lambda: "yes" in machine.run("test -b /dev/vdb && echo yes", good=None), 120)
    machine.run("mount /data")
    device.lab.linked(300, machine, 1)
    # It goes and comes again.
    machine.run("systemctl stop data.mount", limit=300)
    absent(machine)
    device.lab.forget()
    machine.run("systemctl start data.mount", limit=300)
    device.lab.linked(300, machine, 1)


def absent(machine):
    """Neither an agent nor a store on the root file system."""
    if state(machine, "mtls-agent", "ActiveState") != "inactive":
        raise Failed("the agent runs without its data partition")
    found = machine.run("ls -A /data").strip()
    if found:
        raise Failed(f"on the root file system there is {found}")


def is_given_up(machine):
    # Said before there is a journal, and therefore not found by the name of the unit.
    said = machine.run("journalctl -b --no-pager --grep 'Dependency failed for mtls-agent' || true", limit=400)
    return "Dependency failed for mtls-agent.service" in said


def state(machine, unit, name):
    return machine.run(f"systemctl show -p {name} --value {unit}", limit=400).strip()


def plug(device):
    disk = {"driver": "file", "filename": device.data}
    device.machine.ask("blockdev-add", **{"driver": "raw", "node-name": "late", "file": disk})
    device.machine.ask("device_add", driver="virtio-blk-pci", bus="bay", drive="late", id="late")


def mount(device, patience):
    """How long the boot waits for the disk."""
    file = f"{device.folder}/fstab"
    with open(file, "w", encoding="ascii") as table:
        table.write(f"/dev/vdb /data ext4 noatime,nosuid,nodev,nofail,x-systemd.device-timeout={patience} 0 0\n")
    device.put(file, "/etc/fstab", 0o644)
