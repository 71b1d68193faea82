"""Leases: how tasks are handed out, and the ways in which that ends.

The holder of a lease stands in the task. Volatile are the connection that it was handed out
over, and its deadlines; `_over` ends those, and goes before the event that ends the lease.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from pyrotask.core import events as e
from pyrotask.core.deadlines import Due, Key
from pyrotask.core.endings import name_of
from pyrotask.core.model import (
    NEW,
    NUMBER_OF,
    RUNNING,
    WAITING,
    Cause,
    Failure,
    Holder,
    Kind,
    Lease,
    Limits,
    Nanoseconds,
    NodeId,
    Payload,
    Process,
    ProcessId,
    Task,
    TaskNumber,
    Trouble,
)
from pyrotask.core.paces import LONG_NS, TOGETHER_NS
from pyrotask.core.retry import retry_at
from pyrotask.errors import NotHolder

if TYPE_CHECKING:
    from pyrotask.core.deadlines import Deadlines
    from pyrotask.core.endings import Endings
    from pyrotask.core.lanes import View
    from pyrotask.core.paces import Paces
    from pyrotask.core.presence import Connection
    from pyrotask.core.recorder import Recorder

_NO_TROUBLE = Trouble()

MOST_BYTES = 1 << 20
"""How many bytes of parameters are handed out at once; always one task, however large."""


class Leases:
    """Hands out tasks, and takes them back."""

    def __init__(
        self, recorder: Recorder, deadlines: Deadlines, limits: Limits, endings: Endings, paces: Paces
    ) -> None:
        self._recorder = recorder
        self._state = recorder.state
        self._deadlines = deadlines
        self._limits = limits
        self._endings = endings
        self._paces = paces
        self.connections: dict[TaskNumber, Connection] = {}
        """The ways that running tasks were handed out; none for our own process."""
        self.ended: dict[ProcessId, dict[TaskNumber, int]] = {}
        """Attempts of our own workers that are in vain by now, until they are told."""
        self.stranded: dict[ProcessId, dict[TaskNumber, None]] = {}
        """Leases of plain processes whose way was closed, until they ask for more."""

    # --- beginning ----------------------------------------------------------------------

    def hand_out(
        self,
        now: Nanoseconds,
        view: View,
        process: ProcessId | None,
        via: Connection | None,
        *,
        count: int = 1,
        share: int = 1,
    ) -> tuple[Lease, ...]:
        """Up to ``count`` tasks, and `MOST_BYTES`: the ``share`` of the process, or more if they are short.

        One that has killed a worker is never among innocents; nor is one with a time limit among
        others, since that begins when it is handed out; nor one that is known to be long.
        """
        if count == 1:  # most ask for one, and for one nothing else matters
            head = view.first()
            return () if head is None else self._lease(now, [self._endings.task_of(head)], process, via)
        leases: tuple[Lease, ...] = ()
        room = _Room(share)
        while len(leases) < count and (run := view.run(count - len(leases))):
            each_ns = self._paces.of(run[0].tag)
            tasks = list(takewhile(partial(room.takes, each_ns), map(self._endings.task_of, run)))
            if not tasks:
                break
            leases += self._lease(now, tasks, process, via)
        return leases

    def _lease(
        self, now: Nanoseconds, tasks: Sequence[Task], process: ProcessId | None, via: Connection | None
    ) -> tuple[Lease, ...]:
        attempts = self._recorder.new_attempts(tasks)
        numbers = tuple(map(NUMBER_OF, tasks))
        self._recorder.record(NEW(e.TasksLeased, (now, numbers, process, attempts)))
        if via is not None:
            via.leases.update(dict.fromkeys(numbers))
            self.connections.update(dict.fromkeys(numbers, via))
        leases = []
        for task in tasks:
            options, inputs = task.options, task.inputs
            values = tuple(map(self._state.value_of, inputs)) if inputs else ()
            leases.append(NEW(Lease, (task.number, task.tag, task.payload, task.attempt, options, values)))
            if options.time_limit_ns is not None:
                self._deadlines.set(Key(Due.TIME_LIMIT, task.number), now + options.time_limit_ns)
        return tuple(leases)

    # --- ending well ------------------------------------------------------------------------

    def succeed(self, now: Nanoseconds, answers: Sequence[tuple[Task, int | None, Payload]]) -> None:
        """The answers have come, each from the holder or (with that attempt) from an earlier one."""
        tasks, values = [], []
        for task, attempt, value in answers:
            if attempt is not None and attempt != task.attempt:
                self._in_vain(task)
            self._over(task)
            tasks.append(task)
            values.append(value)
        self._endings.succeed(now, tasks, values)

    def cancel(self, now: Nanoseconds, task: Task, detail: str) -> None:
        """Nobody wants the answer any more, whether somebody works on it or not."""
        self._in_vain(task)
        self._over(task)
        self._endings.cancel(now, task, detail)

    def _in_vain(self, task: Task) -> None:
        holder = task.detail
        if not isinstance(holder, Holder) or holder.process is None:
            return
        if self._state.processes[holder.process].kind is Kind.WORKER:
            self.ended.setdefault(holder.process, {})[task.number] = holder.attempt

    # --- ending with nobody to blame ----------------------------------------------------------

    def release(self, task: Task, cause: Cause) -> None:
        """The task is first in line again."""
        self._over(task)
        self._recorder.record(e.TaskReleased(task.number, cause))
        self._recorder.touch(task)

    def release_all(self, numbers: Iterable[TaskNumber], cause: Cause) -> None:
        """They are first in line again, in their old order."""
        for task in self.last_first(numbers):
            self.release(task, cause)

    def last_first(self, numbers: Iterable[TaskNumber]) -> list[Task]:
        """The tasks in the order in which they must go back to the front, one by one."""
        # A task keeps the place number that it had in line while it runs.
        tasks = [self._state.tasks[number] for number in numbers]
        return sorted(tasks, key=lambda task: task.order, reverse=True)

    def tags_beside(self, numbers: Iterable[TaskNumber]) -> set[str]:
        """The tags of all that those have who hold these tasks, which are leased to processes."""
        holders = {holder_of(self._state.tasks[number]).process for number in numbers}
        processes = (self._state.processes[holder] for holder in holders if holder is not None)
        return {self._state.tasks[number].tag for process in processes for number in process.tasks}

    def held_below(self, node: NodeId, attempts: Mapping[TaskNumber, int]) -> list[TaskNumber]:
        """Those of these attempts that are made by a child of that supervisor."""
        held = []
        for number, attempt in attempts.items():
            task = self._state.tasks.get(number)
            if task is None or task.state is not RUNNING or task.attempt != attempt:
                continue
            process = holder_of(task).process
            if process is not None and self._state.processes[process].node == node:
                held.append(number)
        return held

    def strand(self, number: TaskNumber) -> None:
        """The connection that a running task was handed out over is closed."""
        process = holder_of(self._state.tasks[number]).process
        if process is not None and self._state.processes[process].kind is Kind.PLAIN:
            self.stranded.setdefault(process, {})[number] = None

    def undelivered(self, process: Process) -> list[TaskNumber]:
        """What a plain process never got, when it asks for more: that reply was lost.

        The connection that it was handed out over is closed.
        """
        stranded = self.stranded.pop(process.id, None)
        if stranded is None:
            return []
        there = [number for number in stranded if number in process.tasks]
        return [number for number in there if self._way_is_closed(self._state.tasks[number])]

    def forget(self, process: ProcessId) -> None:
        """It is gone, and has no leases any more."""
        self.ended.pop(process, None)
        self.stranded.pop(process, None)

    def _way_is_closed(self, task: Task) -> bool:
        via = self.connections.get(task.number)
        if via is not None:
            return via.closed_with is not None
        return task.attempt < self._state.first_attempt_at(task)  # a run before has handed it out

    # --- ending badly -----------------------------------------------------------------------

    def crash(self, now: Nanoseconds, task: Task, detail: str) -> None:
        """The worker died running it."""
        bound = task.options.max_crashes
        bound = self._limits.max_crashes if bound is None else bound
        final = (task.trouble or _NO_TROUBLE).crashes + 1 >= bound
        self._over(task)
        self._recorder.record(e.TaskCrashed(now, task.number, detail, final))
        self._waits_or_failed(now, task)

    def lose(self, now: Nanoseconds, task: Task, detail: str) -> None:
        """The worker is gone, and nobody knows why."""
        bound = task.options.max_losses
        bound = self._limits.max_losses if bound is None else bound
        final = (task.trouble or _NO_TROUBLE).losses + 1 >= bound
        self._over(task)
        self._recorder.record(e.TaskLost(now, task.number, detail, final))
        self._waits_or_failed(now, task)

    def end_anonymous(self, now: Nanoseconds, task: Task) -> None:
        """The connection that it was handed out over was closed, and nobody came back."""
        via = self.connections[task.number]
        detail = f"its client had been disconnected for {self._limits.plain_grace_ns / 1e9:g} s"
        if via.closed_with == 1:
            self.crash(now, task, detail)
        else:
            self.lose(now, task, detail)

    def fail(self, now: Nanoseconds, task: Task, failure: Failure) -> None:
        """The task's code raised."""
        again_at = self._retry_at(now, task, failure.type_names)
        self._over(task)
        self._recorder.record(e.TaskRaised(now, task.number, failure, again_at))
        self._scheduled_or_failed(now, task, again_at)

    def reach_limit(self, now: Nanoseconds, task: Task) -> None:
        """It ran longer than it may."""
        again_at = self._retry_at(now, task, None)
        self._over(task)
        self._recorder.record(e.TimeLimitReached(now, task.number, again_at))
        self._scheduled_or_failed(now, task, again_at)

    def _retry_at(
        self, now: Nanoseconds, task: Task, type_names: tuple[str, ...] | None
    ) -> Nanoseconds | None:
        retries = (task.trouble or _NO_TROUBLE).retries
        return retry_at(task.options.retry, now, task.number, retries, type_names)

    def _waits_or_failed(self, now: Nanoseconds, task: Task) -> None:
        if task.state is WAITING:
            self._recorder.touch(task)
        else:
            self._endings.ended_without_value(now, task)

    def _scheduled_or_failed(self, now: Nanoseconds, task: Task, again_at: Nanoseconds | None) -> None:
        if again_at is not None:
            self._deadlines.set(Key(Due.TASK, task.number), again_at)
        else:
            self._endings.ended_without_value(now, task)

    def _over(self, task: Task) -> None:
        """Forget the volatile side of the lease, if there is one."""
        via = self.connections.pop(task.number, None)
        if via is not None:
            del via.leases[task.number]
            if via.closed_with is not None:
                self._deadlines.clear(Key(Due.LEASE, task.number))
        if task.options.time_limit_ns is not None:
            self._deadlines.clear(Key(Due.TIME_LIMIT, task.number))

    # --- whose it is ------------------------------------------------------------------------

    def check_holder(
        self, task: Task, attempt: int | None, process: ProcessId | None, via: Connection | None
    ) -> None:
        """Refuse anybody but the holder, its supervisor, and those who are bound to no process."""
        if task.state is not RUNNING:
            raise NotHolder(
                f"{name_of(task)} is not running{_as_attempt(attempt)}: it was given back, or taken back"
            )
        holder = holder_of(task)
        if attempt is not None and attempt != holder.attempt:
            raise NotHolder(
                f"{name_of(task)}, attempt {attempt}: no longer yours; attempt {holder.attempt} runs "
                f"{_on(holder)}"
            )
        if holder.process is None:
            return  # known by its connection only, and may have another one by now
        if via is not None:
            node = self._state.processes[holder.process].node
            if via.node is not None and via.node == node:
                return
            process = via.process if process is None else process
        if process is not None and process != holder.process:
            raise NotHolder(
                f"{name_of(task)} is not leased to process {process}; attempt {holder.attempt} runs "
                f"{_on(holder)}"
            )

    def check_leased(self, task: Task, attempt: int | None) -> None:
        """Refuse an answer to a task that was never handed out (as that attempt).

        Of the attempts of earlier runs some are forgotten: their leases were lost with the power.
        """
        if attempt is not None and attempt == task.attempt > 0:
            return
        of_earlier_runs = 0 if attempt is None else self._state.first_attempt_at(task) - 1
        newest = max(task.attempt, of_earlier_runs)
        if not 1 <= (newest if attempt is None else attempt) <= newest:
            raise NotHolder(f"{name_of(task)} was never handed out{_as_attempt(attempt)}: get it first")


class _Room:
    """What may go to one process at once: its share, and more if that is short, up to `MOST_BYTES`."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._tasks = 0
        self._bytes = 0
        self._ns: Nanoseconds = 0
        self._is_full = False

    def takes(self, each_ns: Nanoseconds | None, task: Task) -> bool:
        """Whether this one may go along, which takes so long, as far as that is known. The first may."""
        is_alone = _goes_alone(task) or (each_ns or 0) > LONG_NS
        self._bytes += task.nbytes
        self._ns += TOGETHER_NS if each_ns is None else each_ns
        is_too_much = self._bytes > MOST_BYTES or (self._tasks >= self._share and self._ns > TOGETHER_NS)
        if self._is_full or (self._tasks and (is_alone or is_too_much)):
            return False
        self._is_full = is_alone
        self._tasks += 1
        return True


def _goes_alone(task: Task) -> bool:
    has_crashed = task.trouble is not None and task.trouble.crashes > 0
    return has_crashed or task.options.time_limit_ns is not None


def holder_of(task: Task) -> Holder:
    """Who holds a running task."""
    assert isinstance(task.detail, Holder), task.number
    return task.detail


def _on(holder: Holder) -> str:
    return "on an unregistered client" if holder.process is None else f"on process {holder.process}"


def _as_attempt(attempt: int | None) -> str:
    return "" if attempt is None else f" as attempt {attempt}"
