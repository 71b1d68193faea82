"""What a session's threads are told to do next."""

from __future__ import annotations

from typing import NamedTuple

from pyrotask.client.future import TaskFuture
from pyrotask.core.model import Payload
from pyrotask.errors import KeyConflict


class Ask(NamedTuple):
    """What the collector is to ask for next."""

    taken_over: int
    received: int
    for_futures: bool
    """Futures wait; without this and the next, nobody does."""
    is_sure: bool
    """Those of tasks that are taken on; else only of what is under way, and may be refused."""
    for_readers: bool
    """Readers wait, who are to be told when there is nothing left."""
    waited_s: float
    """For how long futures have waited without any answer."""


class Work(NamedTuple):
    """What the sender is to do next, in this order."""

    hurried: TaskFuture | None
    """A lone one whose number is to be found out."""
    values: dict[str, Payload]
    """To be stored, by label."""
    cancels: list[TaskFuture]
    to_withdraw: list[TaskFuture]
    """To be cancelled if they have not begun."""
    submits: list[TaskFuture]


class Keyed(NamedTuple):
    """What waits under a key."""

    future: TaskFuture
    tag: str
    payload: Payload | None
    """None: it was attached to whatever has the key."""


def waits_for_numbers(future: TaskFuture) -> bool:
    """Whether it needs tasks that are not taken on yet."""
    return any(
        isinstance(source, TaskFuture) and source.task is None and not source.done()
        for source in future.inputs
    )


def same(known: Keyed, tag: str, payload: Payload | None) -> TaskFuture:
    """The future of the key, for somebody else who submits it.

    Raises:
        KeyConflict: with another tag or payload.
    """
    are_known = known.payload is not None and payload is not None
    if are_known and (known.tag, known.payload) != (tag, payload):
        raise KeyConflict(
            f"key {known.future.key!r} belongs to {known.future!r}, of another tag or with other arguments: "
            "use another key for other work"
        )
    return known.future
