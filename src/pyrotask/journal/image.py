"""The durable state as records, and back: what an image of it is made of.

An image is not a second reading of the events: it is the fold of them, as it stands. What
follows from the rest (the lines, the counts) is not in it, but made anew.

A record is a tuple: its kind, then fields. A field may be added at its end, if what takes it
(`_take_task`, `_process_of`) has a default for it, so that old images stay readable.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

from pyrotask.core.model import (
    DEFAULT_OPTIONS,
    FINISHED,
    PUBLIC,
    AttemptEnd,
    Delivery,
    Ended,
    Holder,
    Keyed,
    Kind,
    Node,
    Options,
    Payload,
    Place,
    Process,
    Schedule,
    Session,
    SessionId,
    State,
    Success,
    Task,
    Trouble,
)
from pyrotask.core.records import claims_of
from pyrotask.core.state import DurableState
from pyrotask.journal.codec import Reader, interning, payload_of, reader_of

Record = tuple[Any, ...]

SCALARS = (
    "lineage",
    "started_at",
    "terminated",
    "next_task",
    "next_process",
    "next_node",
    "next_session",
    "first_task",
    "first_attempt",
    "reserved_tasks",
    "reserved_processes",
    "reserved_nodes",
    "reserved_sessions",
    "reserved_attempts",
    "reserved_deliveries",
    "late_answers",
)
"""The plain attributes of the state."""

_STATE, _TASK, _PROCESS, _NODE, _SESSION, _DATA = range(6)

FIELDS: dict[int, tuple[str, tuple[str, ...]]] = {
    _STATE: ("state", ("values",)),
    _TASK: (
        "task",
        (
            "number", "tag", "payload", "options", "session", "state", "detail", "attempt", "trouble",
            "delivery", "inputs", "dependents", "order", "in_line", "keyed",
        ),
    ),
    _PROCESS: ("process", ("id", "kind", "period_ns", "info", "node", "tags", "registered_at", "tasks")),
    _NODE: ("node", ("id", "period_ns", "info", "registered_at")),
    _SESSION: (
        "session",
        ("id", "name", "opened_at", "next_delivery", "handed_out", "low_water", "replies"),
    ),
    _DATA: ("data", ("label", "value")),
}  # fmt: skip
"""What each kind of record is called, and its fields, for people who read one."""


def records_of(state: DurableState) -> Iterator[Record]:
    """The whole state, record by record."""
    yield _STATE, {name: getattr(state, name) for name in SCALARS}
    for session in state.sessions.values():
        yield _record_of_session(session)
    for node in state.nodes.values():
        yield _NODE, node.id, node.period_ns, node.info, node.registered_at
    for p in state.processes.values():
        yield _PROCESS, p.id, p.kind, p.period_ns, p.info, p.node, p.tags, p.registered_at, tuple(p.tasks)
    for label, value in state.data.items():
        yield _DATA, label, value
    for task in state.tasks.values():
        yield _record_of_task(task)


def state_of(records: Iterable[Record]) -> DurableState:
    """The state that these are the records of."""
    loading = _Loading()
    for record in records:
        loading.take(record)
    loading.line_up()
    return loading.state


def _record_of_session(s: Session) -> Record:
    handed_out = tuple(s.handed_out.items())
    return _SESSION, s.id, s.name, s.opened_at, s.next_delivery, handed_out, s.low_water, s.replies


def _record_of_task(task: Task) -> Record:
    options = None if task.options == DEFAULT_OPTIONS else task.options
    trouble = task.trouble
    return (
        _TASK, task.number, task.tag, task.payload, options, task.session, task.state, task.detail,
        task.attempt,
        None if trouble is None else (trouble.retries, trouble.crashes, trouble.losses, trouble.story),
        task.delivery, task.inputs, None if task.dependents is None else tuple(task.dependents), task.order,
        task.lane is not None, None if task.keyed is None else _keyed_fields(task.keyed),
    )  # fmt: skip


def _keyed_fields(keyed: Keyed) -> tuple[Any, ...]:
    places = keyed.subscribers.values()
    return keyed.key, tuple((p.session, p.delivery, p.order, p.lane is not None) for p in places)


class _Loading:
    """Makes a state, which nobody else has seen yet."""

    def __init__(self) -> None:
        self.state = DurableState()
        self._placed: list[tuple[Place, bool]] = []
        """Places that have a number, and whether they stand in line."""
        self._details: dict[State, Reader] = {
            State.SCHEDULED: _reader(Schedule),
            State.WAITING: lambda _: None,
            State.RUNNING: _reader(Holder),
            State.SUCCEEDED: _reader(Success),
            State.FAILED: _reader(Ended),
            State.CANCELLED: _reader(Ended),
        }
        self._options = interning(Options, DEFAULT_OPTIONS)
        self._story = _reader(tuple[AttemptEnd, ...])
        self._states = {state.value: state for state in State}
        self._deliveries = {delivery.value: delivery for delivery in Delivery}

    def take(self, record: Record) -> None:
        """Add what the record says."""
        state, kind, fields = self.state, record[0], record[1:]
        if kind == _TASK:
            self._take_task(*fields)
        elif kind == _STATE:
            vars(state).update(fields[0])
        elif kind == _PROCESS:
            process = _process_of(*fields)
            state.processes[process.id] = process
        elif kind == _NODE:
            state.nodes[fields[0]] = Node(*fields)
        elif kind == _SESSION:
            state.sessions[fields[0]] = _session_of(*fields)
        elif kind == _DATA:
            state.data[fields[0]] = payload_of(fields[1])
        else:
            raise ValueError(f"there is no record of kind {kind!r}")

    def _take_task(
        self,
        number: Any,
        tag: str,
        payload: tuple[Any, ...],
        options: tuple[Any, ...] | None,
        session: Any,
        state_name: str,
        detail: tuple[Any, ...] | None,
        attempt: int,
        trouble: tuple[Any, ...] | None,
        delivery: str,
        inputs: tuple[Any, ...],
        dependents: tuple[Any, ...] | None,
        order: int,
        in_line: bool,  # noqa: FBT001 - a field of the record
        keyed: tuple[Any, ...] | None = None,
    ) -> None:
        tag = self.state._tags.setdefault(tag, tag)  # noqa: SLF001 - nobody else has seen it yet
        task = Task(number, tag, payload_of(payload), self._options(options), session)
        task.state = state = self._states[state_name]
        task.detail = None if detail is None else self._details[state](detail)
        task.attempt = attempt
        if trouble is not None:
            task.trouble = Trouble(trouble[0], trouble[1], trouble[2], self._story(trouble[3]))
        task.delivery = self._deliveries[delivery]
        task.inputs = inputs
        task.dependents = None if dependents is None else dict.fromkeys(dependents)
        task.order = order
        self.state.tasks[number] = task
        if state is not State.SCHEDULED:
            self._placed.append((task, in_line))
        if keyed is not None:
            task.keyed = Keyed(
                keyed[0], {session: self._claim(task, session, *r) for session, *r in keyed[1]}
            )

    def _claim(
        self,
        task: Task,
        session: Any,
        delivery: str,
        order: int,
        in_line: bool,  # noqa: FBT001 - a field of the record
    ) -> Place:
        place = Place(task.number, task.tag, session)
        place.delivery = self._deliveries[delivery]
        place.order = order
        if task.state in FINISHED:
            self._placed.append((place, in_line))
        return place

    def line_up(self) -> None:
        """Put the tasks in line, and count them: what follows from the records."""
        state = self.state
        for place, in_line in sorted(self._placed, key=lambda placed: placed[0].order):
            if isinstance(place, Task) and place.state not in FINISHED:
                lines = state.waiting
                lines.push_back(place, state.format_of(place), place.options.priority)
            else:
                lines = state.finished
                lines.push_back(place, place.session, 0)
            if not in_line:  # it keeps its place number, in case it comes back
                lines.remove(place)
        _recount(state)


def _recount(state: DurableState) -> None:
    """Make the counters of a state anew, and its index of keys."""
    keys = {task.keyed.key: number for number, task in state.tasks.items() if task.keyed is not None}
    state._keys = keys  # noqa: SLF001 - nobody else has seen this state yet
    counts: dict[str, list[int]] = {}
    unfinished: Counter[SessionId] = Counter()
    for task in state.tasks.values():
        column = 1 if task.state is State.RUNNING else 2 if task.state in FINISHED else 0
        counts.setdefault(task.tag, [0, 0, 0])[column] += 1
        if task.state not in FINISHED:
            unfinished.update(place.session for place in claims_of(task) if place.session != PUBLIC)
    state._unfinished = dict(unfinished)  # noqa: SLF001 - nobody else has seen this state yet
    for task in state.tasks.values():
        for place in claims_of(task):
            if place.session in state.sessions:
                state.sessions[place.session].claims[task.number] = None
    names = {session.name: number for number, session in state.sessions.items()}
    state._names = names  # noqa: SLF001 - nobody else has seen this state yet
    state._counts = counts  # noqa: SLF001 - nobody else has seen this state yet
    for task in state.tasks.values():
        state._count_result(task, 1)  # noqa: SLF001 - nobody else has seen this state yet
        state._count_scheduled(task, 1)  # noqa: SLF001 - nobody else has seen this state yet
    state._unstarted = sum(numbers[0] for numbers in counts.values())  # noqa: SLF001


def _session_of(
    number: Any,
    name: str,
    opened_at: int,
    next_delivery: int = 1,
    handed_out: Any = (),
    low_water: int = 0,
    replies: Any = (),
) -> Session:
    return Session(number, name, opened_at, next_delivery, OrderedDict(handed_out), low_water, dict(replies))


def _process_of(
    number: Any,
    kind: str,
    period_ns: int | None,
    info: str,
    node: Any,
    tags: Any,
    registered_at: int,
    tasks: Any,
) -> Process:
    return Process(
        id=number,
        kind=Kind(kind),
        period_ns=period_ns,
        info=info,
        node=node,
        tags=None if tags is None else frozenset(tags),
        registered_at=registered_at,
        tasks=dict.fromkeys(tasks),
    )


def _reader(hint: Any) -> Reader:
    read = reader_of(hint, {Payload: payload_of})
    assert read is not None, hint
    return read
