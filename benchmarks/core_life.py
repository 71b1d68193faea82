"""What a task costs in the core alone: submit, lease, succeed, collect.

    python benchmarks/core_life.py [--largest 1000000] [--lives 20000]

Prints microseconds for each step of a life, for several numbers of waiting tasks and of tags; one by
one with workers and clients that take any tag, and with such that ask for one, and in batches: a
session submits a thousand at a time, a worker leases and hands in 64, and 500 are collected. The
figures of one column ought to be alike: nothing in the core may depend on how much waits.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable

from pyrotask.core.endings import EVERYTHING_PUBLIC
from pyrotask.core.machine import ANY_FORMAT, Machine
from pyrotask.core.model import PLAIN, Delivered, Lease, NewTask, Payload, ProcessId, SessionId, TaskNumber

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


SUBMITTED, LEASED, COLLECTED = 1_000, 64, 500
"""How many at once, in batches."""


def batched_lives(machine: Machine, number: int) -> Figures:
    """The same as `lives` for tasks that come and go in batches."""
    process = ProcessId(machine.register(0, connection=machine.connect()).reply)  # type: ignore[arg-type]
    session = SessionId(machine.sessions.open(0, f"batches of {number}").reply)  # type: ignore[arg-type]
    machine.paces.note("batches", 1, 1)
    rounds = [batched_life(machine, process, session, number) for _ in range(ROUNDS)]
    return [min(step) / number * 1e6 for step in zip(*rounds, strict=True)]


def batched_life(machine: Machine, process: ProcessId, session: SessionId, number: int) -> list[float]:
    items = [NewTask("batches", VALUE)] * SUBMITTED
    tags = frozenset({"batches"})
    batches: list[tuple[Lease, ...]] = []

    def submit() -> None:
        for _ in range(number // SUBMITTED):
            machine.submit_many(1, items, session=session)

    def lease() -> None:
        while leases := machine.lease(1, tags=tags, process=process, count=LEASED).reply:
            batches.append(leases)  # type: ignore[arg-type]

    def finish() -> None:
        for leases in batches:
            answers: list[tuple[TaskNumber, int | None, Payload]]
            answers = [(lease.task, lease.attempt, VALUE) for lease in leases]
            assert machine.succeed_many(1, answers).reply == []

    def collect() -> None:
        taken_over, delivered = machine.state.sessions[session].next_delivery - 1, list[Delivered]()
        while True:
            step = machine.sessions.collect(1, session, count=COLLECTED, taken_over=taken_over)
            delivered = step.reply  # type: ignore[assignment]
            if not delivered:
                return
            taken_over = delivered[-1].delivery

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
    print(f"{'':>9} {'':>6} {'any tag, us':>39}   {'one tag, us':>39}   {'in batches, us':>39}")
    steps = "".join(f"{name:>8}" for name in STEPS)
    print(f"{'waiting':>9} {'tags':>6} {steps}  {steps}  {steps}")
    for waiting in (number for number in WAITING if number <= chosen.largest):
        for tags in TAGS:
            machine = filled(waiting, tags)
            gc.collect()
            gc.freeze()  # what waits is no garbage: a broker freezes it as well
            print(f"{waiting:>9} {tags:>6}", end="")
            for figures in (
                lives(machine, tags, chosen.lives, by_tag=False),
                lives(machine, tags, chosen.lives, by_tag=True),
                batched_lives(machine, chosen.lives),
            ):
                print(" " + "".join(f"{each:>8.1f}" for each in (*figures, sum(figures))), end=" ")
            print(flush=True)
            gc.unfreeze()
            del machine


if __name__ == "__main__":
    main()
