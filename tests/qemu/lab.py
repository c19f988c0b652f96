"""Drives `mtls-lab site`: CUPS, two LNS and Mender behind a real Envoy, on this machine's loopback."""

import queue
import subprocess
import threading
import time

from machine import Failed

# What a guest of QEMU's user network calls this machine's loopback.
HOST = "10.0.2.2"


class Lab:
    """The operator of the virtual device. Events are lists of words, see tests/lab/src/site.rs."""

    def __init__(self, program, folder):
        self.folder = folder
        self.log = open(f"{folder}/lab.log", "a", encoding="utf-8")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program, "site", "--out", folder, "--address", HOST],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1,
        )
        self.events = queue.Queue()
        threading.Thread(target=self.listen, daemon=True).start()
        _, self.cups, self.mender = self.wait(lambda event: event[0] == "ready", 40, "the lab starts")

    def listen(self):
        for line in self.process.stdout:
            self.log.write(f"{time.monotonic():.3f} {line}")
            self.log.flush()
            self.events.put((time.monotonic(), line.split()))
        self.events.put((time.monotonic(), ["ended"]))

    def wait(self, wanted, limit, what, machine=None):
        """Waits for an event that `wanted` takes; others before it are dropped."""
        end = time.monotonic() + limit
        while True:
            try:
                moment, event = self.events.get(timeout=0.2)
            except queue.Empty:
                if time.monotonic() > end:
                    raise Failed(f"not within {limit} s: {what}") from None
                if machine and not machine.is_on():
                    raise Failed(f"the machine went off before: {what}") from None
                continue
            if event == ["ended"]:
                raise Failed(f"the lab ended before: {what}")
            if wanted(event):
                self.moment = moment
                return event

    def forget(self):
        """Drops what happened so far, and returns it."""
        dropped = []
        while not self.events.empty():
            dropped.append(self.events.get_nowait()[1])
        return dropped

    def tell(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        self.wait(lambda event: event == ["done"] + words.split(), 40, f"the lab does: {words}")

    def offer(self, number):
        """CUPS has this set for the device from now on: even ones of LNS a, odd ones of b."""
        self.tell(f"offer {number}")

    def linked(self, limit, machine, number=None):
        """Waits for a traffic socket that was opened; the number of the set it was opened with."""
        def wanted(event):
            return event[0] == "linked" and event[3] == "101" and number in (None, int(event[2]))
        which = "a set" if number is None else f"set {number}"
        event = self.wait(wanted, limit, f"the link is up with {which}", machine)
        if event[1] != "ab"[int(event[2]) % 2]:
            raise Failed(f"a mixed set: {event}")
        return int(event[2])

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
