#!/usr/bin/env python3
"""Runs what `cargo test` would run, several of its programs at a time: most of them wait.

Usage: tests/side-by-side.py [--first NAME,...] CARGO-OPTION... [-- TEST-OPTION...]

Cargo itself names the programs, so none can be forgotten; the documentation's examples run
beside them. The programs of --first are started first, because they take longest: a name that is
no program is an error. What a program prints is printed when it ends, as a whole. A program with
cargo's harness passes only if it says at its end that every test it began with has been run.
MTLS_PROGRAMS is how many run at a time (6), RUST_TEST_THREADS how many tests of each (4).
"""

import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

AT_A_TIME = 6
TESTS_EACH = "4"
BEGUN = re.compile(r"^running (\d+) tests?$", re.M)
ENDED = re.compile(r"^test result: (\w+)\. (\d+) passed; (\d+) failed; (\d+) ignored; "
                   r"(\d+) measured; (\d+) filtered out", re.M)


class Program:
    """One thing that `cargo test` runs, and what came of it."""

    def __init__(self, name, command, folder, variables, has_many=False):
        self.name = name
        self.command = command
        self.folder = folder
        self.variables = variables
        # The examples of each package are announced and counted for themselves.
        self.has_many = has_many
        self.output = tempfile.TemporaryFile()
        self.process = None
        self.counts = None
        self.problem = None

    def run(self):
        begun = time.monotonic()
        self.process = subprocess.Popen(
            self.command, cwd=self.folder, env={**os.environ, **self.variables}, process_group=0,
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT)
        code = self.process.wait()
        self.seconds = time.monotonic() - begun
        self.judge(code)
        return self

    def said(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")

    def judge(self, code):
        said = self.said()
        begun = [int(number) for number in BEGUN.findall(said)]
        ended = [[int(number) for number in found[1:]] for found in ENDED.findall(said)]
        if not self.has_many:
            begun, ended = begun[:1], ended[-1:]
        self.counts = [sum(column) for column in zip(*ended)] or None
        if code != 0:
            self.problem = f"ended with code {code}"
        elif begun != [sum(counts[:4]) for counts in ended]:
            self.problem = "ended without saying what came of all its tests"


def built(options):
    """The programs, in cargo's order."""
    command = [cargo(), "test", "--no-run", "--message-format=json-render-diagnostics", *options]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        sys.exit(run.returncode)
    programs = []
    for line in run.stdout.splitlines():
        message = json.loads(line)
        if message["reason"] == "compiler-artifact" and message["profile"]["test"] \
                and message["executable"]:
            programs.append(program_of(message))
    return programs


def program_of(message):
    target, manifest = message["target"], message["manifest_path"]
    folder = os.path.dirname(manifest)
    name = target["name"]
    if "test" not in target["kind"]:
        name += f" ({target['kind'][0]})"
    variables = {"CARGO": cargo(), "CARGO_MANIFEST_DIR": folder, "CARGO_MANIFEST_PATH": manifest,
                 "RUST_TEST_THREADS": os.environ.get("RUST_TEST_THREADS", TESTS_EACH)}
    return Program(name, [message["executable"]], folder, variables)


def cargo():
    return os.environ.get("CARGO", "cargo")


def longest_first(programs, names):
    known = {program.name for program in programs}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"side-by-side: no program is called {', '.join(unknown)}")
    place = {name: at for at, name in enumerate(names)}
    return sorted(programs, key=lambda program: place.get(program.name, len(names)))


def run_all(programs):
    """Runs them and prints each as it ends; when asked to stop, tells what had not ended."""
    at_a_time = int(os.environ.get("MTLS_PROGRAMS", AT_A_TIME))
    stopped = threading.Event()

    def stop(_number, _frame):
        stopped.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    pool = concurrent.futures.ThreadPoolExecutor(at_a_time)
    waiting = [pool.submit(program.run) for program in programs]
    try:
        for ended in concurrent.futures.as_completed(waiting):
            show(ended.result())
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        for program in programs:
            if program.process and program.process.poll() is None:
                os.killpg(program.process.pid, signal.SIGTERM)
                print(f"--- {program.name}: had not ended\n{program.said()}", flush=True)
        os._exit(130)


def show(program):
    print(f"--- {program.name} ({program.seconds:.1f} s)\n{program.said().strip()}", flush=True)
    if program.problem:
        print(f"--- {program.name}: FAILED: {program.problem}", flush=True)


def conclude(programs):
    counted = [program.counts for program in programs if program.counts]
    own = [program.name for program in programs if not program.counts]
    passed, failed, ignored = (sum(counts[at] for counts in counted) for at in range(3))
    print(f"{len(programs)} programs, {passed} tests passed, {failed} failed, {ignored} ignored")
    if own:
        print(f"counting for themselves: {', '.join(own)}")
    wrong = [program for program in programs if program.problem]
    for program in wrong:
        print(f"FAILED: {program.name} {program.problem}")
    return 1 if wrong else 0


def main():
    arguments, names = sys.argv[1:], []
    if arguments[:1] == ["--first"]:
        names = arguments[1].split(",")
        arguments = arguments[2:]
    at = arguments.index("--") if "--" in arguments else len(arguments)
    options, for_tests = arguments[:at], arguments[at + 1:]
    programs = longest_first(built(options), names)
    if not programs:
        sys.exit("side-by-side: cargo built no test program")
    for program in programs:
        program.command += for_tests
    # Cargo leaves the examples out, too, when single programs are named.
    if not any(option in ("--test", "--lib", "--bin") for option in options):
        examples = [cargo(), "test", "--doc", *options, "--", *for_tests]
        programs.append(Program("examples in the documentation", examples, None, {}, True))
    run_all(programs)
    return conclude(programs)


sys.exit(main())
