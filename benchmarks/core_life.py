"""What a task costs in the core alone: submit, lease, succeed, collect.

    python benchmarks/core_life.py [--largest 1000000] [--lives 20000]

Prints microseconds for each step of a life, for several numbers of waiting tasks and of tags; with
workers and clients that take any tag, and with such that ask for one. The figures of one column
ought to be alike: nothing in the core may depend on how much waits.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable

from pyrotask.core.endings import EVERYTHING_PUBLIC
from pyrotask.core.machine import ANY_FORMAT, Machine
from pyrotask.core.model import PLAIN, Lease, Payload, ProcessId

VALUE = Payload(PLAIN, (b"x" * 100,))
WAITING = (10, 10_000, 1_000_000)
TAGS = (1, 100, 10_000)
STEPS = ("submit", "lease", "finish", "collect", "life")
ROUNDS = 3

Figures = list[float]
"""One for each step."""


def filled(waiting: int, tags: int) -> Machine:
    machine = Machine()
    machine.start(0, "benchmark")
    for k in range(waiting):
        machine.submit(k, f"tag{k % tags}", VALUE)
    return machine


def lives(machine: Machine, tags: int, number: int, *, by_tag: bool) -> Figures:
    """Microseconds for each step, the least of some rounds: others may be at work on this machine."""
    names = [f"tag{k % tags}" for k in range(number)]
    wanted = [frozenset({name}) if by_tag else None for name in names]
    process = ProcessId(machine.register(0, connection=machine.connect()).reply)  # type: ignore[arg-type]
    for tag in set(wanted):  # what is made once is made
        machine.state.waiting.view(ANY_FORMAT, tag)
        machine.state.finished.view(EVERYTHING_PUBLIC, tag)
    rounds = [life(machine, process, names, wanted) for _ in range(ROUNDS)]
    return [min(step) / number * 1e6 for step in zip(*rounds, strict=True)]


def life(
    machine: Machine, process: ProcessId, names: list[str], wanted: list[frozenset[str] | None]
) -> list[float]:
    """Seconds for each step, all tasks together. One task after the other is taken as far as that."""
    leases: list[Lease] = []

    def submit() -> None:
        for name in names:
            machine.submit(1, name, VALUE)

    def lease() -> None:
        for tags in wanted:
            leases.extend(machine.lease(1, tags=tags, process=process).reply)  # type: ignore[arg-type]

    def finish() -> None:
        for lease in leases:
            machine.succeed(1, lease.task, VALUE, attempt=lease.attempt)

    def collect() -> None:
        for lease, tags in zip(leases, wanted, strict=True):
            assert machine.collect(1, tag=None if tags is None else lease.tag).reply is not None

    return [seconds(step) for step in (submit, lease, finish, collect)]


def seconds(step: Callable[[], None]) -> float:
    """Of the processor."""
    began = time.process_time()
    step()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--largest", type=int, default=max(WAITING), help="the most tasks that wait")
    parser.add_argument("--lives", type=int, default=20_000, help="lives measured for each figure")
    chosen = parser.parse_args()
    print(f"{'':>9} {'':>6} {'any tag, us':>39}   {'one tag, us':>39}")
    steps = "".join(f"{name:>8}" for name in STEPS)
    print(f"{'waiting':>9} {'tags':>6} {steps}  {steps}")
    for waiting in (number for number in WAITING if number <= chosen.largest):
        for tags in TAGS:
            machine = filled(waiting, tags)
            gc.collect()
            gc.freeze()  # what waits is no garbage: a broker freezes it as well
            print(f"{waiting:>9} {tags:>6}", end="")
            for by_tag in (False, True):
                figures = lives(machine, tags, chosen.lives, by_tag=by_tag)
                print(" " + "".join(f"{each:>8.1f}" for each in (*figures, sum(figures))), end=" ")
            print(flush=True)
            gc.unfreeze()
            del machine


if __name__ == "__main__":
    main()
