"""What waiting tasks take of the broker's memory and disk, and how long reading them again takes.

    python -m benchmarks.memory [--folder .] [--waiting 1000000] [--bytes 8 10240] [--lives 1000000]

Each figure is of a process of its own, which does what a broker does: an engine with a journal on
disk, fed with submits of many tasks from values as they come from the wire. Resident size is what
the system says, less what it was before the first task.

    waiting   tasks that wait, with parameters of so many bytes: memory and disk each takes, seconds
              to take them on; then the journal is opened again: seconds, memory; then they are drained
    lives     tasks submitted, run, collected, some at a time: memory and disk that are left
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pyrotask.broker import Broker
from pyrotask.config import Settings
from pyrotask.core.machine import Machine, Step
from pyrotask.core.model import PLAIN, Answer, Nanoseconds, NewTask, Payload
from pyrotask.journal.folder import Folder

AT_ONCE = 1000


def resident_bytes() -> int:
    """As the system says (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def new_tasks(start: int, count: int, nbytes: int) -> list[NewTask]:
    """Tasks as they come from the wire: each has its own tag object and its own bytes."""
    made = []
    for number in range(start, start + count):
        data = (b"%020d" % number * (nbytes // 20 + 1))[:nbytes]
        made.append(NewTask("sqrt", Payload(PLAIN, (data,)).in_blocks()))
    return made


def do(broker: Broker, command: Any) -> Any:
    """A command that is done, and durable."""
    done = broker.engine.execute(command)
    if isinstance(done.reply, Exception):
        raise done.reply
    return done


def submit(broker: Broker, start: int, count: int, nbytes: int) -> int:
    tasks = new_tasks(start, count, nbytes)
    ticket: int = do(broker, lambda m, now: m.submit_many(now, tasks)).ticket
    return ticket


def run_and_collect(broker: Broker, count: int, nbytes: int) -> int:
    """Do up to so many tasks, and say how many: those of one lease are not too large together."""
    leases = do(broker, lambda m, now: m.lease(now, count=count)).reply
    for lease in leases:
        value = Payload(PLAIN, lease.payload.read()).in_blocks() if nbytes else lease.payload

        def finish(m: Machine, now: Nanoseconds, task: int = lease.task, value: Payload = value) -> Step:
            return m.succeed(now, task, value)  # type: ignore[arg-type]

        do(broker, finish)
    for _ in leases:
        answer = do(broker, lambda m, now: m.collect(now, final=False)).reply
        assert isinstance(answer, Answer), answer
        do(broker, lambda m, _now, task=answer.task: m.acknowledge(task))
    return len(leases)


def waiting(folder: Path, tasks: int, nbytes: int) -> None:
    broker = Broker(Settings(), journal=folder / "journal")
    before, began, ticket = resident_bytes(), time.perf_counter(), 0
    for start in range(0, tasks, AT_ONCE):
        durable = ticket  # two under way, as from a client that sends ahead
        ticket = submit(broker, start, AT_ONCE, nbytes)
        broker.engine.journal.wait(durable)  # type: ignore[arg-type]
    broker.engine.journal.wait(ticket)  # type: ignore[arg-type]
    gc.collect()
    taken, seconds = resident_bytes() - before, time.perf_counter() - began
    print(
        f"{tasks:>9} waiting, {nbytes:>6} bytes each: {taken / tasks:.0f} bytes of memory a task "
        f"({taken / 1e6:.0f} MB), taken on in {seconds:.1f} s",
        flush=True,
    )
    broker.close()
    disk = Folder(folder / "journal").size()
    print(f"{'':>20} {disk / tasks:.0f} bytes of disk a task ({disk / 1e6:.0f} MB)", flush=True)


def again(folder: Path, tasks: int, nbytes: int) -> None:
    before, began = resident_bytes(), time.perf_counter()
    broker = Broker(Settings(), journal=folder / "journal")
    seconds = time.perf_counter() - began
    gc.collect()
    taken = resident_bytes() - before
    print(f"{'':>20} opened again in {seconds:.1f} s: {taken / tasks:.0f} bytes of memory a task", flush=True)
    began, done = time.perf_counter(), 0
    while done < min(tasks, 50_000):
        done += run_and_collect(broker, AT_ONCE, nbytes)
    print(f"{'':>20} run and collected: {done / (time.perf_counter() - began):.0f} tasks/s", flush=True)
    broker.close()


def lives(folder: Path, tasks: int, nbytes: int) -> None:
    broker = Broker(Settings(), journal=folder / "journal")
    submit(broker, 0, AT_ONCE, nbytes)
    run_and_collect(broker, AT_ONCE, nbytes)
    before, began = resident_bytes(), time.perf_counter()
    most = 0
    for start in range(AT_ONCE, tasks, AT_ONCE):
        submit(broker, start, AT_ONCE, nbytes)
        run_and_collect(broker, AT_ONCE, nbytes)
        most = max(most, resident_bytes() - before)
        broker.engine.journal.wait(broker.engine.journal.newest)
    seconds = time.perf_counter() - began
    while Folder(folder / "journal").size() > 10e6 and time.perf_counter() < began + seconds + 60:
        submit(broker, tasks, 1, nbytes)  # a helper makes the last image meanwhile
        run_and_collect(broker, 1, nbytes)
        time.sleep(0.1)
    left = resident_bytes() - before
    disk = Folder(folder / "journal").size()
    memory = f"{left / 1e6:.0f} MB of memory more than at the start (at most {most / 1e6:.0f})"
    rest = f"{disk / 1e6:.1f} MB of disk, {tasks / seconds:.0f} tasks/s"
    print(f"{tasks:>9} came and went, {nbytes:>6} bytes each way: {memory}, {rest}")
    broker.close()


PARTS = {"waiting": waiting, "again": again, "lives": lives}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk that matters")
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, nargs="+", default=[8, 10_240])
    parser.add_argument("--lives", type=int, default=1_000_000)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--tasks", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        PARTS[chosen.part](chosen.folder, chosen.tasks, chosen.bytes[0])
        return
    for nbytes in chosen.bytes:
        _of_its_own(chosen.folder, ("waiting", "again"), chosen.waiting, nbytes)
    _of_its_own(chosen.folder, ("lives",), chosen.lives, chosen.bytes[0])


def _of_its_own(folder: Path, parts: tuple[str, ...], tasks: int, nbytes: int) -> None:
    with tempfile.TemporaryDirectory(dir=folder.absolute()) as place:
        for part in parts if tasks else ():
            words = ["--folder", place, "--part", part, "--tasks", str(tasks), "--bytes", str(nbytes)]
            subprocess.run([sys.executable, __file__, *words], check=True)


if __name__ == "__main__":
    main()
