"""Choosing tasks by what they are, and telling about them, as values.

The tasks are looked through in the order of their numbers, a stretch at a time, so that a
question about a million tasks does not hold up everybody else: a `Page` says where to go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pyrotask.core.model import (
    AttemptEnd,
    Delivery,
    Ended,
    Holder,
    Nanoseconds,
    ProcessId,
    Schedule,
    SessionId,
    State,
    Task,
    TaskNumber,
    Trouble,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrotask.core.state import DurableState

STRETCH = 20_000
"""Numbers looked at in one go: some milliseconds, in which nobody else is served."""


class Selection(NamedTuple):
    """Tasks for which everything that is said here is true; None says nothing."""

    numbers: tuple[TaskNumber, ...] | None = None
    states: frozenset[State] | None = None
    tag: str | None = None
    session: SessionId | None = None
    """It has a claim to the answer."""
    keys: tuple[str, ...] | None = None


class Page(NamedTuple):
    """Some of the tasks of a selection."""

    tasks: list[Task]
    go_on_after: int | None
    """Ask again, for those after that number; None: these were the last."""


class TaskInfo(NamedTuple):
    """All that there is to know about a task, but for its payload and its value."""

    number: TaskNumber
    tag: str
    state: State
    session: SessionId
    key: str | None
    priority: int
    attempt: int
    retries: int
    crashes: int
    losses: int
    story: tuple[AttemptEnd, ...]
    """How its attempts ended that did not succeed."""
    process: ProcessId | None
    """Who runs it; None also for somebody known by a connection only."""
    leased_at: Nanoseconds | None
    due_at: Nanoseconds | None
    unready: int
    """How many of its inputs have no value yet."""
    ended: Ended | None
    """Why it failed, or was cancelled."""
    delivery: Delivery


def select(state: DurableState, selection: Selection, *, limit: int, after: int = -1) -> Page:
    """Up to ``limit`` tasks of the selection, of those with numbers after ``after``."""
    named = _named(state, selection)
    if named is not None:
        wanted = [number for number in sorted(named) if number > after]
        last = None
    else:
        first = max(after + 1, next(iter(state.tasks), 0))
        stop = min(first + STRETCH, state.next_task)
        wanted = [TaskNumber(number) for number in range(first, stop)]
        last = stop - 1 if stop < state.next_task else None
    chosen: list[Task] = []
    for task in _there(state, wanted):
        if _fits(state, task, selection):
            if len(chosen) == limit:
                return Page(chosen, chosen[-1].number if chosen else after)
            chosen.append(task)
    return Page(chosen, last)


def info_of(task: Task) -> TaskInfo:
    """What there is to know about it."""
    detail, trouble = task.detail, task.trouble or Trouble()
    holder = detail if isinstance(detail, Holder) else None
    schedule = detail if isinstance(detail, Schedule) else None
    return TaskInfo(
        number=task.number,
        tag=task.tag,
        state=task.state,
        session=task.session,
        key=None if task.keyed is None else task.keyed.key,
        priority=task.options.priority,
        attempt=task.attempt,
        retries=trouble.retries,
        crashes=trouble.crashes,
        losses=trouble.losses,
        story=trouble.story,
        process=holder and holder.process,
        leased_at=holder and holder.leased_at,
        due_at=schedule and schedule.due_at,
        unready=0 if schedule is None else schedule.unready,
        ended=detail if isinstance(detail, Ended) else None,
        delivery=task.delivery,
    )


def _named(state: DurableState, selection: Selection) -> set[TaskNumber] | None:
    """The numbers that are said, one by one or by their keys; None: none are."""
    if selection.keys is None:
        return None if selection.numbers is None else set(selection.numbers)
    of_keys = {state.keys[key] for key in selection.keys if key in state.keys}
    return of_keys if selection.numbers is None else of_keys.intersection(selection.numbers)


def _there(state: DurableState, numbers: list[TaskNumber]) -> Iterator[Task]:
    return (state.tasks[number] for number in numbers if number in state.tasks)


def _fits(state: DurableState, task: Task, selection: Selection) -> bool:
    if selection.states is not None and task.state not in selection.states:
        return False
    if selection.tag is not None and task.tag != selection.tag:
        return False
    return selection.session is None or state.place_of(task, selection.session) is not None
