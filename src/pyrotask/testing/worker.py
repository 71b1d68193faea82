"""A worker that runs tasks in the process of a test: in a thread, or where the test says so."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Any

from pyrotask.config import Settings
from pyrotask.errors import ConnectError, TaskManagerTermination
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.worker import running
from pyrotask.worker.functions import Functions, fetcher
from pyrotask.worker.handlers import Handlers

log = logging.getLogger("pyrotask.testing")

WAIT_S = 60.0
"""How long a thread waits for a task before it asks again."""

END_S = 10.0
"""How long a handler may go on after the end of the test."""


class Worker:
    """Leases one task at a time, and runs it. Not thread-safe.

    Args:
        where: the broker's address.
        handlers: what it can do, besides the functions of Executors.
        settings: bounds and periods.
    """

    def __init__(self, where: str, handlers: Handlers, settings: Settings) -> None:
        of_executors = Functions(fetcher(where, settings)).handlers()
        self._handlers = Handlers({**handlers, **of_executors})
        self.broker = BulkProxy(where, settings)
        try:
            about = "a worker of a test"
            self._process = self.broker.call("register_worker", None, None, about, sorted(self._handlers))
        except BaseException:
            self.broker.close()
            raise
        self.tag: str | None = None
        """Of the task that runs now."""

    def run_one(self, wait_s: float) -> bool:
        """Wait for a task and run it. False: there was none.

        Raises:
            TaskManagerTermination, ConnectError: there will be none any more.
        """
        tasks = self._exchange([], count=1, wait_s=wait_s)
        for task in map(running.Assigned.from_wire, tasks):
            self.tag = task.tag
            self._exchange([running.run(task, self._handlers)], count=0, wait_s=0.0)
            self.tag = None
        return bool(tasks)

    def close(self) -> None:
        """Disconnect. Idempotent."""
        self.broker.close()

    def _exchange(self, results: list[running.Result], *, count: int, wait_s: float) -> list[Any]:
        arguments = (self._process, results, None, count, wait_s)
        reply = self.broker.call("exchange", *arguments, timeout_s=wait_s + WAIT_S)
        for task, why in reply["refused"]:
            log.warning("the result of task %s was refused: %s", task, why)
        return list(reply["tasks"])


class WorkerThread:
    """A `Worker` at work in a thread, until it is stopped. The arguments are those of `Worker`."""

    def __init__(self, where: str, handlers: Handlers, settings: Settings) -> None:
        self._worker = Worker(where, handlers, settings)
        self._thread = threading.Thread(target=self._work, name="pyrotask-test-worker", daemon=True)
        self._thread.start()

    def stop(self) -> str | None:
        """End it: a task that runs may go on for `END_S`. Returns the tag of one that still does."""
        give_up_at = time.monotonic() + END_S
        while self._thread.is_alive() and time.monotonic() < give_up_at:
            if self._worker.tag is None:
                self._worker.broker.interrupt()
            self._thread.join(0.05)
        return self._worker.tag if self._thread.is_alive() else None

    def _work(self) -> None:
        with contextlib.suppress(TaskManagerTermination, ConnectError):
            while True:
                self._worker.run_one(WAIT_S)
        self._worker.close()
