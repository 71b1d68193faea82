"""The other systems: which there are, what each lacks here, and their installation.

python -m benchmarks.peers               lists them
python -m benchmarks.peers --install     makes what is missing: some minutes, once
"""

from __future__ import annotations

import argparse
import sys

from benchmarks import environments
from benchmarks.peers import OURS, adapters


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"They are in {environments.home()}; {environments.HOME_VARIABLE} names another folder.",
    )
    parser.add_argument("--install", action="store_true", help="make the environments that are missing")
    chosen = parser.parse_args()
    failed = install() if chosen.install else 0
    for each in adapters():
        if each.name not in OURS:
            state = environments.missing(each.environment) or each.missing() or "ready"
            print(f"{each.name:<18} {each.title:<24} {state}")
    return 1 if failed else 0


def install() -> int:
    """Make what is missing. Returns how much of it could not be made."""
    failed = 0
    for name in environments.names():
        try:
            environments.make(name, print)
        except environments.InstallError as error:
            failed += 1
            print(error)
    for package in environments.DEBIAN_PACKAGES:
        try:
            environments.unpack(package, print)
        except environments.InstallError as error:
            failed += 1
            print(error)
    return failed


if __name__ == "__main__":
    sys.exit(main())
