"""Every error that pyrotask raises, as one tree.

An error's class says whose fault it is and whether trying again can help; its text says
what went wrong, with which object, and what to do next. Nothing here imports anything.

    PyrotaskError
    ├── TaskRaisedException         the task's own code raised; collected like a result
    ├── TaskManagerTermination      terminate() was called: there is nothing more to wait for
    ├── Refused                     your call was refused, and nothing was changed
    │   ├── UnknownProcess, UnknownTask, UnknownLabel, UnknownSession   (also KeyError)
    │   ├── SessionExpired          the session was open, and has ended (an UnknownSession)
    │   ├── KeyConflict             that key belongs to a task with another tag or payload
    │   ├── NotHolder               the lease is somebody else's by now
    │   ├── QueueFull               the bound on waiting tasks is reached; later is fine
    │   └── PayloadError            a value cannot travel this way (also ValueError)
    ├── TaskEnded                   why a task ended without an answer of its own
    │   ├── TaskCancelled, WorkerCrashed, WorkerLost, TimeLimitExceeded, InputFailed
    ├── ConnectError                there is no way to the broker (also ConnectionError)
    │   ├── BrokerNotFound, NameServerNotFound, LabelHeld, AddressInUse
    │   └── AuthenticationFailed, KeyRequired, VersionMismatch
    ├── HandlerError                the worker's own set-up: module or handler not found
    └── BrokerBroken                an invariant broke: the broker stopped itself

A timeout is the built-in ``TimeoutError``; an argument of a wrong type or value is the
built-in ``TypeError`` or ``ValueError``.
"""

from __future__ import annotations

from typing import Any


class PyrotaskError(Exception):
    """The base of all errors of this package."""

    def __str__(self) -> str:
        # KeyError would show its argument's repr; a sentence is for reading.
        return self.args[0] if len(self.args) == 1 and isinstance(self.args[0], str) else super().__str__()


class TaskRaisedException(PyrotaskError):
    """A task ended with an exception, and this is its answer.

    Raised where the result would have been returned; the task is collected by that.

    Attributes:
        task_id: the task's id, ``"tag_N"``.
        tag: the task's tag.
        exception: what the task raised, as far as it could travel; a ``TaskEnded`` when the
            task was cancelled, crashed its workers, or was lost too often.
        traceback: the remote traceback as text, possibly empty.
    """

    def __init__(self, task_id: str, tag: str, exception: Any, traceback: str = "") -> None:
        super().__init__(task_id, tag, exception, traceback)
        self.task_id = task_id
        self.tag = tag
        self.exception = exception
        self.traceback = traceback

    def __str__(self) -> str:
        kind = type(self.exception).__name__
        tail = f"\n{self.traceback}" if self.traceback else ""
        return f"task {self.task_id} raised {kind}: {self.exception}{tail}"


class TaskManagerTermination(PyrotaskError):
    """The task manager was terminated: no more tasks or results will come."""

    def __init__(self, message: str = "the task manager has been terminated") -> None:
        super().__init__(message)


class Refused(PyrotaskError):
    """A call was refused, and nothing was changed by it."""


class UnknownProcess(Refused, KeyError):
    """No process of that number is registered (any more)."""


class UnknownTask(Refused, KeyError):
    """No task of that id was ever given out."""


class UnknownLabel(Refused, KeyError):
    """No data is stored under that label."""


class UnknownSession(Refused, KeyError):
    """No session of that name is open."""


class SessionExpired(UnknownSession):
    """The session has ended: it was closed, or nothing was heard in it for too long."""


class KeyConflict(Refused):
    """A task with that key is there already, and its tag or payload is another one."""


class NotHolder(Refused):
    """The task is not leased to the caller, or not any more."""


class QueueFull(Refused):
    """The bound on waiting tasks is reached. Submit again when some are done."""


class PayloadError(Refused, ValueError):
    """A value cannot be encoded, or not be read by this kind of client."""


class TaskEnded(PyrotaskError):
    """A task ended without an answer of its own; the subclass says why."""


class TaskCancelled(TaskEnded):
    """The task was cancelled."""


class WorkerCrashed(TaskEnded):
    """The workers that ran the task died of it, up to the bound on crashes."""


class WorkerLost(TaskEnded):
    """The workers that held the task were lost, up to the bound on losses."""


class TimeLimitExceeded(TaskEnded):
    """The task ran longer than the limit it was submitted with."""


class InputFailed(TaskEnded):
    """A task that this one waits for ended without a result."""


class ConnectError(PyrotaskError, ConnectionError):
    """There is no way to the broker; the subclass says why."""


class BrokerNotFound(ConnectError):
    """No broker answers under that label or address."""


class NameServerNotFound(ConnectError):
    """No Pyro name server answers."""


class LabelHeld(ConnectError):
    """A live broker holds that label already."""


class AddressInUse(ConnectError):
    """Another program listens on that port."""


class AuthenticationFailed(ConnectError):
    """The key or token was not accepted."""


class KeyRequired(ConnectError):
    """A public address is served only with a key."""


class VersionMismatch(ConnectError):
    """The two sides speak versions that do not work together."""


class HandlerError(PyrotaskError):
    """A worker cannot be set up: its module or a handler is missing or wrong."""


class BrokerBroken(PyrotaskError):
    """An invariant of the broker broke. It has stopped, since it cannot be trusted any more."""
