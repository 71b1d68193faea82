"""Why tasks wait: what a person is told whose script seems to hang.

`explain` looks at the state and changes nothing. It takes time in proportion to the lines and
the workers, and to all tasks if some of them are scheduled.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, assert_never

from pyrotask.core.model import PLAIN, SECOND, Kind, Nanoseconds, Schedule

if TYPE_CHECKING:
    from pyrotask.core.machine import Machine


class Reason(enum.Enum):
    """Why they wait."""

    NO_WORKER = "no worker"
    NO_HANDLER = "no handler"
    UNREADABLE = "unreadable"
    """They are Python objects, and whoever asks for them reads plain values only."""
    BUSY = "busy"
    NOT_DUE = "not due"
    INPUTS = "inputs"
    """Tasks that they need the values of are unfinished."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why ``tasks`` tasks of one tag wait."""

    reason: Reason
    tag: str
    tasks: int
    workers: int
    """Those that are there, or (for BUSY and UNREADABLE) that have a handler for the tag."""
    due_in_ns: Nanoseconds | None = None
    """For NOT_DUE: how long until the first of them is due."""

    @property
    def sentence(self) -> str:
        """The same for people."""
        one = self.tasks == 1
        subject = f"1 task tagged {self.tag} waits" if one else f"{self.tasks} tasks tagged {self.tag} wait"
        match self.reason:
            case Reason.NO_WORKER:
                return f"{subject}; no worker is registered"
            case Reason.NO_HANDLER:
                of = (
                    "the only worker has no" if self.workers == 1 else f"none of {self.workers} workers has a"
                )
                return f"{subject}; {of} handler for it"
            case Reason.UNREADABLE:
                return (
                    f"{subject}; its payload is a Python object, and the slaves that ask for it read plain "
                    "values only: submit plain values, or start workers of pyrotask"
                )
            case Reason.BUSY:
                who = (
                    "the only worker that has"
                    if self.workers == 1
                    else f"all {self.workers} workers that have"
                )
                return f"{subject}: {who} a handler {'is' if self.workers == 1 else 'are'} busy"
            case Reason.NOT_DUE:
                first = "it is" if one else "the next is"
                return (
                    f"{subject} for {'its' if one else 'their'} time: {first} due in {self._due_in_s:.1f} s"
                )
            case Reason.INPUTS:
                return f"{subject} for the values of other tasks, which are unfinished"
            case _:
                assert_never(self.reason)

    @property
    def _due_in_s(self) -> float:
        return (self.due_in_ns or 0) / SECOND


class _Worker(NamedTuple):
    """Somebody who runs tasks."""

    tags: frozenset[str] | None
    plain_only: bool
    idle: bool
    """It is parked for a task: so what waits does not suit it."""

    def handles(self, tag: str) -> bool:
        return not self.idle if self.tags is None else tag in self.tags


def explain(machine: Machine, now: Nanoseconds) -> list[Explanation]:
    """Why each task waits that is not running, by tag: those in line first, then the scheduled."""
    workers = _workers(machine)
    in_line: Counter[tuple[str, bool]] = Counter()
    for lane in machine.state.waiting:
        in_line[lane.key.tag, lane.key.group == PLAIN] += lane.size
    explanations = [_explain_line(tag, plain, n, workers) for (tag, plain), n in in_line.items()]
    if machine.state.unstarted > in_line.total():
        explanations += _explain_scheduled(machine, now)
    return explanations


def explain_line(machine: Machine, tag: str, *, plain: bool) -> Explanation:
    """Why those wait that are in line with that tag, plain or not; there must be one."""
    tasks = sum(
        lane.size
        for lane in machine.state.waiting
        if lane.key.tag == tag and (lane.key.group == PLAIN) is plain
    )
    return _explain_line(tag, plain, tasks, _workers(machine))


def _explain_line(tag: str, plain: bool, tasks: int, workers: list[_Worker]) -> Explanation:  # noqa: FBT001
    if not workers:
        return Explanation(Reason.NO_WORKER, tag, tasks, 0)
    able = [worker for worker in workers if worker.handles(tag)]
    if not able and not plain and any(worker.plain_only for worker in workers):
        return Explanation(Reason.UNREADABLE, tag, tasks, 0)
    if not able:
        return Explanation(Reason.NO_HANDLER, tag, tasks, len(workers))
    if not plain and all(worker.plain_only for worker in able):
        return Explanation(Reason.UNREADABLE, tag, tasks, len(able))
    return Explanation(Reason.BUSY, tag, tasks, len(able))


def _explain_scheduled(machine: Machine, now: Nanoseconds) -> list[Explanation]:
    inputs: Counter[str] = Counter()
    due: dict[str, list[Nanoseconds]] = {}
    for task in machine.state.tasks.values():
        if isinstance(task.detail, Schedule):
            if task.detail.unready:
                inputs[task.tag] += 1
            else:
                due.setdefault(task.tag, []).append(task.detail.due_at or now)
    not_due = [
        Explanation(Reason.NOT_DUE, tag, len(instants), 0, max(0, min(instants) - now))
        for tag, instants in due.items()
    ]
    return not_due + [Explanation(Reason.INPUTS, tag, tasks, 0) for tag, tasks in inputs.items()]


def _workers(machine: Machine) -> list[_Worker]:
    """Processes of our workers, those that ever asked for a task, and whoever asks anonymously."""
    presence = machine.presence
    workers = []
    for process in machine.state.processes.values():
        vitals = presence.processes[process.id]
        if process.kind is Kind.WORKER or vitals.asks:
            plain_only = process.kind is Kind.PLAIN and not vitals.in_process
            idle = any(machine.task_wants.get(want) is not None for want in vitals.parked)
            workers.append(_Worker(process.tags, plain_only, idle))
    for connection in presence.connections.values():
        idle = any(machine.task_wants.get(want) is not None for want in connection.wants)
        if connection.process is None and (idle or connection.leases):
            workers.append(_Worker(None, plain_only=True, idle=idle))
    return workers
