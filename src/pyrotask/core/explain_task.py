"""What a task waits for, or who runs it, or where its answer is: sentences about one task.

`explain` tells the same of all that wait. Nothing here changes anything; it looks at the lines,
the workers and what the task itself names, and at no other task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from pyrotask.core.explain import explain_line
from pyrotask.core.model import (
    PLAIN,
    PUBLIC,
    SECOND,
    Delivery,
    Ended,
    Holder,
    Nanoseconds,
    State,
    Task,
)
from pyrotask.core.records import claims_of, schedule_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrotask.core.machine import Machine
    from pyrotask.core.model import Place

MOST_INPUTS = 5
"""Inputs that are named: more is a list that nobody reads."""

MOST_BEFORE = 1000
"""Tasks before this one that are counted: more would hold up everybody else."""


def explain_task(machine: Machine, now: Nanoseconds, task: Task) -> list[str]:
    """Why the task is where it is, a sentence for each reason."""
    match task.state:
        case State.WAITING:
            return list(_waiting(machine, task))
        case State.SCHEDULED:
            return list(_scheduled(machine, now, task))
        case State.RUNNING:
            return list(_running(machine, now, task))
        case State.SUCCEEDED | State.FAILED | State.CANCELLED:
            return list(_finished(machine, task))
        case _:
            assert_never(task.state)


def _waiting(machine: Machine, task: Task) -> Iterator[str]:
    if machine.state.terminated:
        yield "the task manager is terminated: no more tasks are handed out"
    yield explain_line(machine, task.tag, plain=machine.state.format_of(task) == PLAIN).sentence
    before = _before(task)
    if before:
        number = f"more than {MOST_BEFORE}" if before > MOST_BEFORE else str(before)
        yield f"{number} of its tag and priority {'is' if before == 1 else 'are'} to run before it"


def _before(task: Task) -> int:
    """How many stand before it in its lane: at most one more than are counted."""
    before, place = 0, task.prev
    while place is not None and before <= MOST_BEFORE:
        before, place = before + 1, place.prev
    return before


def _scheduled(machine: Machine, now: Nanoseconds, task: Task) -> Iterator[str]:
    schedule = schedule_of(task)
    if schedule.due_at is not None:
        yield f"it waits for its time: it is due in {max(0, schedule.due_at - now) / SECOND:.1f} s"
    tasks = machine.state.tasks
    unready = [tasks[number] for number in task.inputs if tasks[number].state is not State.SUCCEEDED]
    if unready:
        shown = ", ".join(f"{one.tag}_{one.number} ({one.state.value})" for one in unready[:MOST_INPUTS])
        more = f", and of {len(unready) - MOST_INPUTS} more" if len(unready) > MOST_INPUTS else ""
        yield f"it waits for the values of {shown}{more}"


def _running(machine: Machine, now: Nanoseconds, task: Task) -> Iterator[str]:
    holder = task.detail
    assert isinstance(holder, Holder), task.number
    runs_s = (now - holder.leased_at) / SECOND
    if holder.process is None:
        who = "a client that did not register"
    else:
        info = machine.state.processes[holder.process].info
        who = f"process {holder.process}" + (f" ({info})" if info else "")
    yield f"{who} has had it for {runs_s:.1f} s: attempt {holder.attempt}"
    if holder.process is not None:
        silent_s = (now - machine.presence.processes[holder.process].heard_at) / SECOND
        yield f"that process was heard of {silent_s:.1f} s ago"
    if task.options.time_limit_ns is not None:
        limit_s = task.options.time_limit_ns / SECOND
        yield f"its time limit of {limit_s:g} s is reached in {max(0.0, limit_s - runs_s):.1f} s"


def _finished(machine: Machine, task: Task) -> Iterator[str]:
    outcome = task.detail
    if isinstance(outcome, Ended):
        yield f"it was cancelled: {outcome.detail}" if task.state is State.CANCELLED else _failure(outcome)
    else:
        yield "it succeeded"
    for claim in claims_of(task):
        yield f"its answer {_whereabouts(claim)} {_client(machine, claim)}"
    if task.keyed is not None:
        yield f"it stays for its key, {task.keyed.key!r}, until it is forgotten"
    elif task.dependents is not None:
        yield f"unfinished tasks need its value: {len(task.dependents)}"


def _failure(outcome: Ended) -> str:
    first = outcome.detail.partition("\n")[0]  # the rest stands in its story
    return f"it failed ({outcome.cause.value})" + (f": {first}" if first else "")


def _whereabouts(claim: Place) -> str:
    match claim.delivery:
        case Delivery.NONE:
            return "waits to be collected by"
        case Delivery.HANDED_OUT:
            return "is on its way to"
        case Delivery.ACKNOWLEDGED:
            return "is with"
        case _:
            assert_never(claim.delivery)


def _client(machine: Machine, claim: Place) -> str:
    if claim.session == PUBLIC:
        return "whoever asks for results"
    session = machine.state.sessions.get(claim.session)
    return f"session {claim.session}, which has ended" if session is None else f"session {session.name!r}"
