#!/usr/bin/env python3
"""Checks that nothing the device binary is built from asks for a newer compiler.

Usage: tests/rust-version.py 1.85    (reads `cargo metadata` of the workspace)
Follows the resolved graph from mtls-agent through normal and build dependencies.
"""

import json
import subprocess
import sys


def number(version):
    parts = [int(part) for part in version.split(".")]
    return tuple(parts + [0] * (3 - len(parts)))


def main():
    limit = number(sys.argv[1])
    output = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked"],
        check=True, stdout=subprocess.PIPE).stdout
    metadata = json.loads(output)
    packages = {package["id"]: package for package in metadata["packages"]}
    edges = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    start = next(key for key, package in packages.items() if package["name"] == "mtls-agent")
    seen, waiting = {start}, [start]
    while waiting:
        for edge in edges[waiting.pop()]:
            used = any(kind["kind"] in (None, "build") for kind in edge["dep_kinds"])
            if used and edge["pkg"] not in seen:
                seen.add(edge["pkg"])
                waiting.append(edge["pkg"])
    newer = [packages[key] for key in seen
             if number(packages[key]["rust_version"] or "1.0") > limit]
    for package in newer:
        print(f"{package['name']} {package['version']} asks for Rust {package['rust_version']}")
    print(f"{len(seen)} packages looked at, {len(newer)} ask for more than Rust {sys.argv[1]}")
    return 1 if newer or len(seen) < 10 else 0


sys.exit(main())
