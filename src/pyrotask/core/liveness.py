"""Signs of life, and the deadlines that follow from them.

Whenever something changes that `Presence.silent_until` looks at, the deadline of the process
or node is set anew here. Of a process that is heard all the time that is done now and then only:
its deadline may be a little too early, and when it comes, `is_silent` looks again. It is never too
late. All of this is volatile: nothing is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrotask.core.deadlines import Due, Key
from pyrotask.core.model import SECOND, Nanoseconds, NodeId, Process, ProcessId
from pyrotask.core.presence import Vitals

if TYPE_CHECKING:
    from pyrotask.core.deadlines import Deadlines
    from pyrotask.core.parking import Want
    from pyrotask.core.presence import Connection, Presence
    from pyrotask.core.state import DurableState


class Liveness:
    """Keeps the deadlines of processes and nodes true."""

    def __init__(self, state: DurableState, presence: Presence, deadlines: Deadlines) -> None:
        self._state = state
        self._presence = presence
        self._deadlines = deadlines

    # --- processes ----------------------------------------------------------------------

    def admit(self, now: Nanoseconds, process: Process, via: Connection | None) -> None:
        """A process has registered; without a connection it lives in our own process."""
        self._presence.processes[process.id] = Vitals(now, in_process=via is None)
        self._join_node(process)
        self.called_by(now, process, via)

    def expect(self, now: Nanoseconds, process: Process, by: Nanoseconds) -> None:
        """After a restart: it has to be heard by then."""
        self._presence.processes[process.id] = Vitals(now, in_process=False, expected_by=by)
        self._join_node(process)
        self._watch(process)

    def _join_node(self, process: Process) -> None:
        if process.node in self._presence.nodes:
            self._presence.nodes[process.node].children[process.id] = None

    def called_by(self, now: Nanoseconds, process: Process, via: Connection | None) -> None:
        """A call names the process: the connection speaks for it from now on."""
        vitals = self._presence.processes[process.id]
        if via is not None and via.process != process.id:
            before = via.process
            self._presence.bind_process(via, process.id, now)
            if before in self._state.processes:
                self._watch(self._state.processes[before])
            vitals.watch_again_at = 0  # what counts as silence may be another by now
        if via is None and vitals.expected_by is not None:
            vitals.in_process = True  # after a restart, and not over a connection
        self.hear(now, process)

    def hear(self, now: Nanoseconds, process: Process) -> None:
        """A sign of life."""
        vitals = self._presence.processes[process.id]
        vitals.hear(now)
        if now >= vitals.watch_again_at:
            self._watch(process)

    def is_silent(self, now: Nanoseconds, process: Process) -> bool:
        """The deadline of the process has come: has it been silent for too long? If not, it has another."""
        at = self._presence.silent_until(process)
        if at is not None and at <= now:
            return True
        self._watch(process)
        return False

    def hear_over(self, now: Nanoseconds, connection: Connection) -> None:
        """A sign of life of whoever the connection speaks for."""
        if connection.process in self._state.processes:
            self.hear(now, self._state.processes[connection.process])
        if connection.node in self._state.nodes:
            self.hear_node(now, connection.node, None)

    def park(self, want: Want) -> None:
        """A blocked request is a sign of life for as long as it stands."""
        if want.speaker in self._state.processes:
            self._presence.processes[want.speaker].parked[want.id] = None

    def unpark(self, now: Nanoseconds, want: Want) -> None:
        """It does not stand any more: the period begins anew."""
        if want.speaker in self._state.processes:
            del self._presence.processes[want.speaker].parked[want.id]
            self.hear(now, self._state.processes[want.speaker])

    def forget(self, number: ProcessId) -> None:
        """The process is gone. Its requests were answered before."""
        vitals = self._presence.processes.pop(number)
        node = self._state.processes[number].node
        if node in self._presence.nodes:
            del self._presence.nodes[node].children[number]
        for connection in vitals.connections:
            self._presence.connections[connection].process = None
        self._deadlines.clear(Key(Due.PROCESS, number))

    def _watch(self, process: Process) -> None:
        vitals, at = self._presence.processes[process.id], self._presence.silent_until(process)
        if at is None:
            self._deadlines.clear(Key(Due.PROCESS, process.id))
        else:
            self._deadlines.set(Key(Due.PROCESS, process.id), at)
        is_steady = not vitals.parked and vitals.expected_by is None
        vitals.watch_again_at = vitals.heard_at + moment_of(process) if is_steady else 0

    # --- nodes ----------------------------------------------------------------------------

    def admit_node(self, now: Nanoseconds, number: NodeId, via: Connection | None) -> None:
        """A supervisor has registered."""
        self._presence.nodes[number] = Vitals(now, in_process=via is None)
        self.hear_node(now, number, via)

    def expect_node(self, now: Nanoseconds, number: NodeId, by: Nanoseconds) -> None:
        """After a restart: it has to be heard by then."""
        self._presence.nodes[number] = Vitals(now, in_process=False, expected_by=by)
        self._watch_node(number)

    def hear_node(self, now: Nanoseconds, number: NodeId, via: Connection | None) -> None:
        """A sign of life of a supervisor; the connection speaks for it from now on."""
        self._presence.nodes[number].hear(now)
        if via is not None and via.node != number:
            before = via.node
            self._presence.bind_node(via, number, now)
            self._watch_children(self._presence.nodes[number])
            if before in self._state.nodes:
                self._watch_node(before)
                self._watch_children(self._presence.nodes[before])
        self._watch_node(number)

    def forget_node(self, number: NodeId) -> None:
        """The supervisor is gone. Its children are on their own."""
        vitals = self._presence.nodes.pop(number)
        for connection in vitals.connections:
            self._presence.connections[connection].node = None
        self._deadlines.clear(Key(Due.NODE, number))
        self._watch_children(vitals)

    def _watch_node(self, number: NodeId) -> None:
        node = self._state.nodes[number]
        self._deadlines.set(Key(Due.NODE, number), self._presence.node_silent_until(node))

    def _watch_children(self, node: Vitals) -> None:
        """The way to hear them has changed."""
        for number in node.children:
            self._watch(self._state.processes[number])

    # --- connections --------------------------------------------------------------------------

    def close(self, now: Nanoseconds, connection: Connection) -> None:
        """Nothing comes in that way any more."""
        self._presence.close(connection, now)
        if connection.process in self._state.processes:
            self._watch(self._state.processes[connection.process])
        if connection.node in self._state.nodes:
            self._watch_node(connection.node)
            self._watch_children(self._presence.nodes[connection.node])

    def lose_no_time(self, by: Nanoseconds) -> None:
        """Nobody could be heard for that long: no silence counts for that time."""
        for vitals in (*self._presence.processes.values(), *self._presence.nodes.values()):
            vitals.postpone(by)
        self._deadlines.postpone(frozenset({Due.LEASE, Due.PROCESS, Due.NODE}), by)


def moment_of(process: Process) -> Nanoseconds:
    """How much earlier than need be its deadline may be."""
    return (SECOND if process.period_ns is None else process.period_ns) // 8
