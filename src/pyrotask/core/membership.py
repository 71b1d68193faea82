"""How processes and supervisors come, go, and are lost; and what becomes of their tasks.

Whoever goes, by whatever way: first its tasks, then its blocked requests, then its signs of
life, and last the process itself. So nothing is ever handed to one that is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyrotask.core import events as e
from pyrotask.core.deadlines import Due, Key
from pyrotask.core.leases import holder_of
from pyrotask.core.model import (
    PUBLIC,
    Cause,
    ConnectionId,
    Delivery,
    Ended,
    Holder,
    Kind,
    Limits,
    Nanoseconds,
    NodeId,
    Process,
    ProcessId,
    Schedule,
    State,
    Task,
    TaskNumber,
)
from pyrotask.errors import Refused, UnknownProcess

if TYPE_CHECKING:
    from pyrotask.core.deadlines import Deadlines
    from pyrotask.core.endings import Endings
    from pyrotask.core.leases import Leases
    from pyrotask.core.liveness import Liveness
    from pyrotask.core.matching import Matching
    from pyrotask.core.presence import Connection, Presence
    from pyrotask.core.recorder import Recorder


class Membership:
    """Who takes part."""

    def __init__(
        self,
        recorder: Recorder,
        deadlines: Deadlines,
        presence: Presence,
        limits: Limits,
        liveness: Liveness,
        endings: Endings,
        leases: Leases,
        matching: Matching,
    ) -> None:
        self._recorder = recorder
        self._state = recorder.state
        self._deadlines = deadlines
        self._presence = presence
        self._limits = limits
        self._liveness = liveness
        self._endings = endings
        self._leases = leases
        self._matching = matching

    # --- coming -------------------------------------------------------------------------

    def register(
        self,
        now: Nanoseconds,
        kind: Kind,
        period_ns: Nanoseconds | None,
        info: str,
        node: NodeId | None,
        tags: frozenset[str] | None,
        via: Connection | None,
    ) -> ProcessId:
        """A new process."""
        number = self._recorder.new_process()
        self._recorder.record(e.ProcessRegistered(now, number, kind, period_ns, info, node, tags))
        self._liveness.admit(now, self._state.processes[number], via)
        if via is not None and kind is Kind.WORKER:
            self._presence.processes[number].home = via.id
        return number

    def come_home(self, now: Nanoseconds, process: Process, connection: ConnectionId) -> None:
        """A worker has reconnected. What it asked for over an older connection, it asks for no more."""
        vitals = self._presence.processes[process.id]
        if vitals.home is not None and connection < vitals.home:
            raise Refused(
                f"process {process.id} has resumed over a newer connection: this call was sent before, "
                "and nothing was done"
            )
        vitals.home = connection
        wants = self._matching.task_wants
        parked = [want for number in vitals.parked if (want := wants.get(number)) is not None]
        old = [want.id for want in parked if want.connection != connection]
        self._matching.refuse(now, old, lambda: Refused("the worker has resumed over another connection"))

    def register_node(
        self, now: Nanoseconds, period_ns: Nanoseconds, info: str, via: Connection | None
    ) -> NodeId:
        """A new supervisor."""
        number = self._recorder.new_node()
        self._recorder.record(e.NodeRegistered(now, number, period_ns, info))
        self._liveness.admit_node(now, number, via)
        return number

    # --- going --------------------------------------------------------------------------

    def disconnect(self, now: Nanoseconds, number: ConnectionId) -> None:
        """A connection is closed: its requests die, its leases and its process may follow."""
        connection = self._presence.connections.get(number)
        if connection is None:
            return
        for want in list(connection.wants):
            self._matching.withdraw(now, want)
        self._liveness.close(now, connection)
        for task in connection.leases:
            self._leases.strand(task)
            if holder_of(self._state.tasks[task]).process is None:
                self._deadlines.set(Key(Due.LEASE, task), now + self._limits.plain_grace_ns)

    def unregister(self, now: Nanoseconds, process: Process) -> None:
        """It leaves by its own will: nobody is to blame."""
        self._leases.release_all(process.tasks, Cause.DRAINED)
        self._forget(now, process, f"process {process.id} has unregistered")
        self._recorder.record(e.ProcessUnregistered(process.id))

    def child_exited(
        self, now: Nanoseconds, process: Process, begun: Mapping[TaskNumber, int], detail: str
    ) -> None:
        """What it had begun crashed, the rest did not."""
        for task in self._leases.last_first(process.tasks):
            if begun.get(task.number) == task.attempt:
                self._leases.crash(now, task, detail)
            else:
                self._leases.release(task, Cause.NOT_BEGUN)
        self._forget(now, process, f"process {process.id} has ended: {detail}")
        self._recorder.record(e.ProcessLost(now, process.id, detail))

    def lose(self, now: Nanoseconds, process: Process) -> None:
        """It has been silent for too long."""
        number = process.id
        connected = self._presence.is_connected(process)
        way = "was silent" if connected else "had no connection left and was silent"
        silent_s = (now - self._presence.processes[number].heard_at) / 1e9
        detail = f"process {number} {way} for {silent_s:.1f} s"
        tasks = self._leases.last_first(process.tasks)
        # A closed connection, nobody to ask, and one task that can have done it.
        crashed = not connected and process.node is None and len(tasks) == 1
        for task in tasks:
            if crashed:
                self._leases.crash(now, task, detail)
            else:
                self._leases.lose(now, task, detail)
        self._forget(now, process, detail)
        self._recorder.record(e.ProcessLost(now, number, detail))

    def forget_node(self, number: NodeId) -> None:
        """A supervisor is gone: its children are on their own."""
        self._recorder.record(e.NodeUnregistered(number))
        self._liveness.forget_node(number)

    def _forget(self, now: Nanoseconds, process: Process, why: str) -> None:
        parked = self._presence.processes[process.id].parked
        self._matching.refuse(now, parked, lambda: UnknownProcess(f"{why}: register again"))
        self._liveness.forget(process.id)
        self._leases.forget(process.id)
        self._matching.settle(now)

    # --- a new run ------------------------------------------------------------------------

    def resume(self, now: Nanoseconds) -> None:
        """After a replay: nobody is connected yet, everybody is expected, work goes on."""
        grace, factor = self._limits.recovery_grace_ns, self._limits.liveness_factor
        for node in self._state.nodes.values():
            self._liveness.expect_node(now, node.id, now + max(grace, factor * node.period_ns))
        for process in self._state.processes.values():  # they join their nodes
            by = now + max(grace, factor * (process.period_ns or 0))
            self._liveness.expect(now, process, by)
            for held in process.tasks:
                self._leases.strand(held)
        tasks = self._state.tasks
        self._leases.release_all([n for n in tasks if _is_anonymous(tasks[n])], Cause.UNDELIVERED)
        for number, task in tasks.items():
            if isinstance(task.detail, Schedule) and task.detail.due_at is not None:
                self._deadlines.set(Key(Due.TASK, number), task.detail.due_at)
            elif isinstance(task.detail, Holder) and task.options.time_limit_ns is not None:
                limit = task.detail.leased_at + task.options.time_limit_ns
                self._deadlines.set(Key(Due.TIME_LIMIT, number), limit)
        self._undo_public_deliveries()
        self._keep_failures()
        self._matching.settle(now)

    def _undo_public_deliveries(self) -> None:
        """Nobody is left who could say that such an answer has arrived; so it has not.

        Clients with a session of their own come back, and say so themselves.
        """
        tasks = self._state.tasks.values()
        lost = [t for t in tasks if t.delivery is Delivery.HANDED_OUT and t.session == PUBLIC]
        for task in sorted(lost, key=lambda task: task.order, reverse=True):
            self._endings.undo_delivery(task)

    def _keep_failures(self) -> None:
        """Those that were delivered and kept are looked after by nobody yet."""
        kept = [task for task in self._state.tasks.values() if _is_kept(task)]
        for task in sorted(kept, key=_ended_at):
            self._endings.keep(task)


def _is_kept(task: Task) -> bool:
    delivered = task.delivery is Delivery.ACKNOWLEDGED and task.keyed is None
    return delivered and task.state is State.FAILED


def _ended_at(task: Task) -> Nanoseconds:
    assert isinstance(task.detail, Ended), task.number
    return task.detail.ended_at


def _is_anonymous(task: Task) -> bool:
    return isinstance(task.detail, Holder) and task.detail.process is None
