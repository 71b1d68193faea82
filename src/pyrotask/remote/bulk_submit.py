"""What clients submit over the bulk interface: tasks and their options, checked on the way in.

An option's name says its unit, and what is not said is as in `pyrotask.core.model.Options`. To
add one, give it a line in `option_readers`, and in docs/protocol.md.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pyrotask.core.model import DEFAULT_OPTIONS, NEW, Nanoseconds, NewTask, Options, RetryPolicy, TaskNumber
from pyrotask.remote.bulk_values import durations_ns, numbers, payload_from_wire, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyrotask.core.machine import Machine

MOST_ITEMS = 10_000
"""Tasks in one submit: more would hold up everybody else."""


class KnownKey(NamedTuple):
    """Instead of a task: the one that has this key."""

    key: str


class DelayedTask(NamedTuple):
    """A task to submit, and how long after that it is due."""

    task: NewTask
    delay_ns: Nanoseconds


Item = NewTask | DelayedTask | KnownKey
"""What a submit may have."""


def as_submitted(machine: Machine, now: Nanoseconds, items: Sequence[Item]) -> list[NewTask]:
    """The tasks as they are submitted now.

    Raises:
        UnknownTask: there is no task of a key that should be known.
    """
    return [
        machine.keyed(item.key)
        if isinstance(item, KnownKey)
        else item.task._replace(due_at=now + item.delay_ns)
        if isinstance(item, DelayedTask)
        else item
        for item in items
    ]


def new_tasks_from_wire(items: object) -> list[Item]:
    """Read what a client submits.

    Each is ``[tag, payload]``, ``[tag, payload, {option: value}]``, or, for the task that has this
    key, ``[nil, nil, {"key": key}]``.

    Raises:
        TypeError, ValueError: one of them is neither; the message says which, and what is wrong.
    """
    if not isinstance(items, list | tuple):
        raise TypeError(f"items must be a list, not {type(items).__name__}")
    if len(items) > MOST_ITEMS:
        raise ValueError(
            f"{len(items)} tasks in one submit, and {MOST_ITEMS} is the most: send them in parts"
        )
    return [_new_task(index, item) for index, item in enumerate(items)]


def _new_task(index: int, item: Any) -> Item:
    try:
        tag, payload, *rest = item
        if tag is None and payload is None:
            (said,) = rest
            return KnownKey(text(said["key"], "key"))
        if not isinstance(tag, str) or not tag:
            raise ValueError(f"the tag must be a text that is not empty, not {tag!r}")
        (said,) = rest or ({},)
        value = payload_from_wire(payload)
        if not said:
            return NEW(NewTask, (tag, value, DEFAULT_OPTIONS, None, (), None))
        return _with_options(NewTask(tag, value), dict(said))
    except (TypeError, ValueError, LookupError) as error:
        raise ValueError(f"item {index} of the submit is not as it should be: {error}") from error


def _with_options(task: NewTask, said: dict[str, Any]) -> NewTask | DelayedTask:
    delay_s, key = said.pop("delay_s", 0), said.pop("key", None)
    inputs = tuple(TaskNumber(numbers(number, "an input")) for number in said.pop("inputs", None) or ())
    frozen = tuple(sorted((name, _frozen(value)) for name, value in said.items() if value is not None))
    new = task._replace(
        options=_options(frozen) if frozen else DEFAULT_OPTIONS,
        inputs=inputs,
        key=None if key is None else text(key, "key"),
    )
    return new if delay_s == 0 else DelayedTask(new, durations_ns(delay_s, "delay_s"))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@lru_cache(maxsize=1024)  # tasks that say the same share one object
def _options(said: tuple[tuple[str, Any], ...]) -> Options:
    readers = option_readers()
    unknown = [name for name, _ in said if name not in readers]
    if unknown:
        known = ", ".join(sorted({*readers, "delay_s", "inputs", "key"}))
        raise ValueError(f"there is no option {unknown[0]!r}; there are: {known}")
    options: dict[str, Any] = {}
    policy: dict[str, Any] = {}
    for name, value in said:
        field, read = readers[name]
        (policy if field in RetryPolicy._fields else options)[field] = read(value, name)
    if policy:
        options["retry"] = RetryPolicy(**policy)
    return Options(**options)


def option_readers() -> dict[str, tuple[str, Any]]:
    """By its name on the wire: the field that an option becomes, and how it is read."""
    return {
        "priority": ("priority", _whole),
        "time_limit_s": ("time_limit_ns", durations_ns),
        "max_crashes": ("max_crashes", numbers),
        "max_losses": ("max_losses", numbers),
        "plain_answer": ("plain_answer", _flag),
        "retries": ("retries", numbers),
        "retry_delay_s": ("delay_ns", _duration_or_zero),
        "retry_factor": ("factor", _factor),
        "retry_max_delay_s": ("max_delay_ns", _duration_or_zero),
        "retry_jitter": ("jitter", _fraction),
        "retry_only": ("only", _names),
    }


def _whole(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be a whole number, not {value!r}")
    return value


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{what} must be true or false, not {value!r}")
    return value


def _duration_or_zero(value: object, what: str) -> Nanoseconds:
    return 0 if value == 0 else durations_ns(value, what)


def _factor(value: object, what: str) -> float:
    if not isinstance(value, int | float) or not 0 < value <= sys.float_info.max:
        raise ValueError(f"{what} must be a finite number greater than 0, not {value!r}")
    return float(value)


def _fraction(value: object, what: str) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{what} must be a number from 0 to 1, not {value!r}")
    return float(value)


def _names(value: object, what: str) -> tuple[str, ...]:
    if not isinstance(value, tuple) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{what} must be a list of names of exceptions, not {value!r}")
    return value
