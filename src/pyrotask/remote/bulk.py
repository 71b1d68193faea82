"""The bulk object: what our own workers, supervisors, clients and command line talk to.

It is served as ``Pyrotask.Bulk``, with msgpack, and stands beside the reference API
(`pyrotask.reference`) as the same kind of table: each call checks its arguments and becomes a
`Request`. Payloads stay as they are, ``[format, [buffer, ...]]``: nothing is decoded here.

Numbers for processes, nodes and tasks are ints, durations seconds. `exchange` is what a worker
lives on: it hands in results and asks for the next tasks, in one message.

To add a call, write its function here; its name in `CALLS` is its name on the wire. **What a
call takes and returns is wire format: see `versions.WIRES`.**
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pyrotask
from pyrotask.arena import Opening
from pyrotask.core.machine import Machine, Step
from pyrotask.core.model import Kind, Nanoseconds, NodeId, Payload, ProcessId, TaskNumber
from pyrotask.core.recorder import Steps
from pyrotask.errors import BrokerBroken, Refused, TaskManagerTermination, UnknownProcess
from pyrotask.journal import FileJournal
from pyrotask.reference import Origin, Request
from pyrotask.remote import versions
from pyrotask.remote.bulk_clients import CLIENT_CALLS
from pyrotask.remote.bulk_looking import LOOKING_CALLS
from pyrotask.remote.bulk_status import status
from pyrotask.remote.bulk_values import (
    LONGEST_WAIT_S,
    NOTHING,
    PatientCaller,
    Result,
    durations_ns,
    measurements_from_wire,
    nothing,
    numbers,
    or_nothing,
    payload_from_wire,
    payload_to_wire,
    results_from_wire,
    tags_from_wire,
    task_to_wire,
    text,
    wait_ns,
)

if TYPE_CHECKING:
    from pyrotask.callers import Caller
    from pyrotask.core.model import Lease
    from pyrotask.journal import Journal

OBJECT_ID = "Pyrotask.Bulk"

BEAT_TELLS_WHAT_IS_IN_VAIN = 2
"""From this version on, that is; before, its reply is the list of the unknown ones."""


# --- who is there -----------------------------------------------------------------------------


def hello(origin: Origin, *, label: str = "", journal: Journal | None = None) -> Request:
    """Who answers here: its versions, its lineage and its label; and where to open what it shares."""
    plate = None if origin.visitor is None else origin.visitor.plate

    def read(machine: Machine, _now: Nanoseconds, _: Caller | None) -> dict[str, Any]:
        shown = {} if plate is None else {"arena": list(plate)}
        return {
            **shown,
            "wire": versions.WIRES.newest,
            "oldest_wire": versions.WIRES.oldest,
            "version": pyrotask.__version__,
            "python": platform.python_version(),
            "lineage": machine.state.lineage,
            "label": label,
            "terminated": machine.state.terminated,
            "has_journal": isinstance(journal, FileJournal),
        }

    return Request(read)


def share(origin: Origin, process: int, descriptor: int, identity: bytes) -> Request:
    """The client has opened our plate (see `hello`), and shares a segment of its own, if it has one.

    From now on it is sent references to large buffers. Returns whether it may send such to that
    segment; ``identity`` is empty if it has none.
    """
    named = Opening(numbers(process, "process"), numbers(descriptor, "descriptor"), _identity(identity))
    visitor = origin.visitor
    # Opened here, and not under the engine's lock.
    is_open = visitor is not None and visitor.show(named)
    return Request(lambda _m, _now, _: is_open)


def _identity(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"identity must be bytes, not {type(value).__name__}")
    return value


def register_node(origin: Origin, period_s: float, info: str) -> Request:
    """Register a supervisor that beats at least every ``period_s``; returns its node's number."""
    period_ns = durations_ns(period_s, "period_s")
    about = text(info, "info")
    return Request(
        lambda m, now, _: m.register_node(now, period_ns=period_ns, info=about, connection=origin.connection)
    )


def register_worker(
    origin: Origin, node: int | None, period_s: float | None, info: str, tags: list[str] | None
) -> Request:
    """Register a worker, below a supervisor or not; returns its process number.

    ``tags`` are those that it has handlers for; None: not told.
    """
    above = None if node is None else NodeId(numbers(node, "node"))
    period_ns = None if period_s is None else durations_ns(period_s, "period_s")
    about, handled = text(info, "info"), tags_from_wire(tags)
    return Request(
        lambda m, now, _: m.register(
            now,
            period_ns=period_ns,
            info=about,
            kind=Kind.WORKER,
            node=above,
            tags=handled,
            connection=origin.connection,
        )
    )


def beat(origin: Origin, node: int, alive: list[int]) -> Request:
    """A supervisor's sign of life, for itself and its children.

    The reply has those that are ``unknown``, and in ``ended`` each ``[process, task, attempt]`` of
    theirs that is in vain by now. Each of these is told once.
    """
    number, children = NodeId(numbers(node, "node")), _processes(alive)

    def command(machine: Machine, now: Nanoseconds, _: Caller | None) -> dict[str, Any] | list[ProcessId]:
        unknown = machine.beat(now, number, children, origin.connection)
        if origin.wire < BEAT_TELLS_WHAT_IS_IN_VAIN:
            return unknown
        ended = [[child, task, attempt] for child in children for task, attempt in machine.take_ended(child)]
        return {"unknown": unknown, "ended": ended}

    return Request(command)


def give_back(origin: Origin, node: int, attempts: list[list[int]]) -> Request:
    """Children of this supervisor will not begin these ``[task, attempt]``: others may.

    What is not theirs any more is left alone.
    """
    number, given_back = NodeId(numbers(node, "node")), _attempts(attempts)
    return Request(lambda m, now, _: m.give_back_unbegun(now, number, given_back, origin.connection), nothing)


def child_exited(origin: Origin, process: int, begun: list[list[int]], detail: str) -> Request:
    """A child has ended; ``begun`` names each ``[task, attempt]`` that it had begun by then."""
    del origin
    number, attempts, how = _process(process), _attempts(begun), text(detail, "detail")
    return Request(lambda m, now, _: m.child_exited(now, number, attempts, how), nothing)


def time_limit_reached(origin: Origin, process: int, task: int, attempt: int) -> Request:
    """A child's task ran too long: its lease ends now, before the child is killed."""
    del origin
    number, which, tried = _process(process), TaskNumber(numbers(task, "task")), numbers(attempt, "attempt")
    return Request(lambda m, now, _: m.reach_time_limit(now, which, tried, number), nothing)


def unregister_node(origin: Origin, node: int) -> Request:
    """A supervisor leaves. Its children, if there are any, are on their own."""
    del origin
    number = NodeId(numbers(node, "node"))
    return Request(lambda m, _now, _: m.unregister_node(number), nothing)


def unregister(origin: Origin, process: int) -> Request:
    """A worker leaves, or its supervisor says so; what it holds goes back to the front."""
    del origin
    number = _process(process)
    return Request(lambda m, now, _: m.unregister(now, number), nothing)


def resume(origin: Origin, process: int, held: list[list[int]]) -> Request:
    """The first call after a reconnect: the worker holds these ``[task, attempt]`` and no others.

    Returns False if the process is not registered any more.
    """
    number, attempts = _process(process), _attempts(held)

    def take_up(machine: Machine, now: Nanoseconds, _: Caller | None) -> Step | bool:
        if not machine.ping(now, number, origin.connection):
            return False
        return machine.hold_only(now, number, attempts, origin.connection)

    return Request(take_up, lambda reply: reply is not False)


# --- tasks ------------------------------------------------------------------------------------


def exchange(
    origin: Origin,
    process: int,
    results: list[list[Any]],
    tags: list[str] | None,
    count: int,
    timeout_s: float,
    ran: list[list[Any]] | None = None,
) -> Request:
    """Hand in results, then lease up to ``count`` tasks of these tags.

    Waits up to ``timeout_s`` (at most `LONGEST_WAIT_S`; 0: not at all) for the first task; if
    none comes, ``tasks`` is empty. ``tags`` None: those that the process registered with.
    ``ran`` tells how long tasks took that it has run: each ``[tag, tasks, seconds in all]``.

    ``refused`` tells which results were not taken, and why; the others were. ``ended``, if it is
    there, tells which ``[task, attempt]`` of this worker are in vain by now.

    Raises, when every result has been looked at:
        UnknownProcess: the process is not registered (any more).
        TaskManagerTermination: there will be no more tasks.
    """
    number, handled = _process(process), tags_from_wire(tags)
    most, patience_ns = numbers(count, "count"), wait_ns(timeout_s)
    measured = measurements_from_wire(ran)
    handed_in, refused = results_from_wire(results), list[list[Any]]()
    in_vain: list[tuple[TaskNumber, int]] = []

    def command(machine: Machine, now: Nanoseconds, caller: Caller | None) -> Step:
        done = Steps()
        machine.paces.note_all(measured)
        try:
            for step in _hand_in(machine, now, number, handed_in, origin, refused):
                done.add(step)
            if most:
                in_vain.extend(machine.take_ended(number))
            return done.ended_by(or_nothing(_lease(machine, now, caller)))
        except (UnknownProcess, TaskManagerTermination) as error:
            return done.ended_by(Step(error, (), ()))
        except Exception as error:
            if not done.events:
                raise
            # The events of the steps before would be lost, and what they did would not.
            raise BrokerBroken(f"{error!r} in the middle of an exchange") from error

    def _lease(machine: Machine, now: Nanoseconds, caller: Caller | None) -> Step:
        if most == 0:
            if not machine.ping(now, number, origin.connection):
                raise UnknownProcess(f"process {number} is not registered (any more): register again")
            return Step(NOTHING, (), ())
        own = machine.state.processes.get(number)
        wanted = own.tags if handled is None and own is not None else handled
        return machine.lease(
            now,
            tags=wanted,
            process=number,
            connection=origin.connection,
            count=most,
            caller=None if caller is None else PatientCaller(caller),
            timeout_at=now + patience_ns,
        )

    def present(leases: Sequence[Lease] | str) -> dict[str, Any]:
        tasks = [] if isinstance(leases, str) else [task_to_wire(lease) for lease in leases]
        reply = {"tasks": tasks, "refused": refused}
        return {**reply, "ended": list(map(list, in_vain))} if in_vain else reply

    return Request(command, present, blocks=True, timeout=None if patience_ns and most else 0.0)


def _hand_in(
    machine: Machine,
    now: Nanoseconds,
    process: ProcessId,
    results: Sequence[Result],
    origin: Origin,
    refused: list[list[Any]],
) -> Iterator[Step]:
    """Hand them in, successive values together; ``refused`` gets what was not taken, and why."""
    for is_value, some in groupby(results, _has_value):
        if is_value:
            # Not over which connection: the exchange as a whole is the sign of life.
            step = machine.succeed_many(now, [result[:3] for result in some])  # type: ignore[misc]
            refused += [[task, str(error)] for task, error in step.reply]  # type: ignore[attr-defined]
            yield step
            continue
        for result in some:
            try:
                yield _end(machine, now, process, result, origin)
            except Refused as error:
                refused.append([result.task, str(error)])


def _has_value(result: Result) -> bool:
    return result.value is not None


def _end(machine: Machine, now: Nanoseconds, process: ProcessId, result: Result, origin: Origin) -> Step:
    task, attempt = result.task, result.attempt
    if result.failure is not None:
        return machine.fail(
            now, task, result.failure, attempt=attempt, process=process, connection=origin.connection
        )
    return machine.give_back(
        now, task, cause=result.cause, attempt=attempt, process=process, connection=origin.connection
    )


# --- data and the end ------------------------------------------------------------------------


def store_data(origin: Origin, items: dict[str, list[Any]]) -> Request:
    """Store payloads under labels, all of them at once."""
    del origin
    if not isinstance(items, dict):
        raise TypeError(f"items must be a dict of payloads, not {type(items).__name__}")
    values = {text(label, "a label"): payload_from_wire(value) for label, value in items.items()}
    return Request(lambda m, _now, _: m.store_data(values), nothing)


def retrieve_data(origin: Origin, label: str) -> Request:
    """The payload that is stored under that label."""
    del origin
    name = text(label, "label")
    return Request(lambda m, _now, _: m.retrieve_data(name), payload_to_wire)


def delete_data(origin: Origin, label: str) -> Request:
    """Delete what is stored under that label."""
    del origin
    name = text(label, "label")
    return Request(lambda m, _now, _: m.delete_data(name), nothing)


def terminate(origin: Origin) -> Request:
    """See `TaskManager.terminate`."""
    del origin
    return Request(lambda m, now, _: m.terminate(now), nothing)


Call = Callable[..., Request]

_WORKERS_CALLS: Mapping[str, Call] = {
    call.__name__: call
    for call in (
        hello,
        share,
        register_node,
        register_worker,
        beat,
        give_back,
        child_exited,
        time_limit_reached,
        unregister_node,
        unregister,
        resume,
        exchange,
        store_data,
        retrieve_data,
        delete_data,
        status,
        terminate,
    )
}

CALLS: Mapping[str, Call] = {**_WORKERS_CALLS, **CLIENT_CALLS, **LOOKING_CALLS}
"""All calls by name, for a broker without a label."""


def service(label: str, journal: Journal | None = None) -> dict[str, Call]:
    """All calls by name, for the broker of that label and journal."""
    return {
        **CALLS,
        "hello": partial(hello, label=label, journal=journal),
        "status": partial(status, label=label, journal=journal),
    }


# --- arguments --------------------------------------------------------------------------------


def _process(value: object) -> ProcessId:
    return ProcessId(numbers(value, "process"))


def _processes(values: object) -> list[ProcessId]:
    if not isinstance(values, list | tuple):
        raise TypeError(f"alive must be a list of process numbers, not {type(values).__name__}")
    return [_process(value) for value in values]


def _attempts(pairs: object) -> dict[TaskNumber, int]:
    if not isinstance(pairs, list | tuple):
        raise TypeError(f"attempts must be a list of [task, attempt], not {type(pairs).__name__}")
    return {TaskNumber(numbers(task, "task")): numbers(attempt, "attempt") for task, attempt in pairs}


__all__ = ["CALLS", "LONGEST_WAIT_S", "OBJECT_ID", "Payload", "service"]
