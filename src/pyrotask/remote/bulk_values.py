"""The values of the bulk interface on the wire, in the broker: checked on the way in.

A payload is ``[format, [buffer, ...]]``; a result and a task are lists, as their functions
say. The worker's side of the same is `pyrotask.worker.running`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pyrotask.core.blocks import Block, in_blocks
from pyrotask.core.model import (
    FORMATS,
    NEW,
    SECOND,
    Cause,
    Delivered,
    Failure,
    Lease,
    Nanoseconds,
    Outcome,
    Payload,
    SessionId,
    State,
    Success,
    TaskNumber,
)
from pyrotask.core.selection import Selection, TaskInfo

if TYPE_CHECKING:
    from pyrotask.callers import Caller
    from pyrotask.core.recorder import Step
    from pyrotask.journal import Ticket

LONGEST_WAIT_S = 60.0
"""How long a call may wait: whoever asks tells that it lives at least that often."""

LONGEST_S = 1_000_000_000
"""The longest duration, some 30 years: in nanoseconds it still fits everywhere, on a worker's slate, too."""

MOST_MEASURED = 1000
"""Tags in one message of which it is said how long their tasks took: more would hold up everybody else."""

RELEASES = frozenset({Cause.RETURNED, Cause.DRAINED, Cause.NOT_BEGUN})
"""Why a worker may release what it holds. What became of a dead one is not for a worker to say."""

_BUFFERS = frozenset({bytes, Block})
"""What a buffer of a payload is when it was unpacked: a block, if a reference to it came."""

NOTHING = "nothing"
"""The reply of a call that waited in vain: not empty, since that would stand for a timeout."""


def or_nothing(step: Step) -> Step:
    """The step, with `NOTHING` instead of an empty reply."""
    return step if step.reply else step._replace(reply=NOTHING)


class PatientCaller:
    """A caller to whom a wait in vain is no error; nor are ``others``, if that is how it ends."""

    __slots__ = ("_caller", "_vain")

    def __init__(self, caller: Caller, *others: type[Exception]) -> None:
        self._caller = caller
        self._vain: tuple[type[Exception], ...] = (TimeoutError, *others)

    def answer(self, reply: Any, ticket: Ticket) -> None:
        """Pass the answer on."""
        self._caller.answer(NOTHING if isinstance(reply, self._vain) else reply, ticket)


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
            return NEW(Result, (number, tried, payload_from_wire(value), None, Cause.RETURNED))
        if kind == "error":
            error, traceback, type_names, message = rest
            names = tuple(map(str, type_names))
            failure = Failure(payload_from_wire(error), str(traceback), names, str(message))
            return Result(number, tried, failure=failure)
        if kind == "release":
            (cause,) = rest
            if Cause(cause) not in RELEASES:
                raise ValueError(f"{cause!r} is no cause of a release")
            return Result(number, tried, cause=Cause(cause))
    except (TypeError, ValueError) as error:
        raise ValueError(f"a result is not as it should be ({error})") from error
    raise ValueError(f"a result is a value, an error or a release, not {kind!r}")


def measurements_from_wire(ran: object) -> list[tuple[str, int, Nanoseconds]]:
    """Read how long tasks took: each ``[tag, tasks, seconds in all]``; None: that is not said.

    Of very many only the first are read: `MOST_MEASURED`.

    Raises:
        TypeError, ValueError: one of them is not that.
    """
    if ran is None:
        return []
    if not isinstance(ran, list | tuple):
        raise TypeError(f"ran must be a list, not {type(ran).__name__}")
    return [_measurement(one) for one in ran[:MOST_MEASURED]]


def _measurement(wire: Any) -> tuple[str, int, Nanoseconds]:
    try:
        tag, tasks, seconds = wire
        if tasks == 0:
            raise ValueError("0 tasks take no time")
        return text(tag, "the tag"), numbers(tasks, "tasks"), durations_ns(seconds, "seconds")
    except (TypeError, ValueError) as error:
        raise ValueError(f"a measurement is [tag, tasks, seconds] ({error})") from error


def task_to_wire(lease: Lease) -> list[Any]:
    """A task: ``[task, tag, attempt, payload, plain_answer, time_limit_s | None, [input, ...]]``."""
    task, tag, payload, attempt, options, inputs = lease
    limit_ns = options.time_limit_ns
    return [
        task,
        tag,
        attempt,
        payload_to_wire(payload),
        options.plain_answer,
        None if limit_ns is None else limit_ns / SECOND,
        [payload_to_wire(value) for value in inputs] if inputs else [],
    ]


def payload_to_wire(value: Payload) -> list[Any]:
    """A payload for the codec, which knows what becomes of a block. Reads the disk, if it is kept there."""
    return [value.format, value.to_send()]


def payload_from_wire(wire: Any) -> Payload:
    """Read a payload; its buffers are not looked into."""
    try:
        kind, buffers = wire
    except (TypeError, ValueError):
        raise ValueError("a payload is [format, [buffer, ...]]") from None
    if not isinstance(kind, str) or not _BUFFERS.issuperset(map(type, buffers)):
        raise ValueError("a payload is [format, [buffer, ...]], where the buffers are bytes")
    return NEW(Payload, (FORMATS.get(kind, kind), in_blocks(buffers)))


def tags_from_wire(tags: object) -> frozenset[str] | None:
    """Read tags; None stays None."""
    if tags is None:
        return None
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) and tag for tag in tags):
        raise TypeError(f"tags must be a list of texts or None, not {tags!r}")
    return frozenset(tags)


def numbers(value: object, what: str) -> int:
    """Read a number that counts something."""
    if type(value) is not int or value < 0:
        raise TypeError(f"{what} must be a number from 0 on, not {value!r}")
    return value


def durations_ns(seconds: object, what: str) -> Nanoseconds:
    """Read a duration in seconds."""
    if not isinstance(seconds, int | float) or not 0 < seconds <= LONGEST_S:
        raise ValueError(f"{what} must be greater than 0 s and at most {LONGEST_S} s, not {seconds!r}")
    return max(1, int(seconds * SECOND))


def wait_ns(timeout_s: object) -> Nanoseconds:
    """Read how long a call may wait: bounded, and 0 for not at all."""
    return 0 if timeout_s == 0 else min(durations_ns(timeout_s, "timeout_s"), int(LONGEST_WAIT_S * SECOND))


def text(value: object, what: str) -> str:
    """Read a text."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    return value


def nothing(_: object) -> None:
    """The reply to a call that has none."""
    return


# --- collecting, listing --------------------------------------------------------------------------


def delivery_to_wire(delivered: Delivered) -> list[Any]:
    """An answer: ``[delivery, task, tag, outcome]``.

    The outcome is ``["value", payload]``, ``["error", payload, traceback, type_names, message]``
    or ``["ended", cause, detail]``.
    """
    delivery, (task, tag, outcome) = delivered
    return [delivery, task, tag, outcome_to_wire(outcome)]


def outcome_to_wire(outcome: Outcome) -> list[Any]:
    """How a task ended, as `delivery_to_wire` says."""
    if isinstance(outcome, Success):
        return ["value", payload_to_wire(outcome.value)]
    failure = outcome.failure
    if failure is None:
        return ["ended", outcome.cause.value, outcome.detail]
    error, names = payload_to_wire(failure.error), list(failure.type_names)
    return ["error", error, failure.traceback, names, failure.message]


def selection_from_wire(which: object) -> Selection:
    """Read which tasks are meant: a dict of ``tasks``, ``keys``, ``states``, ``tag`` and ``session``.

    Raises:
        TypeError, ValueError: it is not that.
    """
    if not isinstance(which, dict):
        raise TypeError(f"a selection must be a dict, not {type(which).__name__}")
    said = {name: value for name, value in which.items() if value is not None}
    tasks, states = said.pop("tasks", None), said.pop("states", None)
    tag, session = said.pop("tag", None), said.pop("session", None)
    keys = said.pop("keys", None)
    if said:
        raise ValueError(f"a selection has tasks, keys, states, tag and session, but no {next(iter(said))!r}")
    return Selection(
        None if tasks is None else tuple(TaskNumber(numbers(task, "a task")) for task in tasks),
        None if states is None else frozenset(map(State, states)),
        None if tag is None else text(tag, "tag"),
        None if session is None else SessionId(numbers(session, "session")),
        None if keys is None else tuple(text(key, "a key") for key in keys),
    )


def info_to_wire(info: TaskInfo) -> dict[str, Any]:
    """All about a task; instants in seconds since 1970, in the broker's time."""
    ended = info.ended
    return {
        "task": info.number,
        "tag": info.tag,
        "state": info.state.value,
        "session": info.session,
        "key": info.key,
        "priority": info.priority,
        "attempt": info.attempt,
        "retries": info.retries,
        "crashes": info.crashes,
        "losses": info.losses,
        "story": [
            {
                "attempt": end.attempt,
                "process": end.process,
                "cause": end.cause.value,
                "detail": end.detail,
                "ended_at": end.ended_at / SECOND,
            }
            for end in info.story
        ],
        "process": info.process,
        "leased_at": None if info.leased_at is None else info.leased_at / SECOND,
        "due_at": None if info.due_at is None else info.due_at / SECOND,
        "unready_inputs": info.unready,
        "cause": None if ended is None else ended.cause.value,
        "detail": None if ended is None else ended.detail,
        "ended_at": None if ended is None else ended.ended_at / SECOND,
        "delivery": info.delivery.value,
    }
