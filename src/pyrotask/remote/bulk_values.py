"""The values of the bulk interface on the wire, in the broker: checked on the way in.

A payload is ``[format, [buffer, ...]]``; a result and a task are lists, as their functions
say. The worker's side of the same is `pyrotask.worker.running`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from pyrotask.core.model import SECOND, Cause, Failure, Lease, Nanoseconds, Payload, TaskNumber


class Result(NamedTuple):
    """How an attempt went: with a value, with a failure, or (with neither) it was released."""

    task: TaskNumber
    attempt: int
    value: Payload | None = None
    failure: Failure | None = None
    cause: Cause = Cause.RETURNED


def results_from_wire(results: object) -> list[Result]:
    """Read what a worker hands in.

    Each is ``[task, attempt, "value", payload]``, ``[task, attempt, "error", payload,
    traceback, type_names, message]``, or ``[task, attempt, "release", cause name]``.

    Raises:
        TypeError, ValueError: one of them is none of these; nothing was taken.
    """
    if not isinstance(results, list | tuple):
        raise TypeError(f"results must be a list, not {type(results).__name__}")
    return [_result(result) for result in results]


def _result(wire: Any) -> Result:
    try:
        task, attempt, kind, *rest = wire
        number, tried = TaskNumber(numbers(task, "task")), numbers(attempt, "attempt")
        if kind == "value":
            (value,) = rest
            return Result(number, tried, value=payload_from_wire(value))
        if kind == "error":
            error, traceback, type_names, message = rest
            names = tuple(map(str, type_names))
            failure = Failure(payload_from_wire(error), str(traceback), names, str(message))
            return Result(number, tried, failure=failure)
        if kind == "release":
            (cause,) = rest
            return Result(number, tried, cause=Cause(cause))
    except (TypeError, ValueError) as error:
        raise ValueError(f"a result is not as it should be ({error})") from error
    raise ValueError(f"a result is a value, an error or a release, not {kind!r}")


def task_to_wire(lease: Lease) -> list[Any]:
    """A task: ``[task, tag, attempt, payload, plain_answer, time_limit_s | None, [input, ...]]``."""
    limit_ns = lease.options.time_limit_ns
    return [
        lease.task,
        lease.tag,
        lease.attempt,
        payload_to_wire(lease.payload),
        lease.options.plain_answer,
        None if limit_ns is None else limit_ns / SECOND,
        [payload_to_wire(value) for value in lease.inputs],
    ]


def payload_to_wire(value: Payload) -> list[Any]:
    """A payload as msgpack carries it."""
    return [value.format, list(value.buffers)]


def payload_from_wire(wire: Any) -> Payload:
    """Read a payload; its buffers are not looked into."""
    try:
        kind, buffers = wire
    except (TypeError, ValueError):
        raise ValueError("a payload is [format, [buffer, ...]]") from None
    if not isinstance(kind, str) or not all(type(buffer) is bytes for buffer in buffers):
        raise ValueError("a payload is [format, [buffer, ...]], where the buffers are bytes")
    return Payload(kind, tuple(buffers))


def tags_from_wire(tags: object) -> frozenset[str] | None:
    """Read tags; None stays None."""
    if tags is None:
        return None
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) and tag for tag in tags):
        raise TypeError(f"tags must be a list of texts or None, not {tags!r}")
    return frozenset(tags)


def numbers(value: object, what: str) -> int:
    """Read a number that counts something."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{what} must be a number from 0 on, not {value!r}")
    return value


def durations_ns(seconds: object, what: str) -> Nanoseconds:
    """Read a duration in seconds."""
    if not isinstance(seconds, int | float) or not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"{what} must be a finite number of seconds greater than 0, not {seconds!r}")
    return max(1, int(seconds * SECOND))
