"""The bulk calls against an engine, done as the event loop does them."""

from __future__ import annotations

from typing import Any

from pyrotask.core.machine import Parked
from pyrotask.core.model import ConnectionId
from pyrotask.engine import Engine
from pyrotask.journal import Ticket
from pyrotask.reference import Origin, Request
from pyrotask.remote import bulk

VALUE = ["plain", [b"\x01"]]
OTHER_VALUE = ["plain", [b"\x02"]]
ERROR = ["pickle", [b"\x03"]]


class Waiting:
    """A caller whose connection waits; `reply` is what it was told, presented as for the wire."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.replies: list[Any] = []

    def answer(self, reply: Any, ticket: Ticket) -> None:
        self.replies.append(reply)

    @property
    def reply(self) -> Any:
        (reply,) = self.replies
        if isinstance(reply, Exception):
            raise reply
        return self._request.present(reply)


class Client:
    """One connection to an engine, served as `server` serves it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.connection: ConnectionId = engine.connect()

    def call(self, name: str, *args: Any) -> Any:
        request = bulk.service("run 7")[name](Origin(self.connection, None), *args)
        caller = Waiting(request) if request.blocks and request.timeout != 0 else None
        done = self._engine.execute(lambda m, now: request.command(m, now, caller))
        if isinstance(done.reply, Parked):
            return caller
        if isinstance(done.reply, Exception):
            raise done.reply
        return request.present(done.reply)


class Worker:
    """Does what it is given, by a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._client = Client(engine)
        self.process = self._client.call("register_worker", None, None, "here", None)

    def take(self, count: int = 100) -> list[Any]:
        return list(self._client.call("exchange", self.process, [], None, count, 0)["tasks"])

    def ask(self) -> dict[str, Any]:
        return dict(self._client.call("exchange", self.process, [], None, 1, 0))

    def hand_in(self, *results: list[Any]) -> dict[str, Any]:
        return dict(self._client.call("exchange", self.process, list(results), None, 0, 0))

    def succeed(self) -> None:
        self.hand_in(*([task, attempt, "value", OTHER_VALUE] for task, _, attempt, *_ in self.take()))

    def fail(self) -> None:
        self.hand_in(
            *(
                [task, attempt, "error", ERROR, "Traceback", ["ValueError"], "bad luck"]
                for task, _, attempt, *_ in self.take()
            )
        )


def submit(client: Client, session: int, sequence: int = 1, count: int = 1, **options: Any) -> list[int]:
    items = [["a", VALUE, options]] * count
    return list(client.call("submit", session, sequence, sequence - 1, items))


def collect(client: Client, session: int, taken_over: int = 0, count: int = 100) -> list[Any]:
    return list(client.call("collect", session, taken_over, count, 0)["deliveries"])
