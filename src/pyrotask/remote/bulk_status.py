"""The bulk call that shows a broker as a whole: what `pyrotask status` prints.

It is part of the table of `pyrotask.remote.bulk`, and its rules hold here too; each field stands in
docs/protocol.md. It takes time in proportion to the processes and the tags, however many tasks there are,
and holds the lock for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyrotask
from pyrotask.core.explain import explain
from pyrotask.core.model import SECOND, Nanoseconds, NodeId, ProcessId
from pyrotask.core.session_info import sessions, to_collect
from pyrotask.journal import FileJournal
from pyrotask.reference import Origin, Request, task_id
from pyrotask.remote.bulk_looking import MOST_SESSIONS, sessions_to_wire

if TYPE_CHECKING:
    from pyrotask.callers import Caller
    from pyrotask.core.machine import Machine
    from pyrotask.journal import Journal


def status(origin: Origin, *, label: str = "", journal: Journal | None = None) -> Request:
    """What there is at one moment: tasks, processes, nodes, and why something waits."""
    del origin
    kept = journal_status(journal)

    def read(m: Machine, now: Nanoseconds, _: Caller | None) -> dict[str, Any]:
        explanations = explain(m, now)
        return {
            "label": label,
            "lineage": m.state.lineage,
            "version": pyrotask.__version__,
            "started_at": m.state.started_at / SECOND,
            "terminated": m.state.terminated,
            "journal": kept,
            "tasks": {state: dict(counts) for state, counts in m.state.counts()._asdict().items()},
            "late_answers": m.state.late_answers,
            "processes": [_process_status(m, now, number) for number in m.state.processes],
            "nodes": [_node_status(m, now, number) for number in m.state.nodes],
            "sessions": sessions_to_wire(sessions(m, limit=MOST_SESSIONS)),
            "sessions_open": len(m.state.sessions),
            "to_collect": to_collect(m),
            "explanations": [explanation.sentence for explanation in explanations],
            "reasons": [explanation.reason.value for explanation in explanations],
        }

    return Request(read)


def journal_status(journal: Journal | None) -> dict[str, Any] | None:
    """Where events are kept, and what of it can be lost; None: in memory. Does not block."""
    if not isinstance(journal, FileJournal):
        return None
    return {
        "path": str(journal.path),
        "policy": journal.policy.value,
        "can_lose": journal.policy.can_lose,
        "bytes": journal.size,
        "has_room": journal.has_room,
    }


def _process_status(machine: Machine, now: Nanoseconds, number: ProcessId) -> dict[str, Any]:
    process, vitals = machine.state.processes[number], machine.presence.processes[number]
    return {
        "id": number,
        "kind": process.kind.value,
        "info": process.info,
        "node": process.node,
        "tags": None if process.tags is None else sorted(process.tags),
        "period_s": None if process.period_ns is None else process.period_ns / SECOND,
        "silent_s": (now - vitals.heard_at) / SECOND,
        "connected": machine.presence.is_connected(process),
        "running": [task_id(machine.state.tasks[task].tag, task) for task in process.tasks],
    }


def _node_status(machine: Machine, now: Nanoseconds, number: NodeId) -> dict[str, Any]:
    node, vitals = machine.state.nodes[number], machine.presence.nodes[number]
    return {
        "id": number,
        "info": node.info,
        "period_s": node.period_ns / SECOND,
        "silent_s": (now - vitals.heard_at) / SECOND,
        "connected": vitals.is_connected,
    }
