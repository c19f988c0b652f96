"""A TPM is attached, answers, keeps its state, and the agent's sandbox does not mind it."""

import os
import subprocess
import time

from machine import Failed

ARCHITECTURES = ("arm64",)
# A command: tag, length and code of the header; the owner without a password; the rest.
NO_SESSION, SESSION = 0x8001, 0x8002
OWNER = "40000001"
PASSWORD = "00000009" "40000009" "0000" "00" "0000"
GET_RANDOM, NV_DEFINE, NV_WRITE, NV_READ = 0x17B, 0x12A, 0x137, 0x14E
INDEX = "01500010"
# Index, SHA-256, read and write by owner or password without lockout, no policy, 8 octets.
PUBLIC = INDEX + "000b" "02060006" "0000" "0008"
KEPT = "6d746c732d61676e"


def play(device):
    device.configure(cups__poll_s=86400)
    device.lab.offer(1)
    with Tpm(device) as tpm:
        machine = device.start(boot="systemd", extra=tpm.arguments())
        device.lab.linked(600, machine, 1)
        unseen(machine)
        random = tpm.ask(NO_SESSION, GET_RANDOM, "0008")
        if len(random) != 20 or random == tpm.ask(NO_SESSION, GET_RANDOM, "0008"):
            raise Failed(f"that is not random: {random}")
        tpm.ask(SESSION, NV_DEFINE, OWNER + PASSWORD + "0000" + f"{len(PUBLIC) // 2:04x}" + PUBLIC)
        tpm.ask(SESSION, NV_WRITE, OWNER + INDEX + PASSWORD + "0008" + KEPT + "0000")
        print("   the TPM answers and was written to", flush=True)
        machine.power_off()
    with Tpm(device) as tpm:
        machine = device.start(boot="systemd", extra=tpm.arguments())
        if device.lab.linked(600, machine) != 1:
            raise Failed("it came back with another set")
        found = tpm.ask(SESSION, NV_READ, OWNER + INDEX + PASSWORD + "0008" "0000")
        if KEPT not in found:
            raise Failed(f"the TPM has forgotten: {found}")
        unseen(machine)
        machine.power_off()
    device.check_data()


class Tpm:
    """A swtpm, and commands to it through the guest."""

    def __init__(self, device):
        self.device = device
        self.state = f"{device.folder}/tpm"
        self.socket = f"{device.folder}/tpm.socket"
        os.makedirs(self.state, exist_ok=True)

    def __enter__(self):
        command = ["setpriv", "--pdeathsig", "KILL", "swtpm", "socket", "--tpm2", "--terminate"]
        command += ["--tpmstate", f"dir={self.state}", "--ctrl", f"type=unixio,path={self.socket}"]
        with open(f"{self.device.folder}/swtpm.log", "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 40
        while not os.path.exists(self.socket):
            if time.monotonic() > end or self.process.poll() is not None:
                raise Failed("swtpm does not start; see swtpm.log")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        # It ends when QEMU does, which a failure leaves running.
        try:
            self.process.wait(1 if self.device.machine and self.device.machine.is_on() else 40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if os.path.exists(self.socket):
            os.unlink(self.socket)

    def arguments(self):
        arguments = ["-chardev", f"socket,id=tpm,path={self.socket}"]
        return arguments + ["-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis-device,tpmdev=tpm0"]

    def ask(self, tag, code, rest):
        """Gives the TPM a command; the octets of its answer in hex."""
        command = bytes.fromhex(f"{tag:04x}{10 + len(rest) // 2:08x}{code:08x}{rest}")
        octal = "".join(f"\\{octet:03o}" for octet in command)
        # One write is one command, and its answer is read where it was written.
        said = self.device.machine.run(
            f"exec 3<>/dev/tpmrm0; printf '{octal}' | dd bs=4096 iflag=fullblock status=none >&3;"
            " dd bs=4096 count=1 status=none <&3 | od -An -v -tx1"
        )
        answer = "".join(said.split())
        if len(answer) < 20 or answer[12:20] != "00000000":
            raise Failed(f"the TPM refuses {command.hex()}: {said}")
        return answer[20:]


def unseen(machine):
    """The device is there, and not for the agent, whose unit is as strict as ever."""
    machine.run("test -c /dev/tpmrm0 && systemctl is-active mtls-agent")
    process = machine.run("systemctl show -p MainPID --value mtls-agent").strip()
    machine.run(f"! nsenter -t {process} -m test -e /dev/tpmrm0")
    if machine.run("systemctl show -p NRestarts --value mtls-agent").strip() != "0":
        raise Failed("systemd had to start the agent again")
