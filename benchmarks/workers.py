"""What our own workers make of no-op tasks, beside the pools of the standard library.

    python benchmarks/workers.py [--tasks 20000] [--rounds 3] [--journal always] [--no-pools]

The broker is `pyrotask serve`, the workers are `pyrotask worker -n 2`. The master, in this process,
is a `pyrotask.Session` with a future for each task; and, as a bound to what that can reach, a bulk
proxy that submits and collects a thousand at a time. The pools have two workers too. Medians of the
rounds, which take turns; what counts is the ratio within one run.

    many    all submitted, all answers collected: tasks a second
    one     one task at a time, from the submit to its answer: milliseconds, median and 99th percentile
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import multiprocessing.pool
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from pyrotask import payload
from pyrotask.client.session import Session
from pyrotask.remote.bulk_proxy import BulkProxy

MODULE = "def do_nothing(number):\n    return number\n"
PYROTASK = (sys.executable, "-m", "pyrotask")
WORKERS = 2
AT_ONCE = 1000
WARM_UP = 200

Figures = tuple[float, float, float]


def nothing(number: int) -> int:
    return number


# --- pyrotask -------------------------------------------------------------------------------------


@contextlib.contextmanager
def started(*words: str, first: str) -> Iterator[None]:
    """A command that runs, from its first such event on."""
    process = subprocess.Popen(
        [*PYROTASK, *words, "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["event"] == first:
                break
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield
    finally:
        process.terminate()
        process.wait()


class Client:
    """A session of one thread, as lean as the bulk protocol allows."""

    def __init__(self, label: str) -> None:
        self._broker = BulkProxy(label)
        self._session = self._broker.call("open_session", f"benchmark {label}")
        self._sequence = 0
        self._taken_over = 0

    def submit(self, numbers: range) -> None:
        for start in range(numbers.start, numbers.stop, AT_ONCE):
            part = range(start, min(start + AT_ONCE, numbers.stop))
            tasks = [["nothing", to_wire((number,))] for number in part]
            self._sequence += 1
            self._broker.call("submit", self._session, self._sequence, self._sequence - 1, tasks)

    def collect(self, count: int) -> None:
        while count > 0:
            reply = self._broker.call(
                "collect", self._session, self._taken_over, AT_ONCE, 30.0, timeout_s=60.0
            )
            deliveries = reply["deliveries"]
            count -= len(deliveries)
            for number, _task, _tag, (kind, value) in deliveries:
                assert kind == "value", value
                self._taken_over = number


def to_wire(parameters: tuple[Any, ...]) -> list[Any]:
    encoded = payload.encode(parameters)
    return [encoded.format, list(encoded.buffers)]


@contextlib.contextmanager
def job(folder: Path, journal: str | None) -> Iterator[str]:
    """A broker, and its workers. Gives its label."""
    label = f"b{time.monotonic_ns()}"
    keeping = [] if journal is None else ["--journal", str(folder / label), "--journal-policy", journal]
    module = folder / "nothing.py"
    module.write_text(MODULE)
    with (
        started("serve", label, *keeping, "--name-server", "off", first="serving"),
        started("worker", label, "-n", str(WORKERS), "--module", str(module), first="registered"),
    ):
        yield label


def of_bulk(tasks: int, folder: Path, journal: str | None) -> Figures:
    with job(folder, journal) as label:
        client = Client(label)

        def many(count: int) -> None:
            client.submit(range(count))
            client.collect(count)

        def one() -> None:
            client.submit(range(1))
            client.collect(1)

        return measured(tasks, many, one)


def of_session(tasks: int, folder: Path, journal: str | None) -> Figures:
    with job(folder, journal) as label, Session(label) as session:

        def many(count: int) -> None:
            futures = [session.submit("nothing", number) for number in range(count)]
            for future in futures:
                future.result()

        return measured(tasks, many, lambda: session.submit("nothing", 1).result())


# --- the pools of the standard library --------------------------------------------------------------


def of_executor(tasks: int) -> Figures:
    with ProcessPoolExecutor(WORKERS) as pool:

        def many(count: int) -> None:
            futures: list[Future[int]] = [pool.submit(nothing, number) for number in range(count)]
            for future in futures:
                future.result()

        return measured(tasks, many, lambda: pool.submit(nothing, 1).result())


def of_pool(tasks: int) -> Figures:
    with multiprocessing.Pool(WORKERS) as pool:

        def many(count: int) -> None:
            results = [pool.apply_async(nothing, (number,)) for number in range(count)]
            for result in results:
                result.get()

        return measured(tasks, many, lambda: pool.apply_async(nothing, (1,)).get())


# --- measuring --------------------------------------------------------------------------------------


def measured(tasks: int, many: Callable[[int], object], one: Callable[[], object]) -> Figures:
    many(WARM_UP)
    began = time.perf_counter()
    many(tasks)
    rate = tasks / (time.perf_counter() - began)
    taken: list[float] = []
    for _ in range(max(100, tasks // 20)):
        began = time.perf_counter()
        one()
        taken.append(time.perf_counter() - began)
    hundredths = statistics.quantiles(taken, n=100)
    return rate, hundredths[49] * 1e3, hundredths[98] * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--journal", choices=("always", "interval", "never"), help="also with a journal")
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="for the journal: on the disk that matters"
    )
    parser.add_argument("--no-pools", action="store_true", help="pyrotask only")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder.absolute()) as place:
        os.environ["PYROTASK_RUNTIME_DIR"] = str(Path(place, "run"))
        folder = Path(place)
        kinds: dict[str, Callable[[], Figures]] = {
            "session": lambda: of_session(chosen.tasks, folder, None),
            "bulk": lambda: of_bulk(chosen.tasks, folder, None),
        }
        if chosen.journal:
            kinds["session, journal"] = lambda: of_session(chosen.tasks, folder, chosen.journal)
            kinds["bulk, journal"] = lambda: of_bulk(chosen.tasks, folder, chosen.journal)
        if not chosen.no_pools:
            kinds["apply_async"] = lambda: of_pool(chosen.tasks)
            kinds["ProcessPool"] = lambda: of_executor(chosen.tasks)
        seen: dict[str, list[Figures]] = {kind: [] for kind in kinds}
        for _ in range(chosen.rounds):
            for kind, measure in kinds.items():
                seen[kind].append(measure())
    print(f"{'kind':>16} {'many/s':>9} {'one, ms: p50':>13} {'p99':>7}")
    for kind, rounds in seen.items():
        rate, middle, high = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{kind:>16} {rate:>9.0f} {middle:>13.3f} {high:>7.3f}")


if __name__ == "__main__":
    main()
