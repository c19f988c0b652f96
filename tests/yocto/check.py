#!/usr/bin/env python3
"""Checks what can be known of the Yocto layer without bitbake.

Usage: tests/yocto/check.py    (with kas and jsonschema; prints one line for each thing checked)
The recipe's version, licence sums and features are those of the crate, each file it names is
there, each kas file keeps kas's own schema, and each command of the guides is run or says why not.
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tomllib

import jsonschema
import kas
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYER = ROOT / "yocto/meta-mtls-agent"
RECIPES = LAYER / "recipes-connectivity/mtls-agent"


def same(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found}, and not {expected}")
    print(f"{what}: {found}")


def version_and_features(recipe, text):
    with open(ROOT / "Cargo.toml", "rb") as file:
        manifest = tomllib.load(file)
    version = manifest["workspace"]["package"]["version"]
    same("recipe's version", recipe.stem.removeprefix("mtls-agent_"), version)
    features = set(manifest["features"]) - {"default", "daemon"}
    same("recipe's features", sorted(re.findall(r"^PACKAGECONFIG\[(\w+)\]", text, re.M)),
         sorted(features))
    default = re.search(r'^PACKAGECONFIG \?\?= "(.*)"', text, re.M).group(1).split()
    same("recipe's default features", sorted(default),
         sorted(set(manifest["features"]["default"]) - {"daemon"}))


def licences(text):
    sums = re.findall(r"file://(\S+);md5=([0-9a-f]{32})", text)
    same("licence files", sorted(name for name, _ in sums),
         sorted(path.name for path in ROOT.glob("LICENSE-*")))
    for name, expected in sums:
        same(name, hashlib.md5((ROOT / name).read_bytes()).hexdigest(), expected)
    if (LAYER / "COPYING.MIT").read_bytes() != (ROOT / "LICENSE-MIT").read_bytes():
        sys.exit("COPYING.MIT of the layer is not LICENSE-MIT")


def named_files(text):
    """A file:// of a recipe or example is beside it; a ${S}/path is in the sources."""
    for path in re.findall(r"\$\{S\}/(\S+\.\w+)", text):
        if not (ROOT / path).is_file():
            sys.exit(f"the recipe installs {path}, which is not in the sources")
    for recipe in [*RECIPES.glob("*.bb"), *LAYER.glob("examples/*/*.bbappend")]:
        for name in re.findall(r"file://([\w.-]+)(?=\s)", recipe.read_text()):
            if not (recipe.parent / "files" / name).is_file():
                sys.exit(f"{recipe.name} names {name}, which is not in its files")
    print("every file that a recipe or example names is there")


def kas_files():
    schema = json.loads((pathlib.Path(kas.__file__).parent / "schema-kas.json").read_text())
    files = sorted((ROOT / "yocto/kas").glob("*.yml"))
    for file in files:
        content = yaml.safe_load(file.read_text())
        jsonschema.validate(content, schema)
        for path in content["repos"]["mtls-agent"]["layers"]:
            same(f"layer in {file.name}", (ROOT / path / "conf/layer.conf").is_file(), True)
    same("kas files that keep the schema", len(files), 1)
    try:
        jsonschema.validate({"header": {"version": 18}, "no-such-key": 1}, schema)
    except jsonschema.ValidationError:
        return
    sys.exit("the schema of kas finds nothing")


def guides():
    ran = told = 0
    for guide in ["docs/install-yocto.md", "docs/raspberry-pi.md"]:
        text = (ROOT / guide).read_text()
        for before, block in re.findall(r"([^\n]*)\n```sh\n(.*?)```", text, re.S):
            if before == "<!-- run -->":
                subprocess.run(["bash", "-euc", block], check=True, cwd=ROOT)
                ran += 1
            elif re.fullmatch(r"<!-- (not run: .+|run: [a-z]+) -->", before):
                # A block with a name is run by that name, in the stage packages.
                told += 1
            else:
                sys.exit(f"{guide}: neither run nor said why not: {block}")
    print(f"blocks of commands in the guides: {ran} run, {told} elsewhere or not, as each says")


def main():
    recipe, = RECIPES.glob("mtls-agent_*.bb")
    text = recipe.read_text()
    version_and_features(recipe, text)
    licences(text)
    named_files(text)
    kas_files()
    guides()


if __name__ == "__main__":
    main()
