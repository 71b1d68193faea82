"""A master whose tasks have keys, and that notes each answer in a file. It is killed, and run again.

    python -m tests.recovery.keyed_master WHERE FILE COUNT

Each run submits what the file has no answer for, under the same keys as before, in a session of
its own: it gets the answers that exist, and the rest is computed. It ends when the file has
all. A line of the file is ``session NUMBER`` for each run, or ``answer INDEX VALUE``.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path
from typing import Any

from pyrotask import payload
from pyrotask.core.model import Payload
from pyrotask.errors import ConnectError, Refused
from pyrotask.remote.bulk_proxy import BulkProxy

TAG = "keyed"
AT_ONCE = 20
WINDOW = 100
"""Tasks that are submitted before their answers are collected."""


class Notes:
    """The file of such a master. What was written before a kill is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.sessions: list[int] = []
        self.answers: dict[int, list[Any]] = {}
        self.problems: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            kind, number, *rest = line.split(" ", 2)
            if kind == "session":
                self.sessions.append(int(number))
            elif int(number) in self.answers:
                self.problems.append(f"key {number} was answered twice")
            else:
                self.answers[int(number)] = json.loads(rest[0])

    def add(self, line: str) -> None:
        """Write a line, as a whole."""
        with self._path.open("ab", buffering=0) as file:
            file.write(f"{line}\n".encode())


class Client:
    """A session of its own, in which each call is repeated until it is answered."""

    def __init__(self, where: str) -> None:
        self._way = BulkProxy(where, connect=False)
        self._sequence = 0
        self._received = 0
        self.session: int = self.answered("open_session", f"keyed {uuid.uuid4()}")

    def answered(self, method: str, *arguments: object) -> Any:
        """The reply, however often the connection breaks."""
        while True:
            try:
                return self._way.call(method, *arguments)
            except ConnectError:
                self._way.reconnect()

    def submit(self, indices: list[int]) -> list[int]:
        """Submit the tasks of these indices, each under its key; their numbers."""
        self._sequence += 1
        items = [[TAG, _parameters(index), {"key": f"key {index}"}] for index in indices]
        numbers: list[int] = self.answered("submit", self.session, self._sequence, self._sequence - 1, items)
        return numbers

    def collect(self) -> list[tuple[int, list[Any]]]:
        """Answers: the number of the task, and the value. What came before is taken over."""
        try:
            reply = self.answered("collect", self.session, self._received, 100, 0.5)
        except Refused:  # an earlier call of ours came in later than this one
            return []
        answers = []
        for delivery, task, _, outcome in reply["deliveries"]:
            self._received = delivery
            kind, buffers = outcome[1]
            answers.append((task, payload.decode(Payload(kind, tuple(buffers)))))
        return answers

    def answers_of(self, indices: list[int]) -> dict[int, list[Any]]:
        """Submit them, and wait for all their answers."""
        index_of = dict(zip(self.submit(indices), indices, strict=True))
        answers: dict[int, list[Any]] = {}
        while len(answers) < len(indices):
            answers.update((index_of[task], value) for task, value in self.collect())
        self.collect()
        return answers

    def close(self) -> None:
        """Close the connection; the session stays open."""
        self._way.close()


def _parameters(index: int) -> list[Any]:
    encoded = payload.encode((TAG, index, 0.01, ""))
    return [encoded.format, list(encoded.buffers)]


def main(where: str, path: Path, count: int) -> None:
    """Have the answers of all keys in the file."""
    notes = Notes(path)
    client = Client(where)
    notes.add(f"session {client.session}")
    left = [index for index in range(count) if index not in notes.answers]
    for start in range(0, len(left), WINDOW):
        index_of: dict[int, int] = {}
        window = left[start : start + WINDOW]
        for first in range(0, len(window), AT_ONCE):
            some = window[first : first + AT_ONCE]
            index_of.update(zip(client.submit(some), some, strict=True))
        while index_of:
            for task, value in client.collect():
                notes.add(f"answer {index_of.pop(task)} {json.dumps(value)}")
    client.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
