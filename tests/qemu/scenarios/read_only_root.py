"""A root that nobody can write: the packaged unit works with the store on /data, also again."""

from machine import Failed

ARCHITECTURES = ("arm64",)
# systemd 252 itself makes its sandboxes by way of /tmp; read-only systems have that in memory.
DISKS = """/dev/vdb /data ext4 noatime,nosuid,nodev,nofail,x-systemd.device-timeout=3min 0 0
tmpfs /tmp tmpfs nosuid,nodev,mode=1777 0 0
"""


def play(device):
    file = f"{device.folder}/fstab"
    with open(file, "w", encoding="ascii") as table:
        table.write(DISKS)
    device.put(file, "/etc/fstab", 0o644)
    device.lab.offer(1)
    boot(device, 1)
    device.lab.offer(2)
    device.lab.linked(300, device.machine, 2)
    status = device.until_status("set 2 is in use", lambda status: status["current"]["number"] > 1, 120)
    number = status["current"]["number"]
    device.machine.power_off()
    # The second set is there without a new answer.
    device.lab.tell("proxy stop")
    machine = device.start(boot="systemd", root_mode="ro")
    status = device.until_status("it has its set", lambda status: status["current"], 400)
    if status["current"]["number"] != number:
        raise Failed(f"another set after the boot: {status['current']}")
    device.lab.tell("proxy start")
    device.lab.linked(300, machine, 2)
    machine.power_off()
    device.check_data()


def boot(device, number):
    machine = device.start(boot="systemd", root_mode="ro")
    device.lab.linked(400, machine, number)
    if machine.run("touch /var/lib/mtls-agent/x 2>&1", good=None).find("Read-only file system") < 0:
        raise Failed("the root can be written")
    machine.run("systemctl is-active mtls-agent")
    restarts = machine.run("systemctl show -p NRestarts --value mtls-agent").strip()
    if restarts != "0":
        raise Failed(f"systemd had to start the agent {restarts} times again")
