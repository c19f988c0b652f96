"""The power goes at any moment of a rotation, again and again, and never costs the set."""

import random
import time

from machine import Failed

ARCHITECTURES = ("arm64", "armhf")
# CURRENT, GOOD, QUARANTINE, LOCK; both sets, two staged, one older, two damaged; one file or
# folder in the making.
ENTRIES_MAX = 12
# Of ten cuts: so many before CUPS has answered, so many around staging, proof and commit; the
# others until a while after the link has come up again.
EARLY, CLOSE = 2, 6


class Tally:
    """Where the cuts landed, and the moments that spread them."""

    def __init__(self):
        self.where = {}
        self.blocks = []
        # Seconds from the answer of CUPS to its proof, and to the link with the new set.
        self.proof, self.rotation = 0.2, 2.0

    def count(self, where):
        self.where[where] = self.where.get(where, 0) + 1

    def text(self):
        order = ("before the answer", "nothing written", "while staging", "staged", "committed", "good")
        return ", ".join(f"{self.where.get(name, 0)} {name}" for name in order)


def play(device):
    options = device.options
    chance = random.Random(options.seed)
    print(f"   seed {options.seed}, boot {options.boot}", flush=True)
    # A busy test machine is slow; what the cut has left is judged without a clock.
    limit = 180 if options.boot == "quick" else 400
    tally = Tally()
    # The first set, and one whole rotation to learn how long it takes.
    device.lab.offer(1)
    device.start(boot=options.boot)
    device.lab.linked(limit, device.machine, 1)
    device.lab.offer(2)
    learn(device, 2, limit, tally)
    begun = time.monotonic()
    old = 2
    for number in range(1, options.cuts + 1):
        new = old + 1
        was_early = cut(device, new, chance, tally)
        tally.blocks.append(device.check_data())
        old = come_back(device, (old, new), limit, tally, was_early)
        # Whatever the cut left of it, the new set is there before the next one.
        if old != new:
            device.lab.linked(limit, device.machine, new)
            old = new
        if number % 10 == 0 or number == options.cuts:
            speed = number / (time.monotonic() - begun) * 60
            print(f"   {number} cuts, 0 sets lost, {speed:.1f} cuts/min: {tally.text()}", flush=True)
    no_growth(tally.blocks)
    device.machine.cut()


def answered(device, limit=180):
    device.lab.wait(lambda event: event == ["asked", "200", "set"], limit, "CUPS gave a set", device.machine)
    return device.lab.moment


def learn(device, number, limit, tally):
    moment = answered(device, limit)
    device.lab.wait(lambda event: event[0] == "proved" and event[2] == str(number), limit, "the proof", device.machine)
    tally.proof = device.lab.moment - moment
    device.lab.linked(limit, device.machine, number)
    tally.rotation = device.lab.moment - moment
    print(f"   proof after {tally.proof:.2f} s, link after {tally.rotation:.2f} s", flush=True)


def cut(device, number, chance, tally):
    """Whether the power went before CUPS had answered."""
    device.lab.offer(number)
    kind = chance.randrange(10)
    if kind < EARLY:
        time.sleep(chance.uniform(0, 1))
    else:
        longest = tally.proof * 2 if kind < EARLY + CLOSE else tally.rotation * 1.5
        moment = answered(device) + chance.uniform(0, longest)
        time.sleep(max(0, moment - time.monotonic()))
    device.machine.cut()
    # The laboratory tells within a few milliseconds what it has done.
    time.sleep(0.05)
    return kind < EARLY and ["asked", "200", "set"] not in device.lab.forget()


def come_back(device, sets, limit, tally, was_early):
    """Boots on the same disk; the set it came back with."""
    device.start(boot=device.options.boot)
    look = device.machine.line("store: ", limit)
    current, kept, entries = read(look)
    if kept not in sets:
        raise Failed(f"lost: neither of {sets} is in use: {look}")
    if len(entries) > ENTRIES_MAX:
        raise Failed(f"leftovers: {look}")
    # It may have asked for the new one before it opened the link.
    loaded = device.lab.linked(limit, device.machine)
    if loaded not in (kept, sets[1]):
        raise Failed(f"lost: it came back with set {loaded}, not with one of {sets}: {look}")
    if was_early:
        tally.count("before the answer")
    elif kept == sets[1]:
        tally.count("good" if f"GOOD={current}" in look.split() else "committed")
    elif any(name.endswith(".tmp") for name in entries):
        tally.count("while staging")
    elif any(name.startswith("gen-") and int(name[4:14]) > current for name in entries):
        tally.count("staged")
    else:
        tally.count("nothing written")
    return loaded


def read(look):
    """`CURRENT=2 GOOD=1 SET-7 entries: NAME...`: generation, set, names."""
    words = look.split()
    at = words.index("entries:") if "entries:" in words else 0
    if at != 3 or not words[0][8:].isdigit():
        raise Failed(f"lost: no whole set after the cut: {look}")
    return int(words[0][8:]), int(words[2].removeprefix("SET-")), words[at + 1:]


def no_growth(blocks):
    """The disk is as full at the end as it was at the beginning."""
    few = max(1, len(blocks) // 4)
    first, last = max(blocks[:few]), max(blocks[-few:])
    print(f"   data disk: {first} blocks in use at first, {last} at the end", flush=True)
    if len(blocks) >= 20 and last > first + 16:
        raise Failed(f"the data disk fills: {blocks}")
