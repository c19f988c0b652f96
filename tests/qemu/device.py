"""Makes one device of its own for a scenario: disks, identity, configuration, servers."""

import glob
import json
import os
import re
import shutil
import subprocess

from lab import Lab
from machine import Failed, Machine

DATA_MIB = 48
HOME = "/data/mtls-agent"


def run(*command, good=(0,)):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode not in good:
        raise Failed(f"code {done.returncode} of {' '.join(command)}\n{done.stdout}")
    return done.stdout


class Device:
    """What a scenario gets. Whatever it starts ends with it."""

    def __init__(self, architecture, images, program, folder, options):
        self.architecture = architecture
        self.images = images
        self.folder = folder
        self.options = options
        self.machine = None
        self.root = f"{folder}/root.ext4"
        self.data = f"{folder}/data.ext4"
        os.makedirs(f"{folder}/lab")
        self.lab = Lab(program, f"{folder}/lab")
        self.set_up()

    # --- its disks -------------------------------------------------------------------------

    def set_up(self, data_mib=DATA_MIB, **settings):
        """Makes both disks anew; settings replace those of the configuration."""
        run("cp", "--sparse=always", f"{self.images}/root.ext4", self.root)
        self.configure(**settings)
        self.put(f"{self.lab.folder}/server-root.pem", "/etc/mtls-agent/cups-root.pem", 0o644)
        home = f"{self.folder}/data{HOME.removeprefix('/data')}"
        os.makedirs(home)
        with open(f"{self.images}/owner", encoding="ascii") as file:
            user, group = map(int, file.read().split())
        for name, source, mode in (("", None, 0o700), ("/device.crt", "device.pem", 0o644), ("/device.key", "device.key", 0o600)):
            if source:
                shutil.copyfile(f"{self.lab.folder}/{source}", home + name)
            os.chmod(home + name, mode)
            os.chown(home + name, user, group)
        if os.path.exists(self.data):
            os.unlink(self.data)
        run("mke2fs", "-q", "-t", "ext4", "-d", f"{self.folder}/data", self.data, f"{data_mib}M")
        shutil.rmtree(f"{self.folder}/data")

    def configure(self, **settings):
        """Writes the configuration into the root. Settings are named group__name."""
        values = {
            "data_dir": HOME,
            "identity__certificate": f"{HOME}/device.crt",
            "identity__key": f"{HOME}/device.key",
            "trust_anchors": ["/etc/mtls-agent/cups-root.pem"],
            "cups__uri": self.lab.cups,
            "cups__poll_s": 1,
            "wait__boot_s_max": 0,
            "wait__retry_s_max": 1,
            "lns__mode": "session",
        }
        tree = {}
        for name, value in (values | settings).items():
            group, _, last = name.rpartition("__")
            (tree.setdefault(group, {}) if group else tree)[last] = value
        with open(f"{self.folder}/agent.json", "w", encoding="utf-8") as file:
            json.dump(tree, file, indent=2)
        self.put(f"{self.folder}/agent.json", "/etc/mtls-agent/agent.json", 0o644)

    def put(self, source, path, mode):
        """Writes a file of root's into the root disk of a machine that is off."""
        script = f"{self.folder}/debugfs"
        with open(script, "w", encoding="utf-8") as file:
            file.write(f"rm {path}\nwrite {source} {path}\nsif {path} mode {mode | 0o100000:#o}\nsif {path} uid 0\nsif {path} gid 0\n")
        said = run("debugfs", "-w", "-f", script, self.root)
        if "Allocated inode" not in said:
            raise Failed(f"cannot write {path} into the root: {said}")

    def check_data(self):
        """Replays the journal of a copy of the data disk and looks for damage; blocks in use."""
        copy = f"{self.folder}/data.copy"
        run("cp", "--sparse=always", self.data, copy)
        run("e2fsck", "-y", "-E", "journal_only", copy, good=(0, 1))
        run("e2fsck", "-f", "-n", copy)
        facts = run("dumpe2fs", "-h", copy)
        os.unlink(copy)
        def number(name):
            return int(re.search(rf"^{name}:\s+(\d+)", facts, re.M).group(1))
        return number("Block count") - number("Free blocks")

    # --- its life --------------------------------------------------------------------------

    def start(self, boot="quick", **options):
        """Switches it on; options as of Machine."""
        options = {"root": self.root, "data": self.data} | options
        self.lab.forget()
        self.machine = Machine(self.architecture, self.images, folder=self.folder, boot=boot, **options)
        return self.machine

    def commission(self):
        """Leaves it off, with set 1 in use and on its disk."""
        self.lab.offer(1)
        machine = self.start()
        self.lab.linked(180, machine, 1)
        machine.run("sync")
        machine.cut()

    def status(self):
        """What `mtls-agent status --json` says in the guest."""
        return json.loads(self.machine.run("mtls-agent status --json"))

    def until_status(self, what, wanted, limit):
        """Waits for a status that `wanted` takes."""
        def look():
            try:
                status = self.status()
            except (Failed, ValueError):
                return None
            return status if wanted(status) else None
        return self.machine.until(what, look, limit, step=1)

    def keep_logs(self, place):
        """Puts into a folder what explains a failure."""
        os.makedirs(place, exist_ok=True)
        if self.machine and self.machine.is_on():
            for name, command in (
                ("status.json", "mtls-agent status --json"),
                ("journal.log", "journalctl --no-pager -b || true"),
                ("units.log", "systemctl --no-pager list-units || true; mount; df; date; ls -lR /data"),
            ):
                try:
                    text = self.machine.run(command, limit=30, good=None)
                except (Failed, OSError) as error:
                    text = f"not to be had: {error}\n"
                with open(f"{place}/{name}", "w", encoding="utf-8") as file:
                    file.write(text)
        for file in glob.glob(f"{self.folder}/*.log") + glob.glob(f"{self.folder}/lab/*.log"):
            shutil.copy(file, place)
        if os.path.exists(self.data):
            run("cp", "--sparse=always", self.data, place)

    def stop(self):
        if self.machine:
            self.machine.cut()
        self.lab.stop()
