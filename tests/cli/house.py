"""A broker with a session and somebody who does its tasks, by bulk calls: what commands look at."""

from __future__ import annotations

from typing import Any, Self

from pyrotask import Server, payload
from pyrotask.core.model import Payload
from pyrotask.remote.bulk_proxy import BulkProxy

LABEL = "pi"


class House:
    """A served broker; ``with`` it."""

    def __init__(self) -> None:
        self.server = Server(label=LABEL, name_server="off")

    def __enter__(self) -> Self:
        self.server.__enter__()
        self.client = BulkProxy(LABEL)
        self.session = int(self.client.call("open_session", "friday"))
        self.worker = BulkProxy(LABEL)
        self.process = self.worker.call("register_worker", None, None, "node 7", None)
        self._sequence = 0
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.close()
        self.worker.close()
        self.server.__exit__(None, None, None)

    def submit(self, tag: str = "sqrt", count: int = 1, **options: Any) -> list[int]:
        """Submit tasks in the session."""
        self._sequence += 1
        item = [tag, wire(payload.encode((2.0,))), options]
        numbers: list[int] = self.client.call(
            "submit", self.session, self._sequence, self._sequence - 1, [item] * count
        )
        return numbers

    def take(self, count: int = 100) -> list[list[Any]]:
        """Lease tasks, without doing them; waits for the first."""
        leased: list[list[Any]] = self.worker.call("exchange", self.process, [], None, count, 20)["tasks"]
        return leased

    def hand_in(self, *results: list[Any]) -> None:
        """Hand results in."""
        self.worker.call("exchange", self.process, list(results), None, 0, 0)

    def succeed(self, value: object = 1.5) -> None:
        """Do all that wait, with this value."""
        encoded = wire(payload.encode(value))
        self.hand_in(*([task, attempt, "value", encoded] for task, _, attempt, *_ in self.take()))

    def fail(self, error: Exception) -> None:
        """Have all that wait raise this."""
        told = payload.encode_error(error)
        rest = [wire(told.error), "Traceback of node 7\n  ...", list(told.type_names), told.message]
        self.hand_in(*([task, attempt, "error", *rest] for task, _, attempt, *_ in self.take()))

    def crash(self, detail: str) -> None:
        """Have the worker die of the next task; another takes its place."""
        begun = [[task, attempt] for task, _, attempt, *_ in self.take(1)]
        self.worker.call("child_exited", self.process, begun, detail)
        self.process = self.worker.call("register_worker", None, None, "node 7", None)

    def state_of(self, task: int) -> str:
        """What the broker says."""
        return str(self.client.call("task", task)["state"])

    def to_collect(self) -> int:
        """How many answers the session has, handed out or not."""
        (facts,) = self.client.call("sessions", "friday")
        return int(facts["answers"] + facts["handed_out"])


def wire(value: Payload) -> list[Any]:
    """A payload as msgpack carries it."""
    return [value.format, list(value.read())]
