"""Who is connected, who was heard when, and when a silence becomes a loss.

All of this is volatile: after a restart nobody is connected, and everybody has to be heard
anew. A *connection* is bound to the process that registered over it, or whose number it last
named; a process can have several. The rules for silence stand in `Presence.silent_until` and
`Presence.node_silent_until`, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyrotask.core.model import (
    ConnectionId,
    Kind,
    Limits,
    Nanoseconds,
    NodeId,
    Process,
    ProcessId,
    TaskNumber,
    WantId,
)

if TYPE_CHECKING:
    from pyrotask.core.model import Node


@dataclass(slots=True)
class Connection:
    """A way that calls come in."""

    id: ConnectionId
    process: ProcessId | None = None
    node: NodeId | None = None
    wants: dict[WantId, None] = field(default_factory=dict)
    leases: dict[TaskNumber, None] = field(default_factory=dict)
    """Leases that were handed out over it and have not ended."""
    closed_with: int | None = None
    """How many of them there were when it was closed; None while it is open."""


@dataclass(slots=True)
class Vitals:
    """The signs of life of a process or a node."""

    heard_at: Nanoseconds
    in_process: bool
    """It lives in the broker's own process: there is no connection to lose."""
    connections: set[ConnectionId] = field(default_factory=set)
    closed_at: Nanoseconds | None = None
    """When its last connection was closed; None before, and while it has one."""
    expected_by: Nanoseconds | None = None
    """After a restart, until it is heard: when it has to be."""
    parked: dict[WantId, None] = field(default_factory=dict)
    """Its blocked requests: each is a sign of life as long as it stands."""
    home: ConnectionId | None = None
    """Of our own worker: the connection that it registered or resumed over last. What comes in over
    an older one was sent before, and nobody reads the reply."""
    children: dict[ProcessId, None] = field(default_factory=dict)
    """Of a supervisor: the processes of its node."""
    watch_again_at: Nanoseconds = 0
    """From then on a sign of life moves the deadline."""
    asks: bool = False
    """It has ever asked for tasks, in this run."""

    def hear(self, now: Nanoseconds) -> None:
        """A sign of life."""
        self.heard_at = now
        self.expected_by = None

    def postpone(self, by: Nanoseconds) -> None:
        """Nothing could be heard for that long."""
        self.heard_at += by
        if self.closed_at is not None:
            self.closed_at += by
        if self.expected_by is not None:
            self.expected_by += by

    @property
    def is_connected(self) -> bool:
        """Whether there is a way by which it can be heard."""
        return self.in_process or bool(self.connections)


class Presence:
    """The connections, and the vitals of processes and nodes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.connections: dict[ConnectionId, Connection] = {}
        self.processes: dict[ProcessId, Vitals] = {}
        self.nodes: dict[NodeId, Vitals] = {}
        self._next_connection = 1

    def open(self) -> Connection:
        """A new connection, bound to nobody yet."""
        connection = Connection(ConnectionId(self._next_connection))
        self._next_connection += 1
        self.connections[connection.id] = connection
        return connection

    def close(self, connection: Connection, now: Nanoseconds) -> None:
        """Nothing comes in that way any more."""
        del self.connections[connection.id]
        connection.closed_with = len(connection.leases)
        for vitals in self._bound_to(connection):
            self._unbind(vitals, connection.id, now)

    def bind_process(self, connection: Connection, process: ProcessId, now: Nanoseconds) -> None:
        """The connection speaks for that process from now on, and for no other any more."""
        if connection.process in self.processes:
            self._unbind(self.processes[connection.process], connection.id, now)
        connection.process = process
        self._bind(self.processes[process], connection.id)

    def bind_node(self, connection: Connection, node: NodeId, now: Nanoseconds) -> None:
        """The connection speaks for that node from now on, and for no other any more."""
        if connection.node in self.nodes:
            self._unbind(self.nodes[connection.node], connection.id, now)
        connection.node = node
        self._bind(self.nodes[node], connection.id)

    def silent_until(self, process: Process) -> Nanoseconds | None:
        """The instant at which its silence is a loss, if it is not heard before; None: never.

        A child of a connected supervisor counts as connected: the supervisor would report
        its death, and a broken connection alone is no reason to run its task twice.
        """
        vitals = self.processes[process.id]
        limits = self._limits
        if vitals.parked:
            return None
        if vitals.expected_by is not None:
            return vitals.expected_by
        if self.is_connected(process):
            if process.period_ns is None:
                return None
            return vitals.heard_at + limits.liveness_factor * process.period_ns
        if process.kind is Kind.WORKER:
            return self._out_of_reach_since(process) + limits.reconnect_grace_ns
        if process.period_ns is None:
            return self._out_of_reach_since(process) + limits.plain_grace_ns
        return vitals.heard_at + int(limits.disconnected_factor * process.period_ns)

    def node_silent_until(self, node: Node) -> Nanoseconds:
        """The same for a supervisor."""
        vitals = self.nodes[node.id]
        if vitals.expected_by is not None:
            return vitals.expected_by
        if vitals.is_connected:
            return vitals.heard_at + self._limits.liveness_factor * node.period_ns
        return _closed_at(vitals) + self._limits.reconnect_grace_ns

    def is_connected(self, process: Process) -> bool:
        """Whether there is a way left by which the process could be heard."""
        node = self._supervisor(process)
        return self.processes[process.id].is_connected or (node is not None and node.is_connected)

    def _out_of_reach_since(self, process: Process) -> Nanoseconds:
        own = _closed_at(self.processes[process.id])
        node = self._supervisor(process)
        return own if node is None or node.closed_at is None else max(own, node.closed_at)

    def _supervisor(self, process: Process) -> Vitals | None:
        return None if process.node is None else self.nodes.get(process.node)

    def _bound_to(self, connection: Connection) -> list[Vitals]:
        bound = []
        if connection.process in self.processes:
            bound.append(self.processes[connection.process])
        if connection.node in self.nodes:
            bound.append(self.nodes[connection.node])
        return bound

    @staticmethod
    def _bind(vitals: Vitals, connection: ConnectionId) -> None:
        vitals.connections.add(connection)
        vitals.closed_at = None

    @staticmethod
    def _unbind(vitals: Vitals, connection: ConnectionId, now: Nanoseconds) -> None:
        vitals.connections.discard(connection)
        if not vitals.connections:
            vitals.closed_at = now


def _closed_at(vitals: Vitals) -> Nanoseconds:
    # One that never had a connection is out of reach since it was last heard.
    return vitals.heard_at if vitals.closed_at is None else vitals.closed_at
