"""The bulk calls that look at tasks and sessions, and change nothing.

These are part of the table of `pyrotask.remote.bulk`, and its rules hold here too. What each
call takes, and every reply to it, stands in docs/protocol.md.

Long lists come page by page: a reply says where to go on, and while it does, there may be more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pyrotask.core.endings import answer_of, size_of
from pyrotask.core.explain_task import explain_task
from pyrotask.core.machine import Machine
from pyrotask.core.model import FINISHED, SECOND, Answer, Delivery, Nanoseconds, Peeked, Task, TaskNumber
from pyrotask.core.selection import Selection, info_of, select
from pyrotask.core.session_info import SessionInfo
from pyrotask.core.session_info import sessions as sessions_of
from pyrotask.errors import UnknownTask
from pyrotask.reference import Origin, Request
from pyrotask.remote.bulk_values import info_to_wire, numbers, outcome_to_wire, selection_from_wire, text

if TYPE_CHECKING:
    from pyrotask.callers import Caller
    from pyrotask.core.state import DurableState

LONGEST_PAGE = 1000
"""Tasks that one call lists, or changes: more would hold up everybody else."""

MOST_SESSIONS = 100
"""Sessions that one call tells of: those heard of last. A certain one is found by its name."""


def tasks(origin: Origin, which: dict[str, Any], limit: int = 100, after: int | None = None) -> Request:
    """List tasks of a selection, with their stories, in the order of their numbers."""
    del origin
    selection, most, start = selection_from_wire(which), page_length(limit), page_start(after)

    def read(machine: Machine, _now: Nanoseconds, _: Caller | None) -> dict[str, Any]:
        page = select(machine.state, selection, limit=most, after=start)
        return {"tasks": [info_to_wire(info_of(task)) for task in page.tasks], "next": page.go_on_after}

    return Request(read)


def task(origin: Origin, number: int) -> Request:
    """All about one task, but for its payload and its value."""
    del origin
    wanted = TaskNumber(numbers(number, "number"))
    return Request(lambda m, _now, _: info_to_wire(info_of(_the_task(m.state, wanted))))


def explain(origin: Origin, number: int) -> Request:
    """The same, with sentences that say what it waits for, who runs it, or where its answer is."""
    del origin
    wanted = TaskNumber(numbers(number, "number"))

    def read(machine: Machine, now: Nanoseconds, _: Caller | None) -> dict[str, Any]:
        found = _the_task(machine.state, wanted)
        return {"task": info_to_wire(info_of(found)), "why": explain_task(machine, now, found)}

    return Request(read)


def peek(origin: Origin, which: dict[str, Any], limit: int = 100, after: int | None = None) -> Request:
    """Show the answers of the finished tasks of a selection: they are as if nobody had seen them."""
    del origin
    selection, most, start = selection_from_wire(which), page_length(limit), page_start(after)
    states = FINISHED if selection.states is None else FINISHED & selection.states
    finished = selection._replace(states=states)

    def read(machine: Machine, _now: Nanoseconds, _: Caller | None) -> Peeked:
        page = select(machine.state, finished, limit=most, after=start)
        awaited = [task for task in page.tasks if not _is_taken_over(machine.state, task, selection)]
        shown = _that_fit(awaited, machine.limits.max_reply_bytes)
        go_on_after = shown[-1].number if len(shown) < len(awaited) else page.go_on_after
        return Peeked(tuple((_key_of(task), answer_of(task)) for task in shown), go_on_after)

    def present(peeked: Peeked) -> dict[str, Any]:  # not under the lock: values may be in files
        return {"answers": list(map(_answer_to_wire, peeked.answers)), "next": peeked.go_on_after}

    return Request(read, present)


def sessions(origin: Origin, name: str | None = None) -> Request:
    """Tell of the open sessions that were heard of last; or of that one."""
    del origin
    wanted = None if name is None else text(name, "name")
    return Request(lambda m, _now, _: sessions_to_wire(sessions_of(m, name=wanted, limit=MOST_SESSIONS)))


Call = Callable[..., Request]

LOOKING_CALLS: Mapping[str, Call] = {call.__name__: call for call in (tasks, task, explain, peek, sessions)}
"""What `bulk.CALLS` has of these."""


# --- how ----------------------------------------------------------------------------------------


def sessions_to_wire(infos: list[SessionInfo]) -> list[dict[str, Any]]:
    """Sessions as maps; instants in seconds since 1970, in the broker's time."""
    return [
        {**info._asdict(), "opened_at": info.opened_at / SECOND, "heard_at": info.heard_at / SECOND}
        for info in infos
    ]


def page_length(value: object) -> int:
    """Read how many tasks a page may have."""
    return min(numbers(value, "limit"), LONGEST_PAGE)


def page_start(value: object) -> int:
    """Read after which number a page begins; -1: at the start."""
    return -1 if value is None else numbers(value, "after")


def _the_task(state: DurableState, number: TaskNumber) -> Task:
    found = state.tasks.get(number)
    if found is None:
        raise UnknownTask(f"there is no task {number}: it {_why_gone(state, number)}")
    return found


def _why_gone(state: DurableState, number: TaskNumber) -> str:
    if number >= state.next_task:
        return "was never given out"
    if number >= state.first_task:
        return "was collected, or forgotten"
    return "was collected, or forgotten; or never given out, since a restart of the broker skips some numbers"


def _is_taken_over(state: DurableState, task: Task, selection: Selection) -> bool:
    if selection.session is None:
        return False
    place = state.place_of(task, selection.session)
    return place is not None and place.delivery is Delivery.ACKNOWLEDGED


def _that_fit(tasks: list[Task], room_bytes: int) -> list[Task]:
    """As many as go into one reply: at least one."""
    shown = []
    for one in tasks:
        if room_bytes <= 0:
            break
        shown.append(one)
        room_bytes -= size_of(answer_of(one))
    return shown


def _key_of(task: Task) -> str | None:
    return None if task.keyed is None else task.keyed.key


def _answer_to_wire(keyed: tuple[str | None, Answer]) -> list[Any]:
    key, answer = keyed
    return [answer.task, answer.tag, key, outcome_to_wire(answer.outcome)]
