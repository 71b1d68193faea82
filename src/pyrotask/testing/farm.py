"""`Farm`: a broker and workers for one test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Self

from pyrotask.config import Settings
from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager
from pyrotask.testing.worker import END_S, Worker, WorkerThread
from pyrotask.worker.handlers import Handlers

HandlersOf = ModuleType | str | Mapping[str, Callable[..., Any]]
"""A module with handlers, its name or file, or functions by tag."""

PATIENCE_S = 10.0
"""How long `Farm.run` waits for tasks that are to come."""


class Farm:
    """A broker in memory, and workers in this process: for a test.

    The workers run the functions of Executors, and the handlers that they are given. They see what the
    test has patched, and the test sees what they have changed. Since they are threads and no
    processes, time limits end nothing, and to cancel a call that runs does not stop it.

    Args:
        handlers: a module with handlers, as for `pyrotask worker --module`, or functions by tag.
        workers: how many threads run tasks. 0: tasks run when the test calls `run`, in its own thread.
        label: what programs of this user find it by (a connection file is written);
            None: by its `address` only.
        settings: bounds and periods; None: `Settings.load()`.

    Raises:
        HandlerError: the module is not there, or cannot be imported, or has no handlers.
    """

    def __init__(
        self,
        handlers: HandlersOf | None = None,
        *,
        workers: int = 1,
        label: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        if workers < 0:
            raise ValueError(f"workers must be 0 or more, not {workers}")
        chosen = settings or Settings.load()
        known = _handlers(handlers)
        self.task_manager = TaskManager(chosen)
        """The broker's reference API, in this process."""
        self._server = Server(
            self.task_manager,
            label or "a test",
            name_server="off",
            connection_file=label is not None,
        )
        self._threads: list[WorkerThread] = []
        self._inline: Worker | None = None
        try:
            self._server.start()
            for _ in range(workers):
                self._threads.append(WorkerThread(self.address, known, chosen))
            if not workers:
                self._inline = Worker(self.address, known, chosen)
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """Where it is: for `pyrotask.connect`, `Session`, `Executor` and their like."""
        return self._server.address

    def run(self, count: int | None = None, timeout_s: float = PATIENCE_S) -> int:
        """Run tasks in this thread, one after the other; for a farm with ``workers=0``. Returns how many.

        Args:
            count: so many, and wait for them: what a Session or an Executor has submitted is on its
                way for a moment. None: those that wait now, and those that come by running them.
            timeout_s: how long to wait for each.

        Raises:
            TimeoutError: fewer came.
            RuntimeError: the farm has worker threads.
        """
        if self._inline is None:
            raise RuntimeError(
                "the tasks of this farm are run by its worker threads: for `run`, make it with workers=0"
            )
        done = 0
        while count is None or done < count:
            if not self._inline.run_one(0.0 if count is None else timeout_s):
                if count is None:
                    break
                raise TimeoutError(f"{done} of {count} tasks came; none more within {timeout_s} s")
            done += 1
        return done

    def close(self) -> None:
        """Terminate the task manager: who still waits is told. End the workers and the broker. Idempotent.

        Raises:
            RuntimeError: a handler still runs, `END_S` later.
        """
        self.task_manager.terminate()
        at_work = [tag for thread in self._threads if (tag := thread.stop()) is not None]
        if self._inline is not None:
            self._inline.close()
        self._server.stop()
        self.task_manager.close()
        if at_work:
            raise RuntimeError(
                f"the handler of tag {at_work[0]!r} still runs, {END_S:.0f} s after the end of the test"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _handlers(source: HandlersOf | None) -> Handlers:
    if source is None:
        return Handlers({})
    if isinstance(source, str):
        return Handlers.of_module(source)
    if isinstance(source, ModuleType):
        return Handlers.of_namespace(vars(source), f"module {source.__name__}")
    return Handlers(source)
