"""What a task costs in the broker, without sockets: in memory and with a durable journal, and where.

    python benchmarks/task_life.py [--tasks 20000] [--folder .]

A client submits a thousand tasks a call, two workers lease 64 at a time and hand in, the client
collects 500 at a time: the calls of the bulk protocol, decoded and encoded as they come from
sockets. With the journal each reply waits for the disk. Prints the CPU time of the process per task,
and by room, what share of the profiled time its own code took (the flusher's thread apart).
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from Pyro5.serializers import serializers

import pyrotask
from pyrotask.clock import SystemClock
from pyrotask.core.model import ConnectionId, Limits
from pyrotask.engine import Engine
from pyrotask.journal import Journal, MemoryJournal, open_journal
from pyrotask.reference import Origin
from pyrotask.remote import bulk, versions
from pyrotask.remote.serializing import make_codecs
from pyrotask.remote.services import Service, request_of

ITEMS, LEASES, ANSWERS = 1_000, 64, 500
PAYLOAD = ["pickle", [b"x" * 30]]
PACKAGE = Path(pyrotask.__file__).parent


class Broker:
    """The broker's insides, called as the event loop calls them."""

    def __init__(self, journal: Journal) -> None:
        self._engine = Engine(Limits(), SystemClock(), journal)
        self._journal = journal
        self._service = Service(bulk.service("", journal), frozenset({"msgpack"}), is_opaque=True)
        self._codec = next(codec for codec in make_codecs().values() if codec.name == "msgpack")

    def connect(self) -> ConnectionId:
        return self._engine.connect()

    def call(self, connection: ConnectionId, method: str, *args: object) -> Any:
        """From the bytes of the call to the bytes of the reply."""
        data = serializers["msgpack"].dumpsCall(bulk.OBJECT_ID, method, args, {})
        origin = Origin(connection, None, versions.WIRES.newest)
        request = request_of(self._service, self._codec.load_call(data), origin, self._codec)
        reply, ticket = self._engine.execute(lambda m, now: request.command(m, now, None))
        if isinstance(reply, Exception):
            raise reply
        encoded = self._codec.dumps(request.present(reply))
        self._journal.wait(ticket)
        return serializers["msgpack"].loads(encoded)


def live(journal: Journal, tasks: int) -> None:
    """The whole life of so many tasks."""
    broker = Broker(journal)
    client, workers = broker.connect(), [broker.connect() for _ in range(2)]
    session = broker.call(client, "open_session", "benchmark")
    processes = [broker.call(worker, "register_worker", None, None, "", ["noop"]) for worker in workers]
    taken_over = 0
    for sequence in range(1, tasks // ITEMS + 1):
        broker.call(client, "submit", session, sequence, sequence - 1, [["noop", PAYLOAD]] * ITEMS)
        results: list[list[list[Any]]] = [[] for _ in workers]
        left = ITEMS
        while left or any(results):
            for k, worker in enumerate(workers):
                reply = broker.call(worker, "exchange", processes[k], results[k], None, LEASES, 0)
                results[k] = [[task[0], task[2], "value", PAYLOAD] for task in reply["tasks"]]
                left -= len(results[k])
        for _ in range(ITEMS // ANSWERS):
            reply = broker.call(client, "collect", session, taken_over, ANSWERS, 0)
            taken_over = reply["deliveries"][-1][0]
    assert taken_over == tasks // ITEMS * ITEMS, taken_over


def shares(profile: cProfile.Profile) -> list[tuple[str, float]]:
    """By room, what share of the time its own code took; what the interpreter does by itself is apart."""
    own: Counter[str] = Counter()
    for (file, _, _), (_, _, seconds, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        path = Path(file)
        inside = path.relative_to(PACKAGE).parts if path.is_relative_to(PACKAGE) else None
        own["builtins, libraries" if inside is None else inside[0].removesuffix(".py")] += seconds
    total = sum(own.values())
    return [(room, seconds / total) for room, seconds in own.most_common(7)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="for the journal: on the disk that matters"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        for name in ("memory", "always"):
            for is_profiled in (False, True):
                place = Path(folder) / f"{name}-{is_profiled}"
                journal = MemoryJournal() if name == "memory" else open_journal(place).journal
                profile = cProfile.Profile()
                cpu, wall, own = time.process_time(), time.perf_counter(), time.thread_time()
                if is_profiled:
                    profile.runcall(live, journal, chosen.tasks)
                    print("    " + ", ".join(f"{room} {share:.0%}" for room, share in shares(profile)))
                else:
                    live(journal, chosen.tasks)
                    cpu, own = time.process_time() - cpu, time.thread_time() - own
                    each = 1e6 / chosen.tasks
                    print(
                        f"{name:7} {cpu * each:5.1f} us of CPU a task, {(cpu - own) * each:4.1f} of them in "
                        f"other threads; {(time.perf_counter() - wall) * each:5.1f} us of time"
                    )
                journal.close()


if __name__ == "__main__":
    main()
