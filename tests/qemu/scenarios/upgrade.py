"""An upgrade, a removal and a new installation of the package, and the same set after each."""

import glob
import os

from device import HOME, run
from machine import Failed

ARCHITECTURES = ("arm64",)
CONFIGURATION = "/etc/mtls-agent/agent.json"
# What unattended upgrades do with a configuration that both sides have changed.
INSTALL = "DEBIAN_FRONTEND=noninteractive dpkg --force-confold --force-confdef -i /root/newer.deb"


def play(device):
    # It asks when it starts, and then not again before the end.
    device.configure(cups__poll_s=86400)
    device.put(newer(device), "/root/newer.deb", 0o644)
    device.lab.offer(1)
    machine = device.start(boot="systemd")
    device.lab.linked(600, machine, 1)
    device.until_status("the link is up", is_up, 180)
    before = credentials(machine)
    edited = machine.run(f"sha256sum <{CONFIGURATION}")

    said = machine.run(INSTALL, limit=600)
    came_back(device)
    if starts(machine) != 2:
        raise Failed(f"started {starts(machine)} times instead of twice\n{said}")
    if "+newer" not in machine.run("dpkg-query -W -f '${Version}' mtls-agent"):
        raise Failed(f"not the newer package:\n{said}")
    if machine.run(f"sha256sum <{CONFIGURATION}") != edited:
        raise Failed("the upgrade has changed the configuration")
    machine.run(f"grep -q newer {CONFIGURATION}.dpkg-dist")
    kept(machine, before, "the upgrade")
    print("   upgraded: started once more, same set, same configuration", flush=True)

    machine.run("dpkg -r mtls-agent", limit=600)
    machine.run("systemctl is-active mtls-agent", good=(3, 4))
    machine.run("! test -e /usr/bin/mtls-agent && ! test -e /run/mtls-agent/status.sock")
    machine.run(f"test -e {CONFIGURATION} && getent passwd mtls-agent")
    kept(machine, before, "the removal")
    print("   removed: service gone, credentials, user and configuration kept", flush=True)

    device.lab.forget()
    machine.run(INSTALL, limit=600)
    machine.run("systemctl is-enabled mtls-agent")
    machine.run("systemctl start mtls-agent", limit=300)
    came_back(device)
    kept(machine, before, "the new installation")
    machine.power_off()
    device.check_data()


def newer(device):
    """The package of the image with another version, and another configuration in it."""
    target = os.path.dirname(os.path.dirname(device.images))
    (package,) = glob.glob(f"{target}/packages/debs/mtls-agent_*_{device.architecture}.deb")
    tree, made = f"{device.folder}/newer", f"{device.folder}/newer.deb"
    run("dpkg-deb", "-R", package, tree)
    with open(f"{tree}/DEBIAN/control", encoding="utf-8") as file:
        lines = file.read().splitlines()
    with open(f"{tree}/DEBIAN/control", "w", encoding="utf-8") as file:
        file.writelines(line + ("+newer" if line.startswith("Version: ") else "") + "\n" for line in lines)
    with open(tree + CONFIGURATION, "a", encoding="utf-8") as file:
        file.write("// What the newer package says of it.\n")
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-b", tree, made)
    if not os.path.exists(made):
        raise Failed("no newer package")
    return made


def came_back(device):
    if device.lab.linked(600, device.machine) != 1:
        raise Failed("it came back with another set")
    device.until_status("the link is up", is_up, 180)


def credentials(machine):
    """Owner, mode and content of what no package may touch."""
    files = f"{HOME}/device.* {HOME}/store/CURRENT {HOME}/store/gen-*/*"
    return machine.run(f"stat -c '%n %U:%G %a' {HOME} {HOME}/store {files}; sha256sum {files}")


def kept(machine, before, what):
    after = credentials(machine)
    if after != before:
        raise Failed(f"{what} has changed the credentials:\n{before}\n{after}")


def starts(machine):
    """How often systemd has started the agent since power on."""
    return int(machine.run("journalctl --no-pager -b -o cat -u mtls-agent | grep -c '^Started mtls-agent.service'"))


def is_up(status):
    return status.get("lns", {}).get("link", {}).get("state") == "up"
