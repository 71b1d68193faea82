"""What the durable state is made of: records, lines and counts, and steps after which they agree.

`core.state` says what an event does, in terms of these. Nobody else takes such a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyrotask.core import events as e
from pyrotask.core.blocks import Block
from pyrotask.core.lanes import Lanes
from pyrotask.core.model import (
    ACKNOWLEDGED,
    CANCELLED,
    FAILED,
    FINISHED,
    HANDED_OUT,
    NOT_HANDED_OUT,
    PICKLE,
    PLAIN,
    PUBLIC,
    RUNNING,
    SCHEDULED,
    SUCCEEDED,
    WAITING,
    AttemptEnd,
    Cause,
    Counts,
    Ended,
    Holder,
    Keyed,
    Nanoseconds,
    Node,
    NodeId,
    Payload,
    Place,
    Process,
    ProcessId,
    Schedule,
    Session,
    SessionId,
    State,
    Success,
    Task,
    TaskNumber,
    Trouble,
)

_COUNT_OF_STATE = {
    SCHEDULED: 0,
    WAITING: 0,
    RUNNING: 1,
    SUCCEEDED: 2,
    FAILED: 2,
    CANCELLED: 2,
}
_UNSTARTED_COLUMN, _FINISHED_COLUMN = 0, 2


class Records:
    """Everything that a restart must not lose, and indexes of it. The commands read it."""

    def __init__(self) -> None:
        self.lineage = ""
        self.started_at: Nanoseconds = 0
        self.terminated = False
        self.tasks: dict[TaskNumber, Task] = {}
        self.processes: dict[ProcessId, Process] = {}
        self.nodes: dict[NodeId, Node] = {}
        self.sessions: dict[SessionId, Session] = {}
        self.data: dict[str, Payload] = {}
        self.next_task = 0
        self.next_process = 0
        self.next_node = 0
        self.next_session = PUBLIC + 1
        self.first_task = 0
        """Lower numbers are of tasks of runs before: their leases may be lost with the power."""
        self.first_attempt = 1
        self.reserved_tasks = 0
        self.reserved_processes = 0
        self.reserved_nodes = 0
        self.reserved_sessions = 0
        self.reserved_attempts = 0
        self.reserved_deliveries = 0
        self.late_answers = 0
        # Indexes of the above.
        self.waiting = Lanes()
        """Waiting tasks in line; the group is the format that one has to be able to read."""
        self.finished = Lanes()
        """Answers to be collected, in the order of completion; the group is the session."""
        self._keys: dict[str, TaskNumber] = {}
        self._names: dict[str, SessionId] = {}
        self._counts: dict[str, list[int]] = {}
        self._tags: dict[str, str] = {}
        """One object for each tag: a message brings one of its own with each task."""
        self._unstarted = 0
        self._scheduled: dict[str, list[int]] = {}
        self._result_bytes = [0, 0]
        self._unfinished: dict[SessionId, int] = {}

    # --- reading ------------------------------------------------------------------------

    @property
    def unstarted(self) -> int:
        """How many tasks are scheduled or waiting."""
        return self._unstarted

    @property
    def result_bytes(self) -> int:
        """The size of the answers that are there, without their blocks."""
        return self._result_bytes[0]

    @property
    def result_block_bytes(self) -> int:
        """The size of the blocks in them."""
        return self._result_bytes[1]

    def unfinished_of(self, session: SessionId) -> int:
        """How many unfinished tasks a session of a name has submitted, or has a claim to by their keys."""
        return self._unfinished.get(session, 0)

    @property
    def scheduled(self) -> Mapping[str, Sequence[int]]:
        """By tag, how many tasks wait for nothing but their time, and how many for inputs."""
        return self._scheduled

    def counts(self) -> Counts:
        """Tasks by tag: waiting (with scheduled), running, finished."""
        waiting, running, finished = (
            {tag: numbers[k] for tag, numbers in self._counts.items()} for k in range(3)
        )
        return Counts(waiting, running, finished)

    def first_attempt_at(self, task: Task) -> int:
        """The lowest number that an attempt at the task can have in this run."""
        return self.first_attempt if task.number < self.first_task else 1

    def reserved(self) -> e.NumbersReserved:
        """The numbers below which all are that may have been given out."""
        return e.NumbersReserved(
            self.reserved_tasks,
            self.reserved_processes,
            self.reserved_nodes,
            self.reserved_sessions,
            self.reserved_attempts,
            self.reserved_deliveries,
        )

    @property
    def keys(self) -> Mapping[str, TaskNumber]:
        """The tasks that have a key."""
        return self._keys

    @property
    def names(self) -> Mapping[str, SessionId]:
        """The open sessions by name."""
        return self._names

    def place_of(self, task: Task, session: SessionId) -> Place | None:
        """The session's claim to the answer of the task, if it has (or had) one."""
        if session == task.session:
            return task
        return None if task.keyed is None else task.keyed.subscribers.get(session)

    def claim_of(self, number: TaskNumber, session: SessionId) -> Place:
        """The claim of a session that has one."""
        return self._place(self.tasks[number], session)

    def value_of(self, number: TaskNumber) -> Payload:
        """The value of a task that succeeded."""
        outcome = self.tasks[number].detail
        assert isinstance(outcome, Success), number
        return outcome.value

    def format_of(self, task: Task) -> str:
        """What one has to be able to read to run the task; its inputs have succeeded."""
        if task.inputs and task.format == PLAIN:
            return PICKLE if any(self.value_of(n).format != PLAIN for n in task.inputs) else PLAIN
        return task.format

    # --- the steps they are made of -------------------------------------------------------

    def _move(self, task: Task, state: State) -> None:
        before, after = _COUNT_OF_STATE[task.state], _COUNT_OF_STATE[state]
        task.state = state
        if before == after:
            return
        numbers = self._counts[task.tag]
        numbers[before] -= 1
        numbers[after] += 1
        if before == _UNSTARTED_COLUMN:
            self._unstarted -= 1
        elif after == _UNSTARTED_COLUMN:
            self._unstarted += 1
        if after == _FINISHED_COLUMN:
            self._count_claims(task, -1)
        elif before == _FINISHED_COLUMN:
            self._count_claims(task, 1)

    def _count_claims(self, task: Task, more: int) -> None:
        """So many more of those who want its answer have to wait for it."""
        self._count_unfinished(task.session, more)
        if task.keyed is not None:
            for session in task.keyed.subscribers:
                self._count_unfinished(session, more)

    def _count_unfinished(self, session: SessionId, more: int) -> None:
        if session == PUBLIC:
            return
        number = self._unfinished.get(session, 0) + more
        if number:
            self._unfinished[session] = number
        else:
            del self._unfinished[session]

    def _wait(self, task: Task, *, front: bool = False) -> None:
        self._move(task, WAITING)
        task.detail = None
        push = self.waiting.push_front if front else self.waiting.push_back
        push(task, self.format_of(task), task.options.priority)

    def _wait_if_ready(self, task: Task) -> None:
        if task.detail == (None, 0):
            self._wait(task)

    def _leave(self, task: Task) -> None:
        """Out of the line, or of the holder's hands, wherever it is."""
        if task.state is WAITING:
            self.waiting.remove(task)
        elif task.state is RUNNING:
            self._end_lease(task)
        else:
            self._count_scheduled(task, -1)

    def _end_lease(self, task: Task) -> None:
        holder = task.detail
        assert isinstance(holder, Holder), task.number
        if holder.process is not None:
            del self.processes[holder.process].tasks[task.number]

    def _end_attempt(self, task: Task, cause: Cause, detail: str, at: Nanoseconds) -> Trouble:
        holder = task.detail
        assert isinstance(holder, Holder), task.number
        self._end_lease(task)
        trouble = task.trouble = task.trouble or Trouble()
        trouble.story += (AttemptEnd(holder.attempt, holder.process, cause, detail, at),)
        return trouble

    def _back_or_failed(self, task: Task, cause: Cause, event: e.TaskCrashed | e.TaskLost) -> None:
        if event.final:
            self._finish(task, FAILED, Ended(cause, event.detail, None, event.at))
        else:
            self._wait(task, front=True)

    def _schedule_again(self, task: Task, due_at: Nanoseconds) -> None:
        self._move(task, SCHEDULED)
        self._schedule(task, due_at, 0)

    def _schedule(self, task: Task, due_at: Nanoseconds | None, unready: int) -> None:
        """What a scheduled task waits for, from now on."""
        self._count_scheduled(task, -1)
        task.detail = Schedule(due_at, unready)
        self._count_scheduled(task, 1)

    def _count_scheduled(self, task: Task, more: int) -> None:
        if isinstance(task.detail, Schedule) and task.detail != (None, 0):
            numbers = self._scheduled.setdefault(task.tag, [0, 0])
            numbers[task.detail.unready > 0] += more
            if not any(numbers):
                del self._scheduled[task.tag]

    def _finish(self, task: Task, state: State, outcome: Success | Ended) -> None:
        self._move(task, state)
        task.detail = outcome
        self._count_result(task, 1)
        if task.delivery is NOT_HANDED_OUT:
            self.finished.push_back(task, task.session, 0)
        if task.keyed is not None:
            for place in task.keyed.subscribers.values():
                self.finished.push_back(place, place.session, 0)
        for source in task.inputs:
            self._drop_dependent(source, task.number)

    def _count_result(self, task: Task, sign: int) -> None:
        for value in result_of(task):
            for buffer in value.buffers:
                self._result_bytes[type(buffer) is Block] += sign * len(buffer)

    def _place(self, task: Task, session: SessionId | None) -> Place:
        if session is None or session == task.session:
            return task
        return keyed_of(task).subscribers[session]

    def _end_delivery(self, task: Task, session: SessionId | None) -> None:
        """The answer is with the session, or the session does not want it (any more)."""
        place = self._place(task, session)
        if place.delivery is HANDED_OUT:
            self._not_handed_out(place)
        elif task.state in FINISHED:
            self.finished.remove(place)
        place.delivery = ACKNOWLEDGED
        if place is not task:
            del keyed_of(task).subscribers[place.session]
            if task.state not in FINISHED:
                self._count_unfinished(place.session, -1)
            if place.session in self.sessions:
                del self.sessions[place.session].claims[task.number]

    def _note_claim(self, place: Place) -> None:
        if place.session in self.sessions:
            self.sessions[place.session].claims[place.number] = None

    def _not_handed_out(self, place: Place) -> None:
        if place.session in self.sessions:
            self.sessions[place.session].handed_out.pop(place.number, None)

    def _add_dependent(self, source: TaskNumber, number: TaskNumber) -> None:
        dependents = self.tasks[source].dependents
        if dependents is None:
            dependents = self.tasks[source].dependents = {}
        dependents[number] = None

    def _drop_dependent(self, source: TaskNumber, number: TaskNumber) -> None:
        task = self.tasks[source]
        assert task.dependents is not None, source
        del task.dependents[number]
        if not task.dependents:
            task.dependents = None


def result_of(task: Task) -> tuple[Payload, ...]:
    """What a finished task has of the user's, besides its parameters: a value, or an error, or nothing."""
    outcome = task.detail
    if isinstance(outcome, Success):
        return (outcome.value,)
    if isinstance(outcome, Ended) and outcome.failure is not None:
        return (outcome.failure.error,)
    return ()


def schedule_of(task: Task) -> Schedule:
    """What a scheduled task waits for."""
    assert isinstance(task.detail, Schedule), task.number
    return task.detail


def keyed_of(task: Task) -> Keyed:
    """What it has because of its key."""
    assert task.keyed is not None, task.number
    return task.keyed


def claims_of(task: Task) -> tuple[Place, ...]:
    """All claims to its answer."""
    return (task,) if task.keyed is None else (task, *task.keyed.subscribers.values())
