"""One trial, in the environment of its system: ``python -m benchmarks.trial SYSTEM WORKLOAD FOLDER``.

Started by the `runner`. Prints each figure as a line of JSON: ``{"figure": ..., "value": ...}``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from benchmarks.peers import Peer, adapter
from benchmarks.stage import Stage
from benchmarks.workloads import WORKLOADS, Trial


def report(name: str, value: float) -> None:
    print(json.dumps({"figure": name, "value": value}), flush=True)


def versions(peer: type[Peer]) -> dict[str, str]:
    """Of what belongs to the system, as far as it is there."""
    found = dict(peer.other_versions())
    for name in peer.distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(1)  # through all the `finally`


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system")
    parser.add_argument("workload", choices=list(WORKLOADS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    kind = adapter(chosen.system)
    print(json.dumps({"versions": versions(kind)}), flush=True)
    with Stage(chosen.folder) as stage:
        peer = kind(stage)
        WORKLOADS[chosen.workload].run(Trial(peer, stage, chosen.quick, report))
        print(json.dumps({"done": True}), flush=True)
        peer.stop()


if __name__ == "__main__":
    main()
