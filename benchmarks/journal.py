"""What it costs to be durable: commits, a task's life, recovery; and what SQLite would cost.

    python -m benchmarks.journal [--folder .] [--commits 1000] [--lives 50000] [--waiting 1000000]

The folder ought to be on the disk that matters. Ratios within one run count; the machine's own
sync is printed for comparison. ``--profile`` shows where the flusher's and the caller's time go.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import shutil
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pyrotask.clock import SystemClock
from pyrotask.core import events as e
from pyrotask.core.model import DEFAULT_OPTIONS, PLAIN, PUBLIC, Limits, Payload, TaskNumber
from pyrotask.engine import Engine
from pyrotask.journal import Journal, MemoryJournal, Policy, open_journal
from pyrotask.journal.codec import encode
from pyrotask.journal.folder import Folder
from pyrotask.journal.mark import MarkFile
from pyrotask.journal.recovery import fold

VALUE = Payload(PLAIN, (b"x" * 100,))
OUTSTANDING = 256
EVENTS_A_COMMIT = 400


def events(number: int) -> list[e.Event]:
    """Of lives like those that a broker sees most."""
    made: list[e.Event] = []
    for task in map(TaskNumber, range(number // 5)):
        made += [
            e.TasksSubmitted(10**18 + task, task, "sqrt", (VALUE,), DEFAULT_OPTIONS, PUBLIC),
            e.TasksLeased(10**18 + task, (task,), None, (1,)),
            e.TasksSucceeded(10**18 + task, (task,), (VALUE,)),
            e.ResultsDelivered((task,)),
            e.TasksForgotten((task,)),
        ]
    return made


# --- commits --------------------------------------------------------------------------------


def median_us(call: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6


def bare_sync(folder: Path) -> Callable[[], object]:
    """The floor: a write of 100 bytes in place, and a sync."""
    fd = os.open(folder / "sync", os.O_RDWR | os.O_CREAT)
    os.write(fd, bytes(4096))
    os.fsync(fd)

    def write_and_sync() -> None:
        os.pwrite(fd, bytes(100), 0)
        os.fdatasync(fd)

    return write_and_sync


def sqlite(folder: Path, many: list[e.Event], *, marked: bool) -> Callable[[], object]:
    """One row a commit, write-ahead log, full sync."""
    connection = sqlite3.connect(folder / f"sqlite-{len(many)}-{marked}", isolation_level=None)
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("create table journal (position integer primary key, body blob)")
    mark = MarkFile(folder / "mark-of-sqlite", "0" * 16, 0)

    def commit() -> None:
        connection.execute("insert into journal (body) values (?)", (encode(many),))
        if marked:
            mark.write(1)

    return commit


def own(folder: Path, many: list[e.Event], policy: Policy) -> Callable[[], object]:
    journal = open_journal(folder / f"own-{len(many)}-{policy.value}", policy).journal
    return lambda: journal.wait(journal.append(many))


def print_commits(folder: Path, times: int) -> None:
    print(f"{'a commit by one thread, which waits for it, us':<52}{'1 event':>9}{EVENTS_A_COMMIT:>9}")
    one, many = events(5)[:1], events(EVENTS_A_COMMIT)
    rows: dict[str, Callable[[list[e.Event]], Callable[[], object]]] = {
        "a bare sync": lambda _: bare_sync(folder),
        "SQLite": lambda made: sqlite(folder, made, marked=False),
        "SQLite, and a mark": lambda made: sqlite(folder, made, marked=True),
        **{
            f"our files, {policy.value}": lambda made, policy=policy: own(folder, made, policy)  # type: ignore[misc]
            for policy in Policy
        },
    }
    for name, make in rows.items():
        few = median_us(make(one), times)
        print(f"{name:<52}{few:>9.0f}{median_us(make(many), times // 5):>9.0f}", flush=True)


# --- lives ----------------------------------------------------------------------------------


class Lives:
    """Submits and runs tasks, with so many answers outstanding as an event loop has."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.engine = Engine(Limits(), SystemClock(), journal)
        self.room = threading.Semaphore(OUTSTANDING)

    def run(self, number: int) -> float:
        """Tasks a second; each submit and each result was durable before it counts."""
        began = time.perf_counter()
        for _ in range(number):
            self._call(lambda m, now: m.submit(now, "sqrt", VALUE))
            self._call(lambda m, now: m.lease(now))
            self._call(lambda m, now: m.succeed(now, TaskNumber(m.state.next_task - 1), VALUE))
            self._call(lambda m, now: m.collect(now))
        self.journal.wait(self.journal.newest)
        return number / (time.perf_counter() - began)

    def _call(self, command: Callable[..., object]) -> None:
        self.room.acquire()
        self.journal.on_durable(self.engine.execute(command).ticket, self.room.release)

    def close(self) -> None:
        self.engine.watchdog.stop()
        self.journal.close()


def print_lives(folder: Path, number: int, *, profile: bool) -> None:
    print(f"\nsubmit, lease, result, collect; {OUTSTANDING} calls outstanding{'tasks/s':>14}{'ratio':>9}")
    in_memory = 0.0
    for name in ("memory", *(policy.value for policy in Policy)):
        rates = []
        for attempt in range(3):
            path = folder / f"lives-{name}-{attempt}"
            lives = Lives(MemoryJournal() if name == "memory" else open_journal(path, Policy(name)).journal)
            rates.append(lives.run(number))
            lives.close()
            shutil.rmtree(path, ignore_errors=True)
        rate = statistics.median(rates)
        in_memory = in_memory or rate
        print(f"{name:<52}{rate:>14,.0f}{rate / in_memory:>9.2f}", flush=True)
    if profile:
        lives = Lives(open_journal(folder / "profiled").journal)
        profiler = cProfile.Profile()
        profiler.runcall(lives.run, number)
        lives.close()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(15)


# --- recovery -------------------------------------------------------------------------------


def print_recovery(folder: Path, waiting: int) -> None:
    path = folder / "waiting"
    journal = open_journal(path, Policy.NEVER, due_bytes=1 << 60).journal
    for start in range(0, waiting, 1000):
        journal.append(
            [
                e.TasksSubmitted(10**18, TaskNumber(number), "sqrt", (VALUE,), DEFAULT_OPTIONS, PUBLIC)
                for number in range(start, start + 1000)
            ]
        )
    journal.close()
    print(f"\nrecovery of {waiting:,} waiting tasks{'seconds':>14}{'MB on disk':>14}")
    _print_fold("from the events", path)
    from pyrotask.journal.repair import compact

    compact(path)
    _print_fold("from an image", path)


def _print_fold(name: str, path: Path) -> None:
    size = Folder(path).size()
    began = time.perf_counter()
    folded = fold(Folder(path))
    taken = time.perf_counter() - began
    assert folded.state.unstarted
    print(f"{name:<32}{taken:>14.1f}{size / 1e6:>14.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--lives", type=int, default=50_000)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as scratch:
        folder = Path(scratch)
        print_commits(folder, chosen.commits)
        print_lives(folder, chosen.lives, profile=chosen.profile)
        print_recovery(folder, chosen.waiting)


if __name__ == "__main__":
    main()
