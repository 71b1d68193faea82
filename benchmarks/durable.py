"""What a journal costs: no-op tasks, one master, two workers, each in processes of their own.

    python -m benchmarks.durable [--folder .] [--tasks 2000] [--rounds 3]

The broker is `pyrotask serve` in memory, then with a journal under each policy; the workers are
`pyrotask worker -n 2`; the master is a Pyro proxy from `pyrotask.connect`. Medians of the rounds,
which take turns; what counts is the ratio to the broker in memory within one run.

    many       submitted and collected by Pyro's BatchProxy, 100 at a time: tasks a second
    window     64 tasks under way, submitted and collected by 8 threads, a call for each: tasks a second
    one        one task at a time: median milliseconds from the submit to its answer
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from Pyro5.api import BatchProxy

import pyrotask
from benchmarks.stage import Stage, wait_for_line

KINDS = ("memory", "always", "interval", "never")
BATCH = 100
THREADS = 8
WINDOW = 64
MODULE = "def do_nothing(number):\n    return number\n"


@contextlib.contextmanager
def job(kind: str, folder: Path) -> Iterator[str]:
    """A broker of that kind, and its workers. Gives its label."""
    label = f"{kind}-{time.monotonic_ns()}"
    keeping = [] if kind == "memory" else ["--journal", folder / label, "--journal-policy", kind]
    module = folder / "nothing.py"
    module.write_text(MODULE)
    with Stage(folder) as stage:
        broker = stage.start_python("pyrotask", "serve", label, *keeping, "--name-server", "off", "--json")
        wait_for_line(broker, b'"serving"')
        workers = stage.start_python("pyrotask", "worker", label, "-n", 2, "--module", module, "--json")
        wait_for_line(workers, b'"registered"')
        yield label


def many(label: str, tasks: int) -> float:
    with pyrotask.connect(label) as manager:
        began, collected = time.perf_counter(), 0
        for start in range(0, tasks, BATCH):
            batch = BatchProxy(manager)
            for number in range(start, start + BATCH):
                batch.addTaskRequest("nothing", (number,))
            list(batch())
        while collected < tasks:
            manager.getAnyResult()
            collected += 1
            batch = BatchProxy(manager)
            for _ in range(min(BATCH, tasks - collected)):
                batch.getAnyResult(timeout=0)
            with contextlib.suppress(TimeoutError):
                for _ in batch():
                    collected += 1
        return tasks / (time.perf_counter() - began)


def window(label: str, tasks: int) -> float:
    def work() -> None:
        with pyrotask.connect(label) as manager:
            under_way = WINDOW // THREADS
            for number in range(under_way):
                manager.addTaskRequest("nothing", (number,))
            for number in range(tasks // THREADS):
                manager.getAnyResult()
                if number < tasks // THREADS - under_way:
                    manager.addTaskRequest("nothing", (number,))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tasks // THREADS * THREADS / (time.perf_counter() - began)


def one(label: str, tasks: int) -> float:
    taken: list[float] = []
    with pyrotask.connect(label) as manager:
        for number in range(tasks // 10):
            began = time.perf_counter()
            manager.addTaskRequest("nothing", (number,))
            manager.getAnyResult()
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(), help="on the disk that matters")
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    seen: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory(dir=chosen.folder.absolute()) as place:
        os.environ["PYROTASK_RUNTIME_DIR"] = str(Path(place, "run"))
        for _ in range(chosen.rounds):
            for kind in KINDS:
                with job(kind, Path(place)) as label:
                    seen[kind].append(tuple(f(label, chosen.tasks) for f in (many, window, one)))
    figures: dict[str, Any] = {
        kind: [statistics.median(c) for c in zip(*seen[kind], strict=True)] for kind in KINDS
    }
    base = figures["memory"]
    print(f"{'kind':>9} {'many/s':>9} {'':>6} {'window/s':>9} {'':>6} {'one, ms':>8}")
    for kind, (m, w, o) in figures.items():
        print(f"{kind:>9} {m:>9.0f} {m / base[0]:>5.0%} {w:>9.0f} {w / base[1]:>5.0%} {o:>8.2f}")


if __name__ == "__main__":
    main()
