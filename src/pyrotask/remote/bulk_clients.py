"""The bulk calls of our own clients and of the command line: sessions, submits, answers, interventions.

These are part of the table of `pyrotask.remote.bulk`, and its rules hold here too. What each
call takes, and every reply to it, stands in docs/protocol.md.

A call that changes something carries the client's session, the number of the call in it, and
the number up to which the client has the replies. So it can be repeated when a reply was lost:
it is done once. See `pyrotask.core.sessions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pyrotask.core.interventions import NO_MORE
from pyrotask.core.machine import Machine, Step
from pyrotask.core.model import Delivered, Nanoseconds, SessionId
from pyrotask.core.recorder import Steps
from pyrotask.core.selection import Selection
from pyrotask.errors import Refused, TaskManagerTermination
from pyrotask.reference import Origin, Request
from pyrotask.remote.bulk_looking import LONGEST_PAGE, page_length, page_start
from pyrotask.remote.bulk_submit import Item, as_submitted, new_tasks_from_wire
from pyrotask.remote.bulk_values import (
    NOTHING,
    PatientCaller,
    delivery_to_wire,
    nothing,
    numbers,
    or_nothing,
    selection_from_wire,
    tags_from_wire,
    text,
    wait_ns,
)

if TYPE_CHECKING:
    from pyrotask.callers import Caller

# --- sessions ---------------------------------------------------------------------------------


def open_session(origin: Origin, name: str) -> Request:
    """Open the session of that name, or take it up again if it is open; returns its number."""
    del origin
    called = text(name, "name")
    if not called:
        raise ValueError("a session needs a name: one that no other client uses")
    return Request(lambda m, now, _: m.sessions.open_named(now, called))


def close_session(origin: Origin, session: int) -> Request:
    """End the session: its client has all it wants. Its unfinished tasks are cancelled."""
    del origin
    number = _session(session)
    return Request(lambda m, now, _: m.sessions.end(now, number), nothing)


def submit(
    origin: Origin,
    session: int,
    sequence: int,
    low_water: int,
    items: list[list[Any]],
) -> Request:
    """Take on all these tasks, or none; returns their numbers, in order."""
    new = new_tasks_from_wire(items)
    return _once(session, sequence, low_water, partial(_take_on, origin, new), list)


def submit_and_collect(
    origin: Origin,
    session: int,
    sequence: int,
    low_water: int,
    items: list[list[Any]],
    taken_over: int,
    received: int,
    count: int,
    timeout_s: float,
) -> Request:
    """`submit`, and then `collect`, with one reply. Why there is nothing to collect, `collect` says."""
    no_errors = (Refused, TaskManagerTermination)
    new = new_tasks_from_wire(items)
    has = numbers(received, "received")
    collecting = _Collecting.checked(session, taken_over, has, count, timeout_s)
    which, known = numbers(sequence, "sequence"), numbers(low_water, "low_water")
    taken_on: list[int] = []

    def command(machine: Machine, now: Nanoseconds, caller: Caller | None) -> Step:
        number, done = collecting.session, Steps()
        first = machine.sessions.once(
            now, number, which, known, lambda: _take_on(origin, new, machine, now, number)
        )
        done.add(first)
        taken_on.extend(cast("tuple[int, ...]", first.reply))
        patient = None if caller is None else PatientCaller(caller, *no_errors)
        try:
            then = collecting.step(origin, machine, now, patient)
        except Refused:
            then = Step(NOTHING, (), ())
        return done.ended_by(then._replace(reply=NOTHING) if isinstance(then.reply, no_errors) else then)

    def present(reply: list[Delivered] | str) -> dict[str, Any]:
        return {"tasks": taken_on, "deliveries": _deliveries_to_wire(reply)}

    return Request(command, present, blocks=True, timeout=collecting.timeout)


def collect(
    origin: Origin,
    session: int,
    taken_over: int,
    count: int,
    timeout_s: float,
    received: int | None = None,
    tags: list[str] | None = None,
) -> Request:
    """Take up to ``count`` answers of the session, waiting up to ``timeout_s`` for the first.

    Deliveries up to ``taken_over`` never come again; those after ``received`` (None: the same)
    come again, before new ones.
    """
    collecting = _Collecting.checked(session, taken_over, received, count, timeout_s, tags)

    def command(machine: Machine, now: Nanoseconds, caller: Caller | None) -> Step:
        return collecting.step(origin, machine, now, None if caller is None else PatientCaller(caller))

    def present(reply: list[Delivered] | str) -> dict[str, Any]:
        return {"deliveries": _deliveries_to_wire(reply)}

    return Request(command, present, blocks=True, timeout=collecting.timeout)


def _take_on(origin: Origin, new: list[Item], machine: Machine, now: Nanoseconds, session: SessionId) -> Step:
    tasks = as_submitted(machine, now, new)
    return machine.submit_many(now, tasks, session=session, connection=origin.connection)


class _Collecting(NamedTuple):
    """What is to be collected: the arguments of `collect`, checked."""

    session: SessionId
    taken_over: int
    received: int | None
    most: int
    patience_ns: Nanoseconds
    tags: frozenset[str] | None

    @classmethod
    def checked(
        cls,
        session: object,
        taken_over: object,
        received: object,
        count: object,
        timeout_s: object,
        tags: object = None,
    ) -> _Collecting:
        return cls(
            _session(session),
            numbers(taken_over, "taken_over"),
            None if received is None else numbers(received, "received"),
            numbers(count, "count"),
            wait_ns(timeout_s),
            tags_from_wire(tags),
        )

    @property
    def timeout(self) -> float | None:
        """0: nobody waits. None: they do, for as long as it says itself."""
        return None if self.patience_ns and self.most else 0.0

    def step(self, origin: Origin, machine: Machine, now: Nanoseconds, caller: PatientCaller | None) -> Step:
        return or_nothing(
            machine.sessions.collect(
                now,
                self.session,
                count=self.most,
                taken_over=self.taken_over,
                received=self.received,
                tags=self.tags,
                connection=origin.connection,
                caller=caller,
                timeout_at=now + self.patience_ns,
            )
        )


def _deliveries_to_wire(reply: list[Delivered] | str) -> list[Any]:
    return [] if isinstance(reply, str) else [delivery_to_wire(one) for one in reply]


# --- interventions ------------------------------------------------------------------------------


def cancel(
    origin: Origin,
    which: dict[str, Any],
    detail: str = "cancelled",
    limit: int = LONGEST_PAGE,
    after: int | None = None,
    call: list[int] | None = None,
) -> Request:
    """Cancel the unfinished tasks of a selection; who runs one is told at its next contact."""
    del origin
    why = text(detail, "detail")
    return _intervene(
        (which, limit, after),
        call,
        lambda m, now, _, page: m.interventions.cancel_many(
            now, page.selection, why, limit=page.limit, after=page.after
        ),
    )


def retry(
    origin: Origin,
    which: dict[str, Any],
    limit: int = LONGEST_PAGE,
    after: int | None = None,
    call: list[int] | None = None,
) -> Request:
    """Start the failed and cancelled tasks of a selection anew, where that is possible."""
    del origin
    return _intervene(
        (which, limit, after),
        call,
        lambda m, now, _, page: m.interventions.retry_many(
            now, page.selection, limit=page.limit, after=page.after
        ),
    )


def forget(
    origin: Origin,
    which: dict[str, Any],
    limit: int = LONGEST_PAGE,
    after: int | None = None,
    call: list[int] | None = None,
) -> Request:
    """Drop the finished tasks of a selection, but none whose answer another session awaits."""
    del origin
    return _intervene(
        (which, limit, after),
        call,
        lambda m, now, session, page: m.interventions.forget_many(
            now, page.selection, limit=page.limit, after=page.after, session=session
        ),
    )


Call = Callable[..., Request]

CLIENT_CALLS: Mapping[str, Call] = {
    call.__name__: call
    for call in (
        open_session,
        close_session,
        submit,
        submit_and_collect,
        collect,
        cancel,
        retry,
        forget,
    )
}
"""What `bulk.CALLS` has of these."""


# --- how ----------------------------------------------------------------------------------------


class _Page(NamedTuple):
    """Which tasks are to be changed, and where among them to begin."""

    selection: Selection
    limit: int
    after: int


Change = Callable[[Machine, Nanoseconds, SessionId | None, _Page], Step]


def _intervene(
    asked: tuple[dict[str, Any], int, int | None], call: list[int] | None, change: Change
) -> Request:
    """Do it; as the numbered call of a session, if the client says so."""
    which, limit, after = asked
    page = _Page(_some(which), page_length(limit), page_start(after))
    if call is None:
        return Request(lambda m, now, _: change(m, now, None, page), _page_to_wire)
    try:
        session, sequence, low_water = call
    except (TypeError, ValueError):
        raise TypeError(f"call must be [session, sequence, low_water], not {call!r}") from None
    return _once(session, sequence, low_water, lambda m, now, s: change(m, now, s, page), _page_to_wire)


def _once(
    session: object,
    sequence: object,
    low_water: object,
    change: Callable[[Machine, Nanoseconds, SessionId], Step],
    present: Callable[[tuple[int, ...]], Any],
) -> Request:
    number = _session(session)
    which, known = numbers(sequence, "sequence"), numbers(low_water, "low_water")
    return Request(
        lambda m, now, _: m.sessions.once(now, number, which, known, lambda: change(m, now, number)), present
    )


def _page_to_wire(reply: tuple[int, ...]) -> dict[str, Any]:
    go_on_after, *done = reply
    return {"tasks": done, "next": None if go_on_after == NO_MORE else go_on_after}


def _some(which: object) -> Selection:
    selection = selection_from_wire(which)
    if selection == Selection():
        raise ValueError(
            "say which tasks: by their numbers, keys, states, tag or session; {} would be all of them"
        )
    return selection


def _session(value: object) -> SessionId:
    return SessionId(numbers(value, "session"))
