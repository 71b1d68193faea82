"""One task, from its payload to its result: whatever the task does, the worker lives on.

A result is as `remote.bulk_values` reads it. What a task's own code raises, or returns and
cannot travel, is an answer of the task, and no trouble of the worker: `SystemExit` and
`KeyboardInterrupt` among it.

The values of a task's inputs are not handed to its handler yet: nothing submits such tasks.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from types import CoroutineType
from typing import Any, NamedTuple, NoReturn

from pyrotask import payload
from pyrotask.core.model import Cause, Failure, Payload
from pyrotask.errors import PayloadError

Result = list[Any]


class Assigned(NamedTuple):
    """A task that this worker may run."""

    task: int
    tag: str
    attempt: int
    payload: Payload
    plain_answer: bool
    """The result must be a plain value: a plain Pyro proxy waits for it."""
    time_limit_s: float | None

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Assigned:
        """Read a task as the broker sends it."""
        task, tag, attempt, (kind, buffers), plain_answer, time_limit_s, *_inputs = wire
        return cls(task, tag, attempt, Payload(kind, tuple(buffers)), plain_answer, time_limit_s)

    @property
    def id(self) -> str:
        """The task's id, as its submitter knows it."""
        return f"{self.tag}_{self.task}"


def run(
    task: Assigned, handlers: Mapping[str, Callable[..., Any]], keep: payload.Keep | None = None
) -> Result:
    """Run the task, and return its result for the wire. Raises nothing that the task raises.

    A process that the task forks does not return from here: it ends, as at the end of a script.

    ``keep``: where large buffers of it go; see `payload.encode`.
    """
    worker = os.getpid()
    try:
        handler = handlers[task.tag]
        parameters = payload.decode(task.payload)
        value = _call(handler, parameters)
        if os.getpid() != worker:
            _end_forked(None)
        encoded = payload.encode_plain(value, "result") if task.plain_answer else payload.encode(value, keep)
    except BaseException as error:  # noqa: BLE001 - the task's code may raise anything
        if os.getpid() != worker:
            _end_forked(error)
        return _failure_to_wire(task.task, task.attempt, _told(error))
    return [task.task, task.attempt, "value", [encoded.format, list(encoded.buffers)]]


def not_begun(task: Assigned) -> Result:
    """What to hand in for a task that others may run."""
    return [task.task, task.attempt, "release", Cause.NOT_BEGUN.value]


def too_large(result: Result, size: int, limit: int) -> Result:
    """The result to hand in instead of one that no message can carry."""
    return not_handed_in(
        result,
        f"it has {size:,} bytes, and a message may have {limit:,} here, or fewer at the broker. Write it to "
        "a file and return its name, return less, or raise max_message_bytes for the broker and its workers",
    )


def not_handed_in(result: Result, reason: str) -> Result:
    """The result to hand in instead of one that the broker does not take."""
    task, attempt = result[:2]
    error = PayloadError(f"the result of task {task} could not be handed in: {reason}")
    return _failure_to_wire(task, attempt, payload.encode_error(error))


def size_of(result: Result) -> int:
    """About how many bytes the result has in a message."""
    if result[2] == "release":
        return 0
    return sum(map(len, result[3][1])) + sum(len(part) for part in result[4:] if isinstance(part, str))


def _call(handler: Callable[..., Any], parameters: Any) -> Any:
    # Exactly a tuple: a named tuple, say, is one value of its own.
    value = handler(*parameters) if type(parameters) is tuple else handler(parameters)
    return _awaited(value) if type(value) is CoroutineType else value


def _awaited(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    import asyncio  # noqa: PLC0415 - it takes 50 ms, and few workers need it

    return asyncio.run(coroutine)


def _end_forked(error: BaseException | None) -> NoReturn:
    """End a copy of this worker that the task has made: a second one, over the same connection."""
    code = 0
    try:
        if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
            code = error.code or 0
        elif error is not None:
            code = 1
            told = f"{error.code}\n" if isinstance(error, SystemExit) else _told(error).traceback
            sys.stderr.write(told)
        flush_printed()
    finally:
        os._exit(code & 0xFF)


def flush_printed() -> None:
    """Pass on what was printed, as far as a task has left anything to print to."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or none
            stream.flush()


def _told(error: BaseException) -> Failure:
    try:
        return payload.encode_error(_from_the_tasks_code(error))
    except BaseException:  # noqa: BLE001 - the exception's own code may raise anything, too
        name = type.__getattribute__(type(error), "__qualname__")
        return payload.encode_error(
            PayloadError(f"{name}, which the task raised, cannot be told: it raises itself")
        )


def _from_the_tasks_code(error: BaseException) -> BaseException:
    """The exception, its traceback without the frames of this file, if anything is left then."""
    outermost = error.__traceback__
    while outermost is not None and outermost.tb_frame.f_code.co_filename == __file__:
        outermost = outermost.tb_next
    return error if outermost is None else error.with_traceback(outermost)


def _failure_to_wire(task: int, attempt: int, failure: Failure) -> Result:
    error = [failure.error.format, list(failure.error.buffers)]
    return [task, attempt, "error", error, failure.traceback, list(failure.type_names), failure.message]
