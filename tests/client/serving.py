"""What the tests of clients share: a broker on a loopback port, and a worker that does what it is told."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from pyrotask.config import Settings
from pyrotask.core.model import Payload
from pyrotask.errors import PyrotaskError
from pyrotask.payload import decode, encode, encode_error
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager

PATIENCE_S = 30.0
"""Longer than anything takes that does not hang."""


@contextlib.contextmanager
def serving(settings: Settings | None = None, **options: Any) -> Iterator[Server]:
    """A server that is found by its address only."""
    with (
        TaskManager(settings or Settings()) as task_manager,
        Server(task_manager, "clients", name_server="off", connection_file=False, **options) as server,
    ):
        yield server


class HandWorker:
    """A worker in the test's hands: it leases and answers when it is told to."""

    def __init__(self, where: str) -> None:
        self._proxy = BulkProxy(where)
        self.process = int(self._proxy.call("register_worker", None, None, "by hand", None))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._proxy.close()

    def take(self, count: int = 100, wait_s: float = PATIENCE_S) -> list[list[Any]]:
        """Lease tasks: waits for the first."""
        return list(
            self._proxy.call("exchange", self.process, [], None, count, wait_s, timeout_s=90)["tasks"]
        )

    def answer(self, task: list[Any], value: object) -> None:
        """Hand in a value."""
        self.hand_in([task[0], task[2], "value", _wire(encode(value))])

    def fail(self, task: list[Any], error: BaseException) -> None:
        """Hand in an exception."""
        failure = encode_error(error)
        told = [_wire(failure.error), failure.traceback, list(failure.type_names), failure.message]
        self.hand_in([task[0], task[2], "error", *told])

    def hand_in(self, *results: list[Any]) -> None:
        """Hand in results as they are on the wire."""
        refused = self._proxy.call("exchange", self.process, list(results), None, 0, 0)["refused"]
        assert not refused, refused

    def in_vain(self) -> list[Any]:
        """What it is told to have in vain."""
        return list(self._proxy.call("exchange", self.process, [], None, 1, 0).get("ended", []))


class ThreadWorker(HandWorker):
    """A worker in a thread: it runs what comes, until the block is left."""

    def __init__(self, where: str, handlers: Mapping[str, Callable[..., Any]], at_once: int = 64) -> None:
        super().__init__(where)
        self._handlers = handlers
        self._at_once = at_once
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._proxy.interrupt()
        self._thread.join(PATIENCE_S)
        super().__exit__()

    def _run(self) -> None:
        results: list[list[Any]] = []
        with contextlib.suppress(PyrotaskError):
            while not self._ending.is_set():
                reply = self._proxy.call(
                    "exchange", self.process, results, None, self._at_once, 60.0, timeout_s=90
                )
                results = [self._result(*task[:4]) for task in reply["tasks"]]

    def _result(self, task: int, tag: str, attempt: int, wire: list[Any]) -> list[Any]:
        try:
            parameters = decode(Payload(wire[0], tuple(wire[1])))
            value = encode(self._handlers[tag](*parameters))
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its answer
            failure = encode_error(error)
            told = [_wire(failure.error), failure.traceback, list(failure.type_names), failure.message]
            return [task, attempt, "error", *told]
        return [task, attempt, "value", _wire(value)]


def _wire(payload: Payload) -> list[Any]:
    return [payload.format, list(payload.buffers)]
