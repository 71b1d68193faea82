"""Many waiting workers in one process: a connection and a few hundred bytes each, no thread.

    python -m benchmarks.swarm MODULE:SPEAKER PORT COUNT ARGUMENT...

What a broker is asked is how it copes with thousands of workers, and a thousand real processes
would need more memory than most machines have. So the *speaker* says what a worker of that
system says, as bytes, and a loop over all the connections does the rest. Prints "waiting" when
all are connected and have asked for their first task.
"""

from __future__ import annotations

import argparse
import importlib
import resource
import selectors
import socket
from collections.abc import Callable
from typing import Protocol

from benchmarks.stage import connected

PIECE = 262_144
PROCESSES = 4


class Speaker(Protocol):
    """One worker, as seen from its connection."""

    def first(self) -> bytes:
        """What it says when it is connected."""

    def received(self, data: bytes) -> bytes:
        """What it says next, having heard this; nothing while the rest of a message is missing."""

    def is_waiting(self) -> bool:
        """Has it asked for a task?"""


def shares(count: int) -> list[int]:
    """So many workers in a few processes: none of these is to be the bottleneck."""
    processes = min(PROCESSES, count)
    return [count // processes + (number < count % processes) for number in range(processes)]


def run(make_speaker: Callable[[], Speaker], port: int, count: int) -> None:
    """Serve all their connections until the broker has closed them."""
    allow_files(count + 100)
    selector = selectors.DefaultSelector()
    introducing: set[Speaker] = set()
    for _ in range(count):
        speaker, connection = make_speaker(), connected(port)
        introducing.add(speaker)
        connection.sendall(speaker.first())
        selector.register(connection, selectors.EVENT_READ, speaker)
    introducing = {speaker for speaker in introducing if not speaker.is_waiting()}
    said = False
    while selector.get_map():
        if not introducing and not said:
            print("waiting", flush=True)
            said = True
        for key, _ in selector.select():
            speaker, served = key.data, key.fileobj
            assert isinstance(served, socket.socket)
            try:
                data = served.recv(PIECE)
            except OSError:
                data = b""
            if not data:
                selector.unregister(served)
                served.close()
                continue
            answer = speaker.received(data)
            if answer:
                served.sendall(answer)
            if introducing and speaker.is_waiting():
                introducing.discard(speaker)


def allow_files(number: int) -> None:
    """Let this process open so many files, if the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard), hard))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speaker")
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("arguments", nargs="*", help="for the speaker")
    chosen = parser.parse_args()
    module, _, name = chosen.speaker.partition(":")
    speaker = getattr(importlib.import_module(module), name)
    run(lambda: speaker(*chosen.arguments), chosen.port, chosen.count)


if __name__ == "__main__":
    main()
