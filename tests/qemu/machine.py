"""Drives one QEMU process: start, serial log, QMP, a shell in the guest, and its sudden end."""

import json
import os
import shlex
import signal
import socket
import subprocess
import time

MACHINES = {
    # Never -cpu max: emulated pointer authentication doubles the time of a boot.
    "arm64": ["qemu-system-aarch64", "-M", "virt,gic-version=2", "-cpu", "cortex-a53"],
    "armhf": ["qemu-system-arm", "-M", "virt,highmem=off", "-cpu", "cortex-a15"],
}


class Failed(Exception):
    """Something that a scenario asks for is not so."""


class Machine:
    """A virtual device that is switched on; `images` is the folder of tests/qemu/image."""

    def __init__(self, architecture, images, root, data, folder, boot="quick", **options):
        """Switches it on.

        root, data: images of the two disks; data None: no second disk. Options: root_mode "ro",
        link False (no cable at start), clock "1970-01-01T00:00:00" (of the battery), extra
        (arguments for QEMU), append (words for the kernel), keep_root (writes to the root stay).
        """
        self.folder = folder
        self.serial_path = os.path.join(folder, "serial.log")
        with open(self.serial_path, "ab") as log:
            self.seen = log.tell()
        self.begun = time.monotonic()
        self.shell = None
        self.qmp = None
        self.mark = 0
        for name in ("ctl", "qmp"):
            remove(os.path.join(folder, name))
        command = self.command(architecture, images, root, data, boot, options)
        with open(os.path.join(folder, "qemu.log"), "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL"] + command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        # Before the guest opens its end: a shell without anybody there would read its end of file.
        self.shell = connect(f"{folder}/ctl", 20)
        if not options.get("link", True):
            self.link(False)
            self.ask("cont")

    def command(self, architecture, images, root, data, boot, options):
        words = [f"root=/dev/vda {options.get('root_mode', 'rw')} console=ttyAMA0 net.ifnames=0"]
        words.append("quiet panic=-1 systemd.show_status=no " + options.get("append", ""))
        if boot == "quick":
            words.append("init=/usr/local/sbin/quick-init")
        command = MACHINES[architecture] + ["-smp", "1", "-m", "256", "-accel", "tcg,thread=single"]
        command += ["-nodefaults", "-display", "none", "-no-reboot"]
        command += ["-kernel", f"{images}/kernel", "-initrd", f"{images}/initrd"]
        command += ["-append", " ".join(words)]
        # What the guest has flushed is in the file; what this machine has not yet written of the
        # file survives, because it is QEMU that is killed.
        disks = [(root, "off" if options.get("keep_root") else "on"), (data, "off")]
        for number, (file, snapshot) in enumerate(disk for disk in disks if disk[0]):
            drive = f"file={file},format=raw,if=none,id=disk{number},cache=writeback,snapshot={snapshot}"
            command += ["-drive", drive, "-device", f"virtio-blk-pci,drive=disk{number}"]
        command += ["-netdev", "user,id=net,ipv6=off"]
        command += ["-device", "virtio-net-pci,netdev=net,romfile="]
        command += ["-device", "virtio-rng-pci", "-device", "virtio-serial-pci"]
        command += ["-chardev", f"socket,id=ctl,path={self.folder}/ctl,server=on,wait=off"]
        command += ["-device", "virtserialport,chardev=ctl,name=ctl"]
        command += ["-chardev", f"file,id=serial,path={self.serial_path},append=on", "-serial", "chardev:serial"]
        command += ["-qmp", f"unix:{self.folder}/qmp,server=on,wait=off"]
        if "clock" in options:
            command += ["-rtc", f"base={options['clock']},clock=vm"]
        if not options.get("link", True):
            command.append("-S")
        return command + options.get("extra", [])

    # --- the end ---------------------------------------------------------------------------

    def cut(self):
        """Takes its power away."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.close()

    def power_off(self, limit=180):
        """Lets systemd end it."""
        self.send("systemctl poweroff")
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise Failed(f"not off after {limit} s") from None
        finally:
            self.close()

    def close(self):
        for connection in (self.shell, self.qmp):
            if connection:
                connection.close()
        self.shell = self.qmp = None

    # --- what it says ----------------------------------------------------------------------

    def serial(self):
        """What came over the serial line since it was switched on."""
        with open(self.serial_path, "rb") as log:
            log.seek(self.seen)
            return log.read().decode(errors="replace")

    def is_on(self):
        return self.process.poll() is None

    def line(self, pattern, limit):
        """Waits for a text on the serial line; the rest of that line."""
        def look():
            _, found, rest = self.serial().partition(pattern)
            return found and "\n" in rest and rest.split("\n")[0].strip("\r")
        return self.until(f"on the serial line: {pattern}", look, limit, step=0.05)

    def until(self, what, look, limit, step=0.25):
        """Waits until `look` gives something true, and returns that."""
        end = time.monotonic() + limit
        while True:
            found = look()
            if found:
                return found
            if not self.is_on():
                raise Failed(f"the machine went off before: {what}")
            if time.monotonic() > end:
                raise Failed(f"not within {limit} s: {what}")
            time.sleep(step)

    # --- the shell -------------------------------------------------------------------------

    def send(self, command):
        self.mark += 1
        quoted = shlex.quote(command)
        self.shell.sendall(f"sh -c {quoted} </dev/null 2>&1; echo MARK-{self.mark}:$?\n".encode())

    def run(self, command, limit=120, good=(0,)):
        """Runs a command in the guest; its output. Any other code than `good` is a failure."""
        self.send(command)
        end = time.monotonic() + limit
        output = b""
        mark = f"MARK-{self.mark}:".encode()
        while True:
            before, found, after = output.partition(mark)
            if found and b"\n" in after:
                break
            self.shell.settimeout(max(0.1, end - time.monotonic()))
            try:
                more = self.shell.recv(65536)
            except TimeoutError:
                raise Failed(f"no end after {limit} s of: {command}") from None
            if not more or time.monotonic() > end:
                raise Failed(f"the shell went away in: {command}")
            output += more
        text = before.decode(errors="replace")
        code = int(after.split(b"\n")[0])
        if good is not None and code not in good:
            raise Failed(f"code {code} of: {command}\n{text}")
        return text

    # --- the monitor -----------------------------------------------------------------------

    def ask(self, command, **arguments):
        """Gives a command to the monitor of QEMU; its answer."""
        if self.qmp is None:
            self.qmp = connect(f"{self.folder}/qmp", 10)
            self.qmp_file = self.qmp.makefile("r")
            self.qmp_file.readline()
            self.ask("qmp_capabilities")
        request = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        self.qmp.sendall(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(self.qmp_file.readline())
            if "error" in answer:
                raise Failed(f"{command}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def link(self, up):
        """Puts the network cable in, or pulls it."""
        self.ask("set_link", name="net", up=up)


def connect(path, limit):
    end = time.monotonic() + limit
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
            return connection
        except OSError:
            connection.close()
            if time.monotonic() > end:
                raise Failed(f"nobody listens at {path}; see qemu.log") from None
            time.sleep(0.02)


def remove(path):
    if os.path.lexists(path):
        os.unlink(path)
