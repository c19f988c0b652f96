#!/usr/bin/env python3
"""Prints a BBMASK that hides every recipe of openembedded-core that a package does not need.

Usage: tests/yocto/mask.py OE-CORE PN-BUILDLIST    (the list is from `bitbake -g PACKAGE`)
Parsing takes minutes, and yocto-check-layer parses several times.
"""

import pathlib
import re
import sys


def recipe_of(package):
    """The name that the recipe's file has: without what the kind of build adds."""
    name = re.sub(r"^(nativesdk-|lib32-)", "", package)
    return re.sub(r"(-native|-cross-canadian|-cross|-crosssdk)(-\w+)?$", "", name)


def main():
    core, packages = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text().split()
    needed = {recipe_of(package) for package in packages} | set(packages)
    for folder in sorted({recipe.parent for recipe in core.glob("meta/recipes-*/*/*.bb")}):
        names = {recipe.stem.split("_")[0] for recipe in folder.glob("*.bb")}
        names |= {recipe_of(name) for name in names}
        if not names & needed:
            print(f'BBMASK += "/{folder.relative_to(core)}/"')


if __name__ == "__main__":
    main()
