"""Measures pyrotask, and the other systems beside it.

python -m benchmarks                  pyrotask, in memory and durable: a few minutes
python -m benchmarks --quick          does all of it work? half a minute; the figures mean nothing
python -m benchmarks --only w1,w2     these workloads only
python -m benchmarks.peers --install  the other systems: once
python -m benchmarks --peers          beside them
python -m benchmarks --peers --rounds 5 --json docs/benchmarks.json
                                      what the documentation shows: about twenty minutes, on a quiet machine
"""

from __future__ import annotations

import argparse
import importlib.util
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

NEEDED = ("numpy", "psutil", "pyrotask")
INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    from benchmarks.peers import ADAPTERS
    from benchmarks.workloads import WORKLOADS

    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="workloads:\n"
        + "\n".join(f"  {each.name:<6} {each.title}" for each in WORKLOADS.values())
        + "\n\nFigures are medians of the rounds, in which the systems take turns. Ctrl-C ends it, and shows "
        "what\nthere is by then; nothing is left behind. benchmarks/README.md has more.",
    )
    made.add_argument("--only", metavar="W1,W2", type=_names(list(WORKLOADS)), help="these workloads")
    made.add_argument("--peers", action="store_true", help="measure the other systems, too")
    made.add_argument(
        "--systems",
        metavar="NAMES",
        type=_names(list(ADAPTERS)),
        help=f"only these of: {', '.join(ADAPTERS)}",
    )
    made.add_argument("--rounds", metavar="N", type=_positive, help="how often (default: 3; with --quick: 1)")
    made.add_argument("--quick", action="store_true", help="tiny: only see that all works")
    made.add_argument("--json", metavar="FILE", type=Path, help="write all figures there")
    made.add_argument(
        "--folder",
        metavar="FOLDER",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="for journals: on the disk that matters (default: %(default)s)",
    )
    return made


def _names(known: list[str]) -> Callable[[str], list[str]]:
    def parsed(text: str) -> list[str]:
        wanted = [name.strip().lower() for name in text.split(",") if name.strip()]
        for name in wanted:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return [name for name in known if name in wanted]

    return parsed


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds: 1 or more")
    return int(text)


def main() -> int:
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if lacking:
        print(f"benchmarks: {', '.join(lacking)} missing here: pip install '.[test]'", file=sys.stderr)
        return 2
    chosen = parser().parse_args()
    for folder in (chosen.folder, *([chosen.json.absolute().parent] if chosen.json else [])):
        if not folder.is_dir():
            print(f"benchmarks: there is no folder {folder}", file=sys.stderr)
            return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    return measure(chosen)


def measure(chosen: argparse.Namespace) -> int:
    from benchmarks import runner
    from benchmarks.machine import described
    from benchmarks.peers import ADAPTERS, OURS
    from benchmarks.results import Results
    from benchmarks.terminal import Line, print_results
    from benchmarks.workloads import WORKLOADS

    rounds = chosen.rounds or (1 if chosen.quick else 3)
    results = Results(machine=described(chosen.folder), quick=chosen.quick, rounds=rounds)
    systems = runner.usable(chosen.systems or list(ADAPTERS if chosen.peers else OURS), results)
    workloads = [WORKLOADS[name] for name in chosen.only or WORKLOADS]
    steps = runner.plan(systems, workloads, rounds, quick=chosen.quick)
    line, interrupted = Line(time.monotonic()), False
    try:
        runner.run(steps, results, chosen.folder, line.show)
    except KeyboardInterrupt:
        interrupted = True
    line.clear()
    if chosen.json and not interrupted:
        results.write(chosen.json)
    print_results(results)
    if interrupted:
        print(
            "\nInterrupted: these are the figures by then"
            + (f"; {chosen.json} is as it was." if chosen.json else ".")
        )
        return INTERRUPTED
    if chosen.json:
        print(f"\nAll figures are in {chosen.json}; a page of them: python -m benchmarks.page {chosen.json}")
    ours = [failure for failure in results.failures if failure.system in OURS]
    return 1 if ours or not steps else 0


if __name__ == "__main__":
    sys.exit(main())
