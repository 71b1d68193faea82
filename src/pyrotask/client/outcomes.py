"""From what came over the wire to a value, or to the exception that a future raises."""

from __future__ import annotations

from typing import Any

from pyrotask import payload
from pyrotask.core.model import Cause, Ended, Failure, Payload
from pyrotask.errors import PayloadError, TaskRaisedException
from pyrotask.reference import exception_of

Outcome = list[Any]
"""``["value", payload]``, ``["error", payload, traceback, type_names, message]`` or ``["ended", cause,
detail]``: see docs/protocol.md."""


WITHDRAWN = ["ended", "cancelled", "withdrawn by its client"]
"""The outcome of a task that its own session has cancelled before it began."""


class RemoteTraceback(Exception):
    """Where a task raised: the text of the traceback at the worker. The cause of what a future raises."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}" if self.args else ""


def decoded(outcome: Outcome, tag: str, task: int) -> tuple[Any, BaseException | None]:
    """The value and None, or None and the exception. Raises nothing."""
    kind, *rest = outcome
    if kind == "value":
        return _value(rest[0])
    if kind == "error":
        return None, raised(rest, tag, task)
    cause, detail = rest
    return None, _ended(cause, f"task {tag}_{task}: {detail}" if detail else f"task {tag}_{task}")


def _value(wire: list[Any]) -> tuple[Any, BaseException | None]:
    kind, buffers = wire
    try:
        return payload.decode(Payload(kind, tuple(buffers))), None
    except PayloadError as error:
        return None, error


def raised(wire: list[Any], tag: str, task: int) -> BaseException:
    """What a task raised: of the payload, the traceback, the names of its types, and the message."""
    (kind, buffers), traceback, type_names, message = wire
    failure = Failure(Payload(kind, tuple(buffers)), traceback, tuple(type_names), message)
    error = payload.decode_error(failure)
    if not isinstance(error, BaseException):  # a plain client may hand in any object
        return TaskRaisedException(f"{tag}_{task}", tag, error, traceback)
    if traceback:
        error.__cause__ = RemoteTraceback(traceback)
    return error


def _ended(cause: str, detail: str) -> BaseException:
    error = exception_of(Ended(Cause(cause), detail))
    assert isinstance(error, BaseException)
    return error
