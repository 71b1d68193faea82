"""One trial, in the environment of its system: ``python -m benchmarks.trial SYSTEM FOLDER WORKLOAD...``.

Started by the `runner`. Prints lines of JSON: ``{"versions": {...}}``, and for each workload
``{"begin": ...}``, ``{"figure": ..., "value": ...}``, and ``{"done": ...}`` when it has come to its end.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from benchmarks.peers import Peer, adapter
from benchmarks.stage import Stage
from benchmarks.workloads import WORKERS, WORKLOADS, TimeUp, Trial, Workload, at_most, warm_up

STOP_S = 5.0


def reporter(workload: Workload) -> Callable[[str, float], None]:
    """Prints figures of this workload."""

    def report(name: str, value: float) -> None:
        kind, at, _ = name.partition("@")
        assert kind + at in workload.figures, f"{workload.name} does not announce a figure {name!r}"
        print(json.dumps({"figure": name, "value": value}), flush=True)

    return report


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
    parser.add_argument("folder", type=Path)
    parser.add_argument("workloads", nargs="+", choices=list(WORKLOADS), metavar="workload")
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    kind = adapter(chosen.system)
    print(json.dumps({"versions": versions(kind)}), flush=True)
    with Stage(chosen.folder) as stage:
        peer = kind(stage)
        run(peer, stage, [WORKLOADS[name] for name in chosen.workloads], quick=chosen.quick)
        with contextlib.suppress(TimeUp), at_most(STOP_S):
            stop(peer)
    sys.stdout.flush()
    os._exit(0)  # whatever threads and exit handlers a system has: the runner ends what is left


def run(peer: Peer, stage: Stage, workloads: list[Workload], *, quick: bool) -> None:
    has_team = False
    for workload in workloads:
        print(json.dumps({"begin": workload.name}), flush=True)
        began = time.monotonic()
        trial = Trial(peer, stage, quick, reporter(workload))
        if workload.has_team and not has_team:
            peer.start(WORKERS)
            warm_up(trial)
            has_team = True
        workload.run(trial)
        print(json.dumps({"done": workload.name, "seconds": time.monotonic() - began}), flush=True)


def stop(peer: Peer) -> None:
    """Its figures are there; what goes wrong now is worth a look, and no more."""
    try:
        peer.stop()
    except Exception:
        traceback.print_exc()


if __name__ == "__main__":
    main()
