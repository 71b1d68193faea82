"""Masters and slaves of the reference API, by plain Pyro proxies only.

    python -m benchmarks.plain_clients ADDRESS slave
    python -m benchmarks.plain_clients ADDRESS master THREADS SECONDS

A slave serves until the broker closes its connection. Each thread of a master submits a task and
gets its answer, again and again, with tasks under way all the time; at the end, the number of
answers is printed. Each thread has a tag of its own, so it gets its own answers only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time

import Pyro5.api
import Pyro5.errors

UNDER_WAY = 8


def slave(address: str) -> None:
    with Pyro5.api.Proxy(address) as manager:
        manager._pyroBind()  # noqa: SLF001 - Pyro's public names look like this
        print("ready", flush=True)
        with contextlib.suppress(Pyro5.errors.CommunicationError):
            while True:
                number, _tag, parameters = manager.getAnyTask()
                manager.storeResult(number, parameters[0])


def master(address: str, tag: str, seconds: float, start: threading.Barrier, done: list[int]) -> None:
    with Pyro5.api.Proxy(address) as manager:
        for number in range(UNDER_WAY):
            manager.addTaskRequest(tag, (number,))
        start.wait()
        until, answers = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            manager.addTaskRequest(tag, (answers,))
            manager.getResultWithTag(tag)
            answers += 1
        done.append(answers)
        for _ in range(UNDER_WAY):
            manager.getResultWithTag(tag)


def masters(address: str, threads: int, seconds: float) -> None:
    done: list[int] = []
    start = threading.Barrier(threads + 1)
    running = [
        threading.Thread(target=master, args=(address, f"{os.getpid()}-{k}", seconds, start, done))
        for k in range(threads)
    ]
    for thread in running:
        thread.start()
    print("ready", flush=True)
    sys.stdin.readline()  # all masters begin together
    start.wait()
    for thread in running:
        thread.join()
    print(f"answers {sum(done)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("role", choices=("slave", "master"))
    parser.add_argument("threads", type=int, nargs="?", default=1)
    parser.add_argument("seconds", type=float, nargs="?", default=1.0)
    chosen = parser.parse_args()
    if chosen.role == "slave":
        slave(chosen.address)
    else:
        masters(chosen.address, chosen.threads, chosen.seconds)


if __name__ == "__main__":
    main()
