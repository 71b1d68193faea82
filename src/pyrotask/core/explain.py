"""Why tasks wait: what a person is told whose script seems to hang.

`explain` looks at the state and changes nothing. It takes time in proportion to the tags that wait and
to the workers, however many tasks there are.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, assert_never

from pyrotask.core.deadlines import Due
from pyrotask.core.model import CALL, MAP, PLAIN, SECOND, Kind, Nanoseconds, TaskNumber
from pyrotask.core.records import schedule_of

if TYPE_CHECKING:
    from pyrotask.core.machine import Machine


OF_EXECUTORS = {
    CALL: ("1 call of an Executor waits", "calls of Executors wait"),
    MAP: ("1 chunk of an Executor's map waits", "chunks of Executors' maps wait"),
}
"""Our own tags, which say nothing to a person: who waits, one and several."""


MOST_LOOKED_AT = 1000
"""Tasks that are due next, of which it is told when that is: more would hold up everybody else."""


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
    """For NOT_DUE: how long until the first of them is due; None: many others are due before it."""

    @property
    def sentence(self) -> str:
        """The same for people."""
        one = self.tasks == 1
        singular, plural = OF_EXECUTORS.get(
            self.tag, (f"1 task tagged {self.tag} waits", f"tasks tagged {self.tag} wait")
        )
        subject = singular if one else f"{self.tasks} {plural}"
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
                due = "" if self.due_in_ns is None else f": {first} due in {self.due_in_ns / SECOND:.1f} s"
                return f"{subject} for {'its' if one else 'their'} time{due}"
            case Reason.INPUTS:
                return f"{subject} for the values of other tasks, which are unfinished"
            case _:
                assert_never(self.reason)


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
    return explanations + _explain_scheduled(machine, now)


def explain_line(machine: Machine, tag: str, *, plain: bool) -> Explanation:
    """Why those wait that are in line with that tag, plain or not; there must be one."""
    tasks = sum(
        lane.size
        for lane in machine.state.waiting
        if lane.key.tag == tag and (lane.key.group == PLAIN) is plain
    )
    return _explain_line(tag, plain, tasks, _workers(machine))


def _explain_line(tag: str, plain: bool, tasks: int, workers: Counter[_Worker]) -> Explanation:  # noqa: FBT001
    if not workers:
        return Explanation(Reason.NO_WORKER, tag, tasks, 0)
    able = Counter({worker: number for worker, number in workers.items() if worker.handles(tag)})
    if not able and not plain and any(worker.plain_only for worker in workers):
        return Explanation(Reason.UNREADABLE, tag, tasks, 0)
    if not able:
        return Explanation(Reason.NO_HANDLER, tag, tasks, workers.total())
    if not plain and all(worker.plain_only for worker in able):
        return Explanation(Reason.UNREADABLE, tag, tasks, able.total())
    return Explanation(Reason.BUSY, tag, tasks, able.total())


def _explain_scheduled(machine: Machine, now: Nanoseconds) -> list[Explanation]:
    scheduled = machine.state.scheduled
    if not scheduled:
        return []
    first_due: dict[str, Nanoseconds] = {}
    for number, at in machine.deadlines.soonest(Due.TASK, MOST_LOOKED_AT):
        task = machine.state.tasks[TaskNumber(number)]
        if not schedule_of(task).unready:
            first_due.setdefault(task.tag, max(0, at - now))
    not_due = [
        Explanation(Reason.NOT_DUE, tag, tasks, 0, first_due.get(tag))
        for tag, (tasks, _) in scheduled.items()
        if tasks
    ]
    return not_due + [
        Explanation(Reason.INPUTS, tag, tasks, 0) for tag, (_, tasks) in scheduled.items() if tasks
    ]


def _workers(machine: Machine) -> Counter[_Worker]:
    """Processes of our workers, those that ever asked for a task, and whoever asks anonymously.

    How many there are of each kind. Our own that are out of reach, and have nothing to do, are about to
    be lost: nobody waits for them.
    """
    presence = machine.presence
    workers: Counter[_Worker] = Counter()
    for process in machine.state.processes.values():
        vitals = presence.processes[process.id]
        is_ours = process.kind is Kind.WORKER
        if is_ours and not process.tasks and not presence.is_connected(process):
            continue
        if is_ours or vitals.asks:
            plain_only = not is_ours and not vitals.in_process
            idle = any(machine.task_wants.get(want) is not None for want in vitals.parked)
            workers[_Worker(process.tags, plain_only, idle)] += 1
    for connection in presence.connections.values():
        idle = any(machine.task_wants.get(want) is not None for want in connection.wants)
        if connection.process is None and (idle or connection.leases):
            workers[_Worker(None, plain_only=True, idle=idle)] += 1
    return workers
