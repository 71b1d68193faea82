"""`check`: everything that must be true between two commands.

Each index is computed anew from what it is an index of, and compared. That takes time in
proportion to everything there is, so it is for tests, and for whoever looks for a defect.

A new index, or a new volatile fact, gets its line here before it is used.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from pyrotask.core.blocks import Block
from pyrotask.core.deadlines import Due, Key
from pyrotask.core.endings import SET_ASIDE
from pyrotask.core.liveness import moment_of
from pyrotask.core.model import (
    FINISHED,
    PUBLIC,
    UNFINISHED,
    Delivery,
    Ended,
    Holder,
    Nanoseconds,
    Place,
    ProcessId,
    Schedule,
    SessionId,
    State,
    Success,
    Task,
    TaskNumber,
)
from pyrotask.core.records import result_of
from pyrotask.errors import BrokerBroken

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from pyrotask.core.lanes import Lane, Lanes
    from pyrotask.core.machine import Machine
    from pyrotask.core.parking import Parking
    from pyrotask.core.state import DurableState

P = TypeVar("P", bound=Place)


def check(machine: Machine) -> None:
    """Raise `BrokerBroken`, with what differs from what, if anything is not as it must be."""
    _check_tasks(machine)
    _check_sessions(machine)
    _check_lines(machine.state)
    _check_leases(machine)
    _check_presence(machine)
    _check_deadlines(machine)
    _check_wants(machine)


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise BrokerBroken(f"{what}: found {found!r}, expected {expected!r}")


# --- tasks --------------------------------------------------------------------------------

_DETAIL_OF_STATE: dict[State, type | tuple[type, ...]] = {
    State.SCHEDULED: Schedule,
    State.WAITING: type(None),
    State.RUNNING: Holder,
    State.SUCCEEDED: Success,
    State.FAILED: Ended,
    State.CANCELLED: Ended,
}


def _check_tasks(machine: Machine) -> None:
    state = machine.state
    needed_by = _needed_by(state)
    for number, task in state.tasks.items():
        name = f"task {number}, {task.state.value}"
        _same(f"{name}: its number", task.number, number)
        _same(f"{name}: known", number < state.next_task <= state.reserved_tasks, True)
        _same(f"{name}: attempt known", task.attempt < max(1, state.reserved_attempts), True)
        _same(f"{name}: detail fits", isinstance(task.detail, _DETAIL_OF_STATE[task.state]), True)
        if task.state in UNFINISHED:
            wanted = task.keyed is None or task.delivery is not Delivery.ACKNOWLEDGED
            _same(f"{name}: delivery", task.delivery if wanted else Delivery.NONE, Delivery.NONE)
            _same(f"{name}: hopeless inputs", [n for n in task.inputs if _is_hopeless(state, n)], [])
        _same(f"{name}: dependents", set(task.dependents or ()), needed_by.get(number, set()))
        _same(f"{name}: an empty dict of dependents", task.dependents == {}, False)
        if isinstance(task.detail, Schedule):
            unready = [n for n in task.inputs if state.tasks[n].state is not State.SUCCEEDED]
            _same(f"{name}: unready inputs", task.detail.unready, len(unready))
            _same(f"{name}: waits for something", task.detail != (None, 0), True)
        done = task.delivery is Delivery.ACKNOWLEDGED and not task.dependents and task.keyed is None
        _same(f"{name}: should be forgotten", done, number in machine.kept_failures)
    _check_counts(state)


def _is_hopeless(state: DurableState, number: TaskNumber) -> bool:
    return number not in state.tasks or state.tasks[number].state in (State.FAILED, State.CANCELLED)


def _needed_by(state: DurableState) -> dict[TaskNumber, set[TaskNumber]]:
    needed_by: dict[TaskNumber, set[TaskNumber]] = {}
    for number, task in state.tasks.items():
        for source in task.inputs if task.state in UNFINISHED else ():
            needed_by.setdefault(source, set()).add(number)
    return needed_by


def _check_counts(state: DurableState) -> None:
    tasks = state.tasks.values()
    tags = {task.tag for task in tasks}
    counts = state.counts()
    for found, states in (
        (counts.waiting, {State.SCHEDULED, State.WAITING}),
        (counts.running, {State.RUNNING}),
        (counts.finished, set(FINISHED)),
    ):
        number = Counter(task.tag for task in tasks if task.state in states)
        _same("counts", dict(found), {tag: number[tag] for tag in tags})
    scheduled: dict[str, list[int]] = {}
    for task in tasks:
        if isinstance(task.detail, Schedule):
            scheduled.setdefault(task.tag, [0, 0])[task.detail.unready > 0] += 1
    _same("scheduled", state.scheduled, scheduled)
    _same("unstarted", state.unstarted, sum(counts.waiting.values()))
    results = [b for t in state.tasks.values() for value in result_of(t) for b in value.buffers]
    blocks = sum(len(buffer) for buffer in results if isinstance(buffer, Block))
    _same("the bytes of blocks in results", state.result_block_bytes, blocks)
    _same("the bytes of results", state.result_bytes, sum(map(len, results)) - blocks)


# --- lines ----------------------------------------------------------------------------------


def _check_lines(state: DurableState) -> None:
    waiting = [t for t in state.tasks.values() if t.state is State.WAITING]
    _check_lanes("waiting", state.waiting, waiting, state.format_of, lambda task: task.options.priority)
    ended = (task for task in state.tasks.values() if task.state in FINISHED)
    finished = [place for task in ended for place in _claims(task) if place.delivery is Delivery.NONE]
    _check_lanes("finished", state.finished, finished, _group_of, lambda _: 0)
    in_line = {id(place) for place in (*waiting, *finished)}
    claims = (place for task in state.tasks.values() for place in _claims(task))
    strays = [place.number for place in claims if place.lane is not None and id(place) not in in_line]
    _same("tasks in a lane that belong into none", strays, [])


def _group_of(place: Place) -> Hashable:
    is_aside = place.lane is not None and place.lane.key.group == SET_ASIDE
    return SET_ASIDE if is_aside and place.session == PUBLIC else place.session


def _claims(task: Task) -> list[Place]:
    return [task, *(() if task.keyed is None else task.keyed.subscribers.values())]


def _check_lanes(
    name: str,
    lanes: Lanes,
    places: Sequence[P],
    group: Callable[[P], Hashable],
    priority: Callable[[P], int],
) -> None:
    stand = {id(place): lane for lane in lanes for place in lane}
    who = [place.number for lane in lanes for place in lane]
    _same(f"{name}: who is in line", sorted(who), sorted(place.number for place in places))
    for place in places:
        lane = stand[id(place)]
        _same(f"{name}: lane of task {place.number}", place.lane is lane, True)
        _same(f"{name}: key of its lane", lane.key, (group(place), place.tag, priority(place)))
    for lane in lanes:
        _check_lane(name, lane)
    for view in lanes.views():
        of_view = [place for place in places if view.covers(stand[id(place)].key)]
        best = min(of_view, key=lambda place: (-priority(place), place.order), default=None)
        _same(f"{name}: first of a view", view.first(), best)
        for lane in lanes:
            _same(f"{name}: a lane knows its view", view in lane.views, view.covers(lane.key))


def _check_lane(name: str, lane: Lane) -> None:
    line = list(lane)
    _same(f"{name}: size of {lane.key}", lane.size, len(line))
    _same(f"{name}: ends of {lane.key}", (lane.head, lane.tail), (line[0], line[-1]))
    _same(f"{name}: back links of {lane.key}", [task.prev for task in line], [None, *line[:-1]])
    in_order = all(one.order < other.order for one, other in pairwise(line))
    _same(f"{name}: order of {lane.key}", in_order, True)


# --- sessions and keys ------------------------------------------------------------------------


def _check_sessions(machine: Machine) -> None:
    state = machine.state
    handed_out: dict[SessionId, set[TaskNumber]] = {number: set() for number in state.sessions}
    for task in state.tasks.values():
        for place in _claims(task):
            if place.delivery is Delivery.HANDED_OUT and place.session != PUBLIC:
                handed_out[place.session].add(task.number)
    for number, session in state.sessions.items():
        _same(f"session {number}: handed out", set(session.handed_out), handed_out[number])
        deliveries = list(session.handed_out.values())
        _same(f"session {number}: deliveries in order", deliveries, sorted(set(deliveries)))
        _same(f"session {number}: deliveries known", max(deliveries, default=0) < session.next_delivery, True)
        _same(f"session {number}: known", number < state.next_session <= state.reserved_sessions, True)
        claimed = {t.number for t in state.tasks.values() if state.place_of(t, number) is not None}
        _same(f"session {number}: claims", set(session.claims), claimed)
        newest = session.next_delivery - 1
        _same(f"session {number}: deliveries reserved", newest < max(1, state.reserved_deliveries), True)
        _same(f"session {number}: old replies", [n for n in session.replies if n <= session.low_water], [])
        mine = [task for task in state.tasks.values() if task.state in UNFINISHED]
        claims = [task for task in mine if state.place_of(task, number) is not None]
        _same(f"session {number}: unfinished", state.unfinished_of(number), len(claims))
    _same("names", dict(state.names), {session.name: number for number, session in state.sessions.items()})
    keys = {task.keyed.key: number for number, task in state.tasks.items() if task.keyed is not None}
    _same("keys", dict(state.keys), keys)


# --- leases and presence ----------------------------------------------------------------------


def _check_leases(machine: Machine) -> None:
    held: dict[ProcessId, set[TaskNumber]] = {number: set() for number in machine.state.processes}
    running = set()
    for number, task in machine.state.tasks.items():
        if isinstance(task.detail, Holder):
            running.add(number)
            _same(f"task {number}: attempt of its holder", task.detail.attempt, task.attempt)
            if task.detail.process is not None:
                held[task.detail.process].add(number)
    for process in machine.state.processes.values():
        reserved = process.id < machine.state.next_process <= machine.state.reserved_processes
        _same(f"process {process.id}: known", reserved, True)
        _same(f"tasks of process {process.id}", set(process.tasks), held[process.id])
    gone = [n for n in (*machine.ended_leases, *machine.stranded_leases) if n not in held]
    _same("ended leases of processes that are gone", gone, [])
    ways = machine.lease_connections
    _same("ways of tasks that do not run", set(ways) - running, set())
    for connection in machine.presence.connections.values():
        mine = {number for number, via in ways.items() if via is connection}
        _same(f"leases over connection {connection.id}", set(connection.leases), mine)
    for number, via in ways.items():
        _same(f"task {number} is among the leases of its way", number in via.leases, True)
        is_open = machine.presence.connections.get(via.id) is via
        _same(f"connection {via.id} is open", is_open, via.closed_with is None)


def _check_presence(machine: Machine) -> None:
    state, presence = machine.state, machine.presence
    _same("processes with signs of life", set(presence.processes), set(state.processes))
    _same("nodes with signs of life", set(presence.nodes), set(state.nodes))
    unknown = [n for n in state.nodes if not n < state.next_node <= state.reserved_nodes]
    _same("nodes whose numbers are not reserved", unknown, [])
    ways = presence.connections.values()
    for number, vitals in presence.processes.items():
        _same(
            f"connections of process {number}",
            vitals.connections,
            {c.id for c in ways if c.process == number},
        )
    for node, vitals in presence.nodes.items():
        below = [number for number, process in state.processes.items() if process.node == node]
        _same(f"children of node {node}", list(vitals.children), below)
        _same(f"connections of node {node}", vitals.connections, {c.id for c in ways if c.node == node})
    for vitals in (*presence.processes.values(), *presence.nodes.values()):
        _same("closed while there is a connection", bool(vitals.connections and vitals.closed_at), False)


# --- deadlines --------------------------------------------------------------------------------


def _check_deadlines(machine: Machine) -> None:
    expected: dict[Key, Nanoseconds] = {}
    for number, task in machine.state.tasks.items():
        if isinstance(task.detail, Schedule) and task.detail.due_at is not None:
            expected[Key(Due.TASK, number)] = task.detail.due_at
        if isinstance(task.detail, Holder) and task.options.time_limit_ns is not None:
            expected[Key(Due.TIME_LIMIT, number)] = task.detail.leased_at + task.options.time_limit_ns
    for node in machine.state.nodes.values():
        expected[Key(Due.NODE, node.id)] = machine.presence.node_silent_until(node)
    for session in machine.state.sessions:
        expected[Key(Due.SESSION, session)] = machine.deadlines.all()[Key(Due.SESSION, session)]
    for number in machine.kept_failures:
        ended = machine.state.tasks[number].detail
        assert isinstance(ended, Ended), number
        expected[Key(Due.RETENTION, number)] = ended.ended_at + machine.limits.keep_failed_ns
    found = machine.deadlines.all()
    others = {k: at for k, at in found.items() if k.due not in (Due.LEASE, Due.WANT, Due.PROCESS)}
    _same("deadlines", others, expected)
    watched = {k.number for k in found if k.due is Due.PROCESS}
    _same("deadlines of processes that are gone", watched - set(machine.state.processes), set())
    for process in machine.state.processes.values():
        if (silent_until := machine.presence.silent_until(process)) is not None:
            early = silent_until - found.get(Key(Due.PROCESS, process.id), 0)
            _same(f"deadline of process {process.id}", 0 <= early <= moment_of(process), True)
    ended_ways = {number for number, via in machine.lease_connections.items() if via.closed_with is not None}
    anonymous = {number for number in ended_ways if _is_anonymous(machine.state.tasks[number])}
    _same("deadlines of leases", {k.number for k in found if k.due is Due.LEASE}, anonymous)
    wants = {want.id for parking in (machine.task_wants, machine.result_wants) for want in parking}
    _same("deadlines of wants that are gone", {k.number for k in found if k.due is Due.WANT} - wants, set())
    _same("next deadline", machine.deadlines.next_at(), min(found.values(), default=None))


def _is_anonymous(task: Task) -> bool:
    return isinstance(task.detail, Holder) and task.detail.process is None


# --- wants --------------------------------------------------------------------------------------


def _check_wants(machine: Machine) -> None:
    _check_parking("task", machine.task_wants, machine.state.waiting)
    _check_parking("result", machine.result_wants, machine.state.finished)
    wants = [*machine.task_wants, *machine.result_wants]
    for number, vitals in machine.presence.processes.items():
        mine = {want.id for want in wants if want.speaker == number}
        _same(f"parked requests of process {number}", set(vitals.parked), mine)
    for connection in machine.presence.connections.values():
        mine = {want.id for want in wants if want.connection == connection.id}
        _same(f"parked requests over connection {connection.id}", set(connection.wants), mine)
    for want in wants:
        if want.connection is not None:
            _same(f"want {want.id}: open", want.connection in machine.presence.connections, True)
        for process in {want.process, want.speaker} - {None}:
            _same(f"want {want.id}: registered", process in machine.state.processes, True)
        _same(f"want {want.id}: parked after the end", machine.state.terminated, False)


def _check_parking(name: str, parking: Parking, lanes: Lanes) -> None:
    in_use = Counter(want.view for want in parking)
    known = set(lanes.views())
    for want in parking:
        _same(f"{name} want {want.id}: its view is kept", want.view in known, True)
        first = want.view.first()
        _same(f"{name} want {want.id}: what would suit it", first and first.number, None)
    for session in {want.session for want in parking if want.session is not None}:
        mine = [want.id for want in parking if session in want.view.groups]
        _same(f"{name} wants of a session", [want.id for want in parking.of_session(session)], mine)
    for view in known:
        _same(f"{name} wants in a view", view.in_use, in_use[view])
