"""The durable state, and `apply`: the only thing that changes it.

`DurableState` is the fold of the events. A replay of them gives the same state, down to the
order in each line; `image` gives it as plain values, to compare or to store. `apply` asks the
tables of `transitions` first and last: an event that may not happen there raises
`BrokerBroken`, before anything is changed.

To change what an event does, change its method here; there is one for each, in the order of
`events`. Nothing else in the project, but the steps in `records` that they take, assigns to a
field of a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, get_args

from pyrotask.core import events as e
from pyrotask.core.lanes import Lanes
from pyrotask.core.model import (
    CANCELLED,
    FAILED,
    FINISHED,
    HANDED_OUT,
    NOT_HANDED_OUT,
    PUBLIC,
    RUNNING,
    SCHEDULED,
    SUCCEEDED,
    WAITING,
    Cause,
    Delivery,
    Ended,
    Holder,
    Keyed,
    Nanoseconds,
    Node,
    Place,
    Process,
    Session,
    SessionId,
    State,
    Success,
    Task,
    TaskNumber,
    Trouble,
)
from pyrotask.core.records import Records, claims_of, keyed_of, schedule_of
from pyrotask.core.transitions import DELIVERIES, TABLE
from pyrotask.errors import BrokerBroken

_Change = tuple[
    Callable[[Any], None],
    Callable[[Any], Sequence[TaskNumber]],
    dict[State | None, frozenset[State | None]] | None,
    frozenset[Delivery] | None,
]


class DurableState(Records):
    """Everything that a restart must not lose. Read by the commands, changed by `apply`."""

    def __init__(self) -> None:
        super().__init__()
        changes: dict[type, Callable[[Any], None]] = {
            e.BrokerStarted: self._broker_started,
            e.NumbersReserved: self._numbers_reserved,
            e.Terminated: self._terminated,
            e.TasksSubmitted: self._tasks_submitted,
            e.TaskDue: self._task_due,
            e.InputsReady: self._inputs_ready,
            e.TasksLeased: self._tasks_leased,
            e.TaskReleased: self._task_released,
            e.TaskCrashed: self._task_crashed,
            e.TaskLost: self._task_lost,
            e.TaskRaised: self._task_raised,
            e.TimeLimitReached: self._time_limit_reached,
            e.TasksSucceeded: self._tasks_succeeded,
            e.TaskFailed: self._task_failed,
            e.TaskCancelled: self._task_cancelled,
            e.TaskRetried: self._task_retried,
            e.LateAnswer: self._late_answer,
            e.TaskSubscribed: self._task_subscribed,
            e.TaskUnsubscribed: self._task_unsubscribed,
            e.ResultsDelivered: self._results_delivered,
            e.DeliveryUndone: self._delivery_undone,
            e.DeliveryAcknowledged: self._delivery_acknowledged,
            e.TasksForgotten: self._tasks_forgotten,
            e.ProcessRegistered: self._process_registered,
            e.ProcessUnregistered: self._process_gone,
            e.ProcessLost: self._process_gone,
            e.NodeRegistered: self._node_registered,
            e.NodeUnregistered: self._node_unregistered,
            e.SessionOpened: self._session_opened,
            e.SessionEnded: self._session_ended,
            e.CallAnswered: self._call_answered,
            e.DataStored: self._data_stored,
            e.DataDeleted: self._data_deleted,
        }
        # With each change whom it happens to, and the rows of the tables for it.
        self._changes: dict[type, _Change] = {
            kind: (
                change,
                _many if kind in get_args(e.BatchEvent) else _one,
                TABLE.get(kind),
                DELIVERIES.get(kind),
            )
            for kind, change in changes.items()
        }

    # --- changing -----------------------------------------------------------------------

    def apply(self, event: e.Event) -> None:
        """Let the event happen. `BrokerBroken`: the table forbids it, and nothing was changed."""
        change, numbers_of, row, deliveries = self._changes[type(event)]
        if row is None:
            change(event)
            return
        numbers = numbers_of(event)
        if len(numbers) > 1:
            self._apply_to_many(event, change, numbers, row, deliveries)
            return
        number = numbers[0]
        task = self.tasks.get(number)
        before = None if task is None else task.state
        allowed = row.get(before)
        if allowed is None:
            raise BrokerBroken(f"{event!r} cannot happen to a task that is {_name(before)}")
        if deliveries is not None:
            self._check_deliveries(event, numbers, deliveries)
        change(event)
        task = self.tasks.get(number)
        after = None if task is None else task.state
        if after not in allowed:
            raise BrokerBroken(f"{event!r} made a task {_name(after)} that was {_name(before)}")

    def _apply_to_many(
        self,
        event: e.Event,
        change: Callable[[Any], None],
        numbers: Sequence[TaskNumber],
        row: dict[State | None, frozenset[State | None]],
        deliveries: frozenset[Delivery] | None,
    ) -> None:
        """The same at once for tasks which mostly are in one state."""
        before = self._states_of(numbers)
        if not before <= row.keys():
            raise BrokerBroken(f"{event!r} cannot happen to tasks that are {_names(before - row.keys())}")
        if deliveries is not None:
            self._check_deliveries(event, numbers, deliveries)
        change(event)
        after = self._states_of(numbers)
        if not after.issubset(chain.from_iterable([row[state] for state in before])):
            raise BrokerBroken(f"{event!r} made tasks {_names(after)} that were {_names(before)}")

    def _states_of(self, numbers: Sequence[TaskNumber]) -> set[State | None]:
        """In which states these tasks are; None: one is not there. No step of Python's own for each."""
        return set(map(_STATE, map(self.tasks.get, numbers, repeat(_NO_TASK))))

    def _check_deliveries(
        self, event: e.Event, numbers: Sequence[TaskNumber], deliveries: frozenset[Delivery]
    ) -> None:
        for number in numbers:
            task = self.tasks[number]
            place = task if task.keyed is None else self._place(task, getattr(event, "session", None))
            if place.delivery not in deliveries:
                raise BrokerBroken(f"{event!r} cannot happen to an answer that is {place.delivery.value}")

    def _broker_started(self, event: e.BrokerStarted) -> None:
        self.lineage = event.lineage
        self.started_at = event.at
        self.next_task = max(self.next_task, self.reserved_tasks)
        self.first_task = self.next_task
        self.next_process = max(self.next_process, self.reserved_processes)
        self.next_node = max(self.next_node, self.reserved_nodes)
        self.next_session = max(self.next_session, self.reserved_sessions)
        self.first_attempt = max(self.first_attempt, self.reserved_attempts)
        for session in self.sessions.values():
            session.next_delivery = max(session.next_delivery, self.reserved_deliveries)

    def _numbers_reserved(self, event: e.NumbersReserved) -> None:
        self.reserved_tasks = event.tasks
        self.reserved_processes = event.processes
        self.reserved_nodes = event.nodes
        self.reserved_sessions = event.sessions
        self.reserved_attempts = event.attempts
        self.reserved_deliveries = event.deliveries

    def _terminated(self, event: e.Terminated) -> None:
        self.terminated = True

    # --- tasks --------------------------------------------------------------------------

    def _tasks_submitted(self, event: e.TasksSubmitted) -> None:
        _, first, tag, payloads, options, session, due_at, inputs, key = event
        tag = self._tags.setdefault(tag, tag)
        count = len(payloads)
        self.next_task = first + count
        self._counts.setdefault(tag, [0, 0, 0])[0] += count
        self._unstarted += count
        number = first
        waits_at_once = due_at is None and not inputs
        for payload in payloads:
            task = self.tasks[number] = Task(number, tag, payload, options, session)
            number = TaskNumber(number + 1)
            if waits_at_once:
                task.state = WAITING
                self.waiting.push_back(task, task.format, options.priority)
            else:
                self._schedule_first(task, due_at, inputs)
        if session != PUBLIC:
            self._count_unfinished(session, count)
            self.sessions[session].claims.update(dict.fromkeys(event.tasks))
        if key is not None:
            task = self.tasks[first]
            task.keyed = Keyed(key)
            self._keys[key] = first

    def _schedule_first(self, task: Task, due_at: Nanoseconds | None, inputs: tuple[TaskNumber, ...]) -> None:
        task.inputs = inputs
        unready = 0
        for source in inputs:
            self._add_dependent(source, task.number)
            unready += self.tasks[source].state is not SUCCEEDED
        self._schedule(task, due_at, unready)
        self._wait_if_ready(task)

    def _task_due(self, event: e.TaskDue) -> None:
        task = self.tasks[event.task]
        self._schedule(task, None, schedule_of(task).unready)
        self._wait_if_ready(task)

    def _inputs_ready(self, event: e.InputsReady) -> None:
        task = self.tasks[event.task]
        self._schedule(task, schedule_of(task).due_at, 0)
        self._wait_if_ready(task)

    def _tasks_leased(self, event: e.TasksLeased) -> None:
        at, numbers, process, attempts = event
        of_process = {} if process is None else self.processes[process].tasks
        holder = Holder(process, attempts[0], at)
        for number, attempt in zip(numbers, attempts, strict=True):
            task = self.tasks[number]
            self.waiting.remove(task)
            self._move(task, RUNNING)
            task.attempt = attempt
            if holder.attempt != attempt:  # most often there is one for all of them
                holder = Holder(process, attempt, at)
            task.detail = holder
            of_process[number] = None

    def _task_released(self, event: e.TaskReleased) -> None:
        task = self.tasks[event.task]
        self._end_lease(task)
        self._wait(task, front=True)

    def _task_crashed(self, event: e.TaskCrashed) -> None:
        task = self.tasks[event.task]
        self._end_attempt(task, Cause.CRASHED, event.detail, event.at).crashes += 1
        self._back_or_failed(task, Cause.CRASHED, event)

    def _task_lost(self, event: e.TaskLost) -> None:
        task = self.tasks[event.task]
        self._end_attempt(task, Cause.LOST, event.detail, event.at).losses += 1
        self._back_or_failed(task, Cause.LOST, event)

    def _task_raised(self, event: e.TaskRaised) -> None:
        task = self.tasks[event.task]
        trouble = self._end_attempt(task, Cause.RAISED, event.failure.message, event.at)
        if event.retry_at is None:
            self._finish(task, FAILED, Ended(Cause.RAISED, event.failure.message, event.failure, event.at))
        else:
            trouble.retries += 1
            self._schedule_again(task, event.retry_at)

    def _time_limit_reached(self, event: e.TimeLimitReached) -> None:
        task = self.tasks[event.task]
        limit_s = (task.options.time_limit_ns or 0) / 1e9
        detail = f"attempt {task.attempt} ran longer than its limit of {limit_s:g} s"
        trouble = self._end_attempt(task, Cause.TIME_LIMIT, detail, event.at)
        if event.retry_at is None:
            self._finish(task, FAILED, Ended(Cause.TIME_LIMIT, detail, None, event.at))
        else:
            trouble.retries += 1
            self._schedule_again(task, event.retry_at)

    def _tasks_succeeded(self, event: e.TasksSucceeded) -> None:
        for number, value in zip(event.tasks, event.values, strict=True):
            task = self.tasks[number]
            self._leave(task)
            self._finish(task, SUCCEEDED, Success(value))
            for needy in task.dependents or ():
                dependent = self.tasks[needy]
                schedule = schedule_of(dependent)
                self._schedule(dependent, schedule.due_at, schedule.unready - 1)

    def _task_failed(self, event: e.TaskFailed) -> None:
        task = self.tasks[event.task]
        self._leave(task)
        self._finish(task, FAILED, Ended(Cause.INPUT_FAILED, event.detail, None, event.at))

    def _task_cancelled(self, event: e.TaskCancelled) -> None:
        task = self.tasks[event.task]
        self._leave(task)
        self._finish(task, CANCELLED, Ended(Cause.CANCELLED, event.detail, None, event.at))

    def _task_retried(self, event: e.TaskRetried) -> None:
        task = self.tasks[event.task]
        for place in claims_of(task):
            if place.delivery is NOT_HANDED_OUT:
                self.finished.remove(place)
        if task.session == PUBLIC or task.session in self.sessions:
            task.delivery = NOT_HANDED_OUT  # a new generation, with an answer of its own
        self._count_result(task, -1)
        if task.trouble is not None:
            task.trouble = Trouble(story=task.trouble.story)
        unready = 0
        for source in task.inputs:
            self._add_dependent(source, task.number)
            unready += self.tasks[source].state is not SUCCEEDED
        self._move(task, SCHEDULED)
        self._schedule(task, event.due_at, unready)
        self._wait_if_ready(task)

    def _late_answer(self, event: e.LateAnswer) -> None:
        self.late_answers += 1

    def _task_subscribed(self, event: e.TaskSubscribed) -> None:
        task = self.tasks[event.task]
        place: Place = task
        if event.session != task.session:
            place = keyed_of(task).subscribers[event.session] = Place(task.number, task.tag, event.session)
            if task.state not in FINISHED:
                self._count_unfinished(event.session, 1)
            self._note_claim(place)
        place.delivery = NOT_HANDED_OUT
        if task.state in FINISHED:
            self.finished.push_back(place, place.session, 0)

    def _task_unsubscribed(self, event: e.TaskUnsubscribed) -> None:
        self._end_delivery(self.tasks[event.task], event.session)

    def _results_delivered(self, event: e.ResultsDelivered) -> None:
        for number in event.tasks:
            place = self._place(self.tasks[number], event.session)
            self.finished.remove(place)
            place.delivery = HANDED_OUT
            if place.session != PUBLIC:
                session = self.sessions[place.session]
                session.handed_out[number] = session.next_delivery
                session.next_delivery += 1

    def _delivery_undone(self, event: e.DeliveryUndone) -> None:
        place = self._place(self.tasks[event.task], event.session)
        self._not_handed_out(place)
        place.delivery = NOT_HANDED_OUT
        self.finished.push_front(place, place.session, 0)

    def _delivery_acknowledged(self, event: e.DeliveryAcknowledged) -> None:
        self._end_delivery(self.tasks[event.task], event.session)

    def _tasks_forgotten(self, event: e.TasksForgotten) -> None:
        for number in event.tasks:
            task = self.tasks.pop(number)
            self._count_result(task, -1)
            session = self.sessions.get(task.session)
            if session is not None:
                session.handed_out.pop(number, None)
                del session.claims[number]
            if task.keyed is not None:
                del self._keys[task.keyed.key]
            numbers = self._counts[task.tag]
            numbers[2] -= 1
            if not any(numbers):
                del self._counts[task.tag]
                del self._tags[task.tag]

    # --- processes, nodes, sessions, data -------------------------------------------------

    def _process_registered(self, event: e.ProcessRegistered) -> None:
        self.processes[event.process] = Process(
            id=event.process,
            kind=event.kind,
            period_ns=event.period_ns,
            info=event.info,
            node=event.node,
            tags=event.tags,
            registered_at=event.at,
        )
        self.next_process = event.process + 1

    def _process_gone(self, event: e.ProcessUnregistered | e.ProcessLost) -> None:
        tasks = self.processes[event.process].tasks
        if tasks:
            raise BrokerBroken(f"process {event.process} cannot leave with its tasks {list(tasks)}")
        del self.processes[event.process]

    def _node_registered(self, event: e.NodeRegistered) -> None:
        self.nodes[event.node] = Node(event.node, event.period_ns, event.info, event.at)
        self.next_node = event.node + 1

    def _node_unregistered(self, event: e.NodeUnregistered) -> None:
        del self.nodes[event.node]

    def _session_opened(self, event: e.SessionOpened) -> None:
        self.sessions[event.session] = Session(event.session, event.name, event.at)
        self._names[event.name] = event.session
        self.next_session = event.session + 1

    def _session_ended(self, event: e.SessionEnded) -> None:
        del self._names[self.sessions.pop(event.session).name]

    def _call_answered(self, event: e.CallAnswered) -> None:
        session = self.sessions[event.session]
        session.replies[event.sequence] = event.reply
        if event.low_water > session.low_water:
            session.low_water = event.low_water
            for sequence in [n for n in session.replies if n <= event.low_water]:
                del session.replies[sequence]

    def _data_stored(self, event: e.DataStored) -> None:
        self.data.update(event.items)

    def _data_deleted(self, event: e.DataDeleted) -> None:
        del self.data[event.label]

    # --- comparing ------------------------------------------------------------------------

    def image(self) -> dict[str, object]:
        """The whole state as plain values: equal for equal states, whatever their history."""
        return {
            "lineage": self.lineage,
            "terminated": self.terminated,
            "next": (self.next_task, self.next_process, self.next_node, self.next_session),
            "first": (self.first_task, self.first_attempt),
            "reserved": self.reserved(),
            "late_answers": self.late_answers,
            "tasks": {number: _task_image(task) for number, task in self.tasks.items()},
            "waiting": _line(self.waiting),
            "finished": _line(self.finished),
            "processes": {p.id: (p.kind, p.period_ns, p.info, p.node, p.tags, p.registered_at, tuple(p.tasks))
                          for p in self.processes.values()},
            "nodes": {n.id: (n.period_ns, n.info, n.registered_at) for n in self.nodes.values()},
            "sessions": {s.id: (s.name, s.opened_at, s.next_delivery, list(s.handed_out.items()), s.low_water,
                                dict(s.replies))
                         for s in self.sessions.values()},
            "keys": dict(self._keys),
            "data": dict(self.data),
            "counts": self.counts(),
        }  # fmt: skip


_many: Callable[[Any], Sequence[TaskNumber]] = attrgetter("tasks")
_one: Callable[[Any], Sequence[TaskNumber]] = lambda event: (event.task,)  # noqa: E731


class _NoTask:
    """Stands for a task that is not there."""

    state: State | None = None


_NO_TASK = _NoTask()
_STATE = attrgetter("state")


def _names(states: Iterable[State | None]) -> str:
    return " or ".join(sorted(map(_name, states)))


def _name(state: State | None) -> str:
    return "not there" if state is None else state.value


def _task_image(task: Task) -> tuple[object, ...]:
    trouble = task.trouble or Trouble()
    return (
        task.tag, task.payload, task.options, task.session, task.state, task.detail, task.attempt,
        (trouble.retries, trouble.crashes, trouble.losses, trouble.story), task.delivery, task.inputs,
        tuple(task.dependents or ()),
        task.keyed and (task.keyed.key, [(p.session, p.delivery) for p in task.keyed.subscribers.values()]),
    )  # fmt: skip


def _line(lanes: Lanes) -> list[tuple[TaskNumber, SessionId]]:
    """All that stand in line, in the order in which they came."""
    places = sorted((place for lane in lanes for place in lane), key=lambda place: place.order)
    return [(place.number, place.session) for place in places]
