"""What a task costs in the core alone: submit, lease, succeed, collect.

    python benchmarks/core_life.py [--largest 1000000] [--lives 20000]

Prints microseconds a life for several numbers of waiting tasks and of tags. The figures of
one column ought to be alike: nothing in the core may depend on how much waits.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from itertools import cycle

from pyrotask.core.machine import Machine
from pyrotask.core.model import PLAIN, Answer, Lease, Payload, ProcessId

VALUE = Payload(PLAIN, (b"x" * 100,))
WAITING = (10, 10_000, 1_000_000)
TAGS = (1, 100, 10_000)


def filled(waiting: int, tags: int) -> Machine:
    machine = Machine()
    machine.start(0, "benchmark")
    for k in range(waiting):
        machine.submit(k, f"tag{k % tags}", VALUE)
    return machine


def lives(machine: Machine, tags: int, number: int, *, by_tag: bool) -> float:
    """Microseconds of the processor a life: others may be at work on this machine."""
    names = cycle([f"tag{k}" for k in range(tags)])
    wanted = cycle([frozenset({f"tag{k}"}) if by_tag else None for k in range(tags)])
    process = ProcessId(0)
    machine.register(0, connection=machine.connect())
    began = time.process_time()
    for now in range(1, number + 1):
        machine.submit(now, next(names), VALUE)
        leases = machine.lease(now, tags=next(wanted), process=process).reply
        assert isinstance(leases, tuple)
        lease: Lease = leases[0]
        machine.succeed(now, lease.task, VALUE, attempt=lease.attempt)
        assert isinstance(machine.collect(now, tag=lease.tag if by_tag else None).reply, Answer)
    return (time.process_time() - began) / number * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--largest", type=int, default=max(WAITING), help="the most tasks that wait")
    parser.add_argument("--lives", type=int, default=20_000, help="lives measured for each figure")
    chosen = parser.parse_args()
    print(f"{'waiting':>9} {'tags':>6} {'any tag, us':>12} {'one tag, us':>12}")
    for waiting in (number for number in WAITING if number <= chosen.largest):
        for tags in TAGS:
            machine = filled(waiting, tags)
            gc.collect()
            gc.freeze()  # what waits is no garbage: a broker freezes it as well
            figures = [
                statistics.median(lives(machine, tags, chosen.lives, by_tag=by_tag) for _ in range(3))
                for by_tag in (False, True)
            ]
            print(f"{waiting:>9} {tags:>6} {figures[0]:>12.1f} {figures[1]:>12.1f}", flush=True)
            gc.unfreeze()
            del machine


if __name__ == "__main__":
    main()
