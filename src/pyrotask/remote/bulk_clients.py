"""The bulk calls of our own clients and of the command line: sessions, submits, answers, interventions.

These are part of the table of `pyrotask.remote.bulk`, and its rules hold here too. What each
call takes, and every reply to it, stands in docs/protocol.md.

A call that changes something carries the client's session, the number of the call in it, and
the number up to which the client has the replies. So it can be repeated when a reply was lost:
it is done once. See `pyrotask.core.sessions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pyrotask.core.interventions import NO_MORE
from pyrotask.core.machine import Machine, Step
from pyrotask.core.model import Delivered, Nanoseconds, SessionId
from pyrotask.core.selection import Selection
from pyrotask.errors import Refused, TaskManagerTermination
from pyrotask.reference import Origin, Request
from pyrotask.remote.bulk_looking import LONGEST_PAGE, page_length, page_start
from pyrotask.remote.bulk_submit import as_submitted, new_tasks_from_wire
from pyrotask.remote.bulk_values import (
    NOTHING,
    PatientCaller,
    delivery_to_wire,
    nothing,
    numbers,
    selection_from_wire,
    tags_from_wire,
    text,
    wait_ns,
)

if TYPE_CHECKING:
    from pyrotask.callers import Caller
    from pyrotask.journal import Ticket

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

    def take_on(machine: Machine, now: Nanoseconds, number: SessionId) -> Step:
        tasks = as_submitted(machine, now, new)
        return machine.submit_many(now, tasks, session=number, connection=origin.connection)

    return _once(session, sequence, low_water, take_on, list)


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
    new, number, patience_ns = new_tasks_from_wire(items), _session(session), wait_ns(timeout_s)
    which, known = numbers(sequence, "sequence"), numbers(low_water, "low_water")
    up_to, has = numbers(taken_over, "taken_over"), numbers(received, "received")
    most = numbers(count, "count")
    taken_on: list[int] = []

    def take_on(machine: Machine, now: Nanoseconds) -> Step:
        tasks = as_submitted(machine, now, new)
        return machine.submit_many(now, tasks, session=number, connection=origin.connection)

    def command(machine: Machine, now: Nanoseconds, caller: Caller | None) -> Step:
        first = machine.sessions.once(now, number, which, known, lambda: take_on(machine, now))
        events, wakes = list(first.events), list(first.wakes)  # its own may be the recorder's, while empty
        taken_on.extend(cast("tuple[int, ...]", first.reply))
        try:
            then = machine.sessions.collect(
                now,
                number,
                count=most,
                taken_over=up_to,
                received=has,
                connection=origin.connection,
                caller=None if caller is None else _Submitter(caller),
                timeout_at=now + patience_ns,
            )
        except Refused as error:
            then = Step(error, (), ())
        return Step(_nothing_if_refused(then.reply), [*events, *then.events], [*wakes, *then.wakes])

    def present(reply: list[Delivered] | str) -> dict[str, Any]:
        return {"tasks": taken_on, "deliveries": _deliveries_to_wire(reply)}

    return Request(command, present, blocks=True, timeout=None if patience_ns and most else 0.0)


class _Submitter:
    """A caller whose tasks were taken on: whatever the wait for an answer comes to is no error."""

    __slots__ = ("_caller",)

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def answer(self, reply: Any, ticket: Ticket) -> None:
        """Pass the answer on."""
        self._caller.answer(_nothing_if_refused(reply), ticket)


def _nothing_if_refused(reply: Any) -> Any:
    is_refusal = isinstance(reply, (TimeoutError, Refused, TaskManagerTermination))
    return NOTHING if is_refusal or not reply else reply


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
    number, up_to = _session(session), numbers(taken_over, "taken_over")
    has = None if received is None else numbers(received, "received")
    most, patience_ns, wanted = numbers(count, "count"), wait_ns(timeout_s), tags_from_wire(tags)

    def command(machine: Machine, now: Nanoseconds, caller: Caller | None) -> Step:
        step = machine.sessions.collect(
            now,
            number,
            count=most,
            taken_over=up_to,
            received=has,
            tags=wanted,
            connection=origin.connection,
            caller=None if caller is None else PatientCaller(caller),
            timeout_at=now + patience_ns,
        )
        return step if step.reply else step._replace(reply=NOTHING)

    def present(reply: list[Delivered] | str) -> dict[str, Any]:
        return {"deliveries": _deliveries_to_wire(reply)}

    return Request(command, present, blocks=True, timeout=None if patience_ns and most else 0.0)


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
