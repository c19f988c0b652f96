"""The power goes at any moment of a rotation, again and again, and never costs the set."""

import random
import time

from machine import Failed

ARCHITECTURES = ("arm64", "armhf")
# CURRENT, GOOD, QUARANTINE, LOCK; both sets, two staged, one older, two damaged; one file or
# folder in the making.
ENTRIES_MAX = 12
# One in five is cut before CUPS has answered.
EARLY = 0.2


class Tally:
    """Where the cuts landed, and the moments that spread them."""

    def __init__(self):
        self.where = {}
        self.blocks = []
        # Seconds from the answer of CUPS to the link with the new set. Learned on the way.
        self.rotation = 1.0

    def count(self, where):
        self.where[where] = self.where.get(where, 0) + 1

    def text(self):
        order = ("before the answer", "nothing written", "while staging", "staged", "committed")
        return ", ".join(f"{self.where.get(name, 0)} {name}" for name in order)


def play(device):
    options = device.options
    chance = random.Random(options.seed)
    print(f"   seed {options.seed}, boot {options.boot}", flush=True)
    limit = 60 if options.boot == "quick" else 180
    tally = Tally()
    begun = time.monotonic()
    # The first set, and one whole rotation to learn how long it takes.
    device.lab.offer(1)
    device.start(boot=options.boot)
    device.lab.linked(limit, device.machine, 1)
    rotate(device, 2, limit, tally)
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


def rotate(device, number, limit, tally):
    device.lab.offer(number)
    answered(device, limit)
    moment = device.lab.moment
    device.lab.linked(limit, device.machine, number)
    tally.rotation = device.lab.moment - moment
    print(f"   a rotation takes {tally.rotation:.2f} s", flush=True)


def answered(device, limit=30):
    device.lab.wait(lambda event: event == ["asked", "200", "set"], limit, "CUPS gave a set", device.machine)


def cut(device, number, chance, tally):
    """Whether the power went before CUPS had answered."""
    device.lab.offer(number)
    early = chance.random() < EARLY
    if early:
        time.sleep(chance.uniform(0, 2))
    else:
        answered(device)
        pause = chance.uniform(0, tally.rotation * 1.2) - (time.monotonic() - device.lab.moment)
        time.sleep(max(0, pause))
    device.machine.cut()
    time.sleep(0.05)
    events = []
    while not device.lab.events.empty():
        events.append(device.lab.events.get_nowait()[1])
    return early and ["asked", "200", "set"] not in events


def come_back(device, sets, limit, tally, was_early):
    """Boots on the same disk; the set it came back with."""
    device.start(boot=device.options.boot)
    look = device.machine.line("store: ", limit)
    current, entries = read(look)
    if len(entries) > ENTRIES_MAX:
        raise Failed(f"leftovers: {look}")
    loaded = device.lab.linked(limit, device.machine)
    if loaded not in sets:
        raise Failed(f"lost: it came back with set {loaded}, not with one of {sets}; {look}")
    if was_early:
        tally.count("before the answer")
    elif loaded == sets[1]:
        tally.count("committed")
    elif any(name.endswith(".tmp") for name in entries):
        tally.count("while staging")
    elif any(name.startswith("gen-") and int(name[4:14]) > current for name in entries):
        tally.count("staged")
    else:
        tally.count("nothing written")
    return loaded


def read(look):
    """`CURRENT=2 GOOD=1 entries: NAME...`"""
    words = look.split()
    current = words[0].removeprefix("CURRENT=")
    if not current.isdigit():
        raise Failed(f"no CURRENT after the cut: {look}")
    return int(current), words[words.index("entries:") + 1:]


def no_growth(blocks):
    """The disk is as full at the end as it was at the beginning."""
    few = max(1, len(blocks) // 4)
    first, last = max(blocks[:few]), max(blocks[-few:])
    print(f"   data disk: {first} blocks in use at first, {last} at the end", flush=True)
    if len(blocks) >= 20 and last > first + 16:
        raise Failed(f"the data disk fills: {blocks}")
