"""What a submit returns: a real `concurrent.futures.Future` that knows its task."""

from __future__ import annotations

import logging
from _thread import RLock
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, Protocol

from pyrotask.client.waiting import Condition

log = logging.getLogger("pyrotask.client")

_CANCELLED = "CANCELLED"
"""`concurrent.futures`' name of the state from `cancel` on until the waiters have been told."""


class Owner(Protocol):
    """Who is to know when a future is cancelled, and knows whether it runs."""

    def cancelled(self, future: TaskFuture) -> object:
        """It was, just now."""

    def is_running(self, task: int) -> bool:
        """Whether a worker has the task of this number."""


class TaskFuture(Future[Any]):
    """The answer of a task, some day.

    All that the standard library does with futures works: ``wait``, ``as_completed``, callbacks
    (which run in a thread of the session: be quick there). Other than there, a call that runs can
    be cancelled, and one whose worker is lost waits again.

    Attributes:
        tag, key: as submitted.
        task: the task's number at the broker; None until it has been taken on there.
    """

    def __init__(self, tag: str, key: str | None = None, size: int = 0, owner: Owner | None = None) -> None:
        super().__init__()
        self._condition: Any = _LateCondition()
        self.tag = tag
        self.key = key
        self.task: int | None = None
        self.called: str | None = None
        """The name of the function, if it is a call of an Executor."""
        self.size = size
        """About how many bytes its submit has. For the session."""
        self.item: tuple[Any, ...] | None = None
        """Its place in a submit until it has been sent. For the session."""
        self.inputs: tuple[TaskFuture | int, ...] = ()
        """Whose values it needs, until it has been sent. For the session."""
        self.is_cancelled = False
        """As `cancelled`, but it takes no lock. For the session."""
        self._owner = owner

    def __repr__(self) -> str:
        number = "" if self.task is None else f"_{self.task}"
        what = f"task {self.tag}{number}" if self.called is None else f"call{number} of {self.called}"
        return f"<{what}: {self._state.lower().replace('_and_notified', '')}>"

    def cancel(self) -> bool:
        """Cancel the task, whether it waits or runs. False: its answer is there already.

        Returns at once; whoever runs it is told soon. Nobody else gets an answer from it either,
        not even with its key.
        """
        try:
            return super().cancel()
        finally:  # also if a callback raises SystemExit, or Ctrl-C comes
            self._see_cancellation_through()

    def running(self) -> bool:
        """Whether a worker has the task, to run it now or next.

        The broker is asked, at most ten times a second for a thousand futures: so it is true a moment
        late, and False for a broker that does not answer. Blocks for one question and its answer, some
        seconds at the very most.
        """
        owner, task = self._owner, self.task
        if owner is None or task is None or self.done():
            return False
        return owner.is_running(task) and not self.done()

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Give it its answer. Nothing happens if it was cancelled. Its callbacks run: see `tell`."""
        self._owner = None
        try:
            if error is None:
                self.set_result(value)
            else:
                self.set_exception(error)
        except InvalidStateError:
            self._see_cancellation_through()  # a Ctrl-C may have come in between

    def _see_cancellation_through(self) -> None:
        with self._condition:
            is_first = self._state == _CANCELLED
            if is_first:
                self.is_cancelled = True
                self.set_running_or_notify_cancel()  # `wait` and `as_completed` see it now
                self._condition.notify_all()  # once more, for the same reason
        if is_first:
            owner, self._owner = self._owner, None
            if owner is not None:
                owner.cancelled(self)


class _LateCondition(RLock):  # type: ignore[misc] # nobody says so, but it may be derived from
    """A condition, as the standard library's futures use it, that is made when somebody waits.

    A program may have a million futures, and waits for one after the other. A condition has 1,360 bytes
    in objects that the garbage collector goes through again and again; this one has 100.

    It is a lock itself: in a condition's own ``__enter__``, a Ctrl-C would leave the lock held for good, and
    whoever has the answer to give would wait for it for ever.
    """

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: Condition | None = None

    def wait(self, timeout: float | None = None) -> bool:
        if self._made is None:
            self._made = Condition(self)
        return self._made.wait(timeout)

    def notify_all(self) -> None:
        if self._made is not None:
            self._made.notify_all()
            self._made = None  # they refer to each other


def tell(future: TaskFuture, how: Callable[..., object], *args: object) -> None:
    """Settle or cancel it in a thread of the session, which goes on whatever a callback raises."""
    try:
        how(*args)
    except BaseException:  # of a callback: others wait for their answers, too
        log.critical("a callback of %r has raised", future, exc_info=True)


def end_all(futures: Sequence[TaskFuture], error: BaseException, *, cancel: bool) -> None:
    """Cancel them, or give each a copy of the error. What callbacks raise is raised when all are ended."""
    raised: BaseException | None = None
    for future in futures:
        try:
            _end(future, error, cancel=cancel)
        except BaseException as problem:  # noqa: BLE001 - it may be Ctrl-C, too: then it is not ended yet
            raised = problem
            _end(future, error, cancel=cancel)
    if raised is not None:
        raise raised


def _end(future: TaskFuture, error: BaseException, *, cancel: bool) -> None:
    if cancel:
        future.cancel()
    else:
        future.settle(None, copy_of(error))


def copy_of(error: BaseException) -> BaseException:
    """One for each who gets it: raising one object in several threads would mix up their tracebacks."""
    try:
        copy = type(error)(*error.args)
    except Exception:  # noqa: BLE001 - any class's constructor
        return error
    copy.__cause__ = error
    return copy
