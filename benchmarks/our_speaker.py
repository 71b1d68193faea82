"""A worker of a swarm of pyrotask's, see `swarm`: it says what docs/protocol.md lets a worker say."""

from __future__ import annotations

import time
from typing import Any

from benchmarks import tasks
from benchmarks.pyro_speaker import PyroSpeaker
from pyrotask import payload
from pyrotask.core.model import Payload
from pyrotask.remote.bulk import OBJECT_ID

LONGEST_WAIT_S = 60


class Speaker(PyroSpeaker):
    """Hands in results, tells how long they took, and takes the next tasks, in one call.

    Args:
        at_once: so many tasks at most.
    """

    def __init__(self, at_once: str) -> None:
        super().__init__(OBJECT_ID, "msgpack")
        self._at_once = int(at_once)
        self._process: int | None = None

    def is_waiting(self) -> bool:
        return self._process is not None

    def connected(self) -> tuple[str, tuple[Any, ...]]:
        return "register_worker", (None, None, "benchmark", ["noop"])

    def answered(self, value: Any) -> tuple[str, tuple[Any, ...]]:
        if self._process is None:
            self._process = value
            return "exchange", (self._process, [], None, self._at_once, LONGEST_WAIT_S)
        tasks, began = value["tasks"], time.perf_counter()
        results = [_done(task) for task in tasks]
        ran = [("noop", len(tasks), time.perf_counter() - began)] if tasks else []
        return "exchange", (self._process, results, None, self._at_once, LONGEST_WAIT_S, ran)


def _done(task: list[Any]) -> list[Any]:
    number, tag, attempt, (kind, buffers), *_ = task
    value = tasks.FUNCTIONS[tag](*payload.decode(Payload(kind, tuple(buffers))))
    encoded = payload.encode(value)
    return [number, attempt, "value", [encoded.format, list(encoded.buffers)]]
