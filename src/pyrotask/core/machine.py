"""The commands: each reads the state, decides, and records what happened.

A command is a method that takes ``now`` first and returns a `Step`: the reply to its caller,
the events that it recorded, and the wakes, which are replies to others who were parked. It
refuses (raises `Refused`, `TaskManagerTermination`, `TypeError` or `ValueError`) before its
first event, so a refused call changes nothing; an exception after one means that the machine
is broken, and `Machine.in_step` says so.

Durable facts are changed by ``self._record(event)`` only, which applies the event at once.
Volatile facts (connections, parked wants, deadlines) are changed here and in `presence`.

Whoever calls must hold the broker's lock. Nothing here blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn

from pyrotask.core import events as e
from pyrotask.core.deadlines import Deadlines, Due, Key
from pyrotask.core.lanes import Lane, View
from pyrotask.core.model import (
    DEFAULT_OPTIONS,
    FINISHED,
    PICKLE,
    PLAIN,
    PUBLIC,
    UNFINISHED,
    Answer,
    Cause,
    ConnectionId,
    Delivery,
    Ended,
    Failure,
    Holder,
    Kind,
    Lease,
    Limits,
    Nanoseconds,
    NodeId,
    Options,
    Outcome,
    Payload,
    Process,
    ProcessId,
    Schedule,
    SessionId,
    State,
    Success,
    Task,
    TaskNumber,
    Trouble,
    WantId,
)
from pyrotask.core.parking import Parking, Want
from pyrotask.core.presence import Connection, Presence, Vitals
from pyrotask.core.retry import retry_at
from pyrotask.core.state import DurableState
from pyrotask.errors import (
    NotHolder,
    PayloadError,
    QueueFull,
    TaskManagerTermination,
    UnknownLabel,
    UnknownProcess,
    UnknownSession,
    UnknownTask,
)

PLAIN_ONLY: frozenset[object] = frozenset({PLAIN})
ANY_FORMAT: frozenset[object] = frozenset({PLAIN, PICKLE})
LIVENESS = frozenset({Due.LEASE, Due.PROCESS, Due.NODE})


class Parked(NamedTuple):
    """The reply to a request that has to wait: its caller is told later."""

    want: WantId


Wake = tuple[object, "tuple[Lease, ...] | Answer | Exception"]


class Step(NamedTuple):
    """What a command did."""

    reply: object
    events: Sequence[e.Event]
    wakes: Sequence[Wake]


class Machine:
    """One task manager, from its first event on."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.state = DurableState()
        self.presence = Presence(self.limits)
        self.deadlines = Deadlines()
        self.task_wants = Parking()
        self.result_wants = Parking()
        self._lease_connections: dict[TaskNumber, Connection] = {}
        self._next_want = 0
        self._events: list[e.Event] = []
        self._wakes: list[Wake] = []
        self._touched: list[Lane] = []

    @property
    def in_step(self) -> bool:
        """Whether a command was left with events that nobody got: the machine is broken."""
        return bool(self._events)

    # --- the run ------------------------------------------------------------------------

    def start(self, now: Nanoseconds, lineage: str) -> Step:
        """Begin a run."""
        self._record(e.BrokerStarted(now, lineage))
        return self._step(None)

    def terminate(self, now: Nanoseconds) -> Step:
        """Everybody who waits is told; nobody waits any more. A second call does nothing."""
        if not self.state.terminated:
            self._record(e.Terminated(now))
            for parking in (self.task_wants, self.result_wants):
                for want in list(parking):
                    self._answer(now, parking, want, TaskManagerTermination())
        return self._step(None)

    def tick(self, now: Nanoseconds) -> Step:
        """Do everything whose instant has come."""
        while (key := self.deadlines.pop_due(now)) is not None:
            self._come_due(now, key)
            self._settle(now)
        return self._step(None)

    def postpone_liveness(self, by: Nanoseconds) -> None:
        """Nobody could be heard for that long: no silence counts for that time."""
        for vitals in (*self.presence.processes.values(), *self.presence.nodes.values()):
            vitals.heard_at += by
            if vitals.closed_at is not None:
                vitals.closed_at += by
        self.deadlines.postpone(LIVENESS, by)

    def _come_due(self, now: Nanoseconds, key: Key) -> None:
        number = key.number
        if key.due is Due.TASK:
            self._record(e.TaskDue(TaskNumber(number)))
            self._touch(self.state.tasks[TaskNumber(number)])
        elif key.due is Due.TIME_LIMIT:
            self._end_by_limit(now, self.state.tasks[TaskNumber(number)])
        elif key.due is Due.LEASE:
            self._end_anonymous_lease(now, self.state.tasks[TaskNumber(number)])
        elif key.due is Due.PROCESS:
            self._judge_process(now, ProcessId(number))
        elif key.due is Due.NODE:
            self._forget_node(NodeId(number))
        else:
            self._time_out(now, WantId(number))

    # --- connections, processes, nodes ------------------------------------------------------

    def connect(self) -> ConnectionId:
        """A new connection. Its number is used for nothing else, ever, in this run."""
        return self.presence.open().id

    def disconnect(self, now: Nanoseconds, number: ConnectionId) -> Step:
        """The connection is closed: its requests die, its leases and its process may follow."""
        connection = self.presence.connections.get(number)
        if connection is None:
            return self._step(None)
        for want in list(connection.wants):
            self._withdraw(now, want)
        self.presence.close(connection, now)
        for task in list(connection.leases):
            if _holder(self.state.tasks[task]).process is None:
                self.deadlines.set(Key(Due.LEASE, task), now + self.limits.plain_grace_ns)
        if connection.process in self.state.processes:
            self._watch(self.state.processes[connection.process])
        if connection.node in self.state.nodes:
            self._watch_node(connection.node)
            self._watch_children(connection.node)
        return self._step(None)

    def hear(self, now: Nanoseconds, number: ConnectionId) -> None:
        """Something came in over the connection: a sign of life of whoever it speaks for."""
        connection = self.presence.connections[number]
        if connection.process in self.state.processes:
            self._hear(now, self.state.processes[connection.process])

    def register(
        self,
        now: Nanoseconds,
        *,
        period_ns: Nanoseconds | None = None,
        info: str = "",
        kind: Kind = Kind.PLAIN,
        node: NodeId | None = None,
        tags: frozenset[str] | None = None,
        connection: ConnectionId | None = None,
    ) -> Step:
        """Take part. The reply is the number of the new process."""
        if period_ns is not None and period_ns <= 0:
            raise ValueError(f"watchdog_period must be greater than 0 s, not {period_ns / 1e9:g}")
        if node is not None and node not in self.state.nodes:
            raise UnknownProcess(f"no supervisor {node} is registered")
        number = ProcessId(self.state.next_process)
        self._record(e.ProcessRegistered(now, number, kind, period_ns, info, node, tags))
        self.presence.processes[number] = Vitals(now, in_process=connection is None)
        if connection is not None:
            self._bind(now, self.presence.connections[connection], number)
        self._watch(self.state.processes[number])
        return self._step(number)

    def unregister(self, now: Nanoseconds, number: ProcessId) -> Step:
        """Leave. What the process runs is first in line again, in the old order."""
        process = self._process(number)
        self._give_back(process.tasks, Cause.DRAINED)
        self._forget_process(now, process, f"process {number} has unregistered")
        self._record(e.ProcessUnregistered(number))
        return self._step(None)

    def ping(self, now: Nanoseconds, number: ProcessId, connection: ConnectionId | None = None) -> bool:
        """A sign of life. False: the process is not registered (any more)."""
        if number not in self.state.processes:
            return False
        self._called_by(now, number, connection)
        return True

    def register_node(
        self, now: Nanoseconds, *, period_ns: Nanoseconds, info: str, connection: ConnectionId | None
    ) -> Step:
        """A supervisor takes part. The reply is the number of its node."""
        if period_ns <= 0:
            raise ValueError(f"the period must be greater than 0 s, not {period_ns / 1e9:g}")
        number = NodeId(self.state.next_node)
        self._record(e.NodeRegistered(now, number, period_ns, info))
        self.presence.nodes[number] = Vitals(now, in_process=connection is None)
        self._hear_node(now, number, connection)
        return self._step(number)

    def beat(
        self,
        now: Nanoseconds,
        node: NodeId,
        alive: Iterable[ProcessId],
        connection: ConnectionId | None = None,
    ) -> list[ProcessId]:
        """A supervisor's sign of life, and of the children that it sees running.

        Returns:
            Those of ``alive`` that are not registered (any more).
        """
        self._node(node)
        self._hear_node(now, node, connection)
        unknown = []
        for number in alive:
            process = self.state.processes.get(number)
            if process is None:
                unknown.append(number)
            else:
                self._hear(now, process)
        return unknown

    def child_exited(
        self, now: Nanoseconds, number: ProcessId, begun: Mapping[TaskNumber, int], detail: str
    ) -> Step:
        """A supervisor reports the end of a child: what it had begun crashed, the rest did not.

        ``begun`` gives the attempt that was begun of each task; ``detail`` says how it ended.
        """
        process = self._process(number)
        tasks = self._in_old_order(process.tasks)
        for task in reversed(tasks):
            if begun.get(task.number) == task.attempt:
                self._crash(now, task, detail)
            else:
                self._release(task, Cause.NOT_BEGUN)
        self._forget_process(now, process, f"process {number} has ended: {detail}")
        self._record(e.ProcessLost(now, number, detail))
        self._settle(now)
        return self._step(None)

    def unregister_node(self, node: NodeId) -> Step:
        """A supervisor leaves. Its children are on their own."""
        self._node(node)
        self._forget_node(node)
        return self._step(None)

    # --- submitting -----------------------------------------------------------------------

    def submit(
        self,
        now: Nanoseconds,
        tag: str,
        payload: Payload,
        *,
        options: Options = DEFAULT_OPTIONS,
        session: SessionId = PUBLIC,
        due_at: Nanoseconds | None = None,
        inputs: Sequence[TaskNumber] = (),
        process: ProcessId | None = None,
        connection: ConnectionId | None = None,
    ) -> Step:
        """Take a task on. The reply is its number."""
        if process is not None:
            self._process(process)
        self._check_submit(session, inputs)
        if process is not None:
            self._called_by(now, process, connection)
        number = TaskNumber(self.state.next_task)
        due = due_at if due_at is not None and due_at > now else None
        distinct = tuple(dict.fromkeys(inputs))
        self._record(e.TaskSubmitted(now, number, tag, payload, options, session, due, distinct))
        task = self.state.tasks[number]
        if due is not None:
            self.deadlines.set(Key(Due.TASK, number), due)
        self._fail_without_inputs(now, task)
        self._touch(task)
        self._settle(now)
        return self._step(number)

    def _check_submit(self, session: SessionId, inputs: Sequence[TaskNumber]) -> None:
        if self.state.terminated:
            raise TaskManagerTermination
        if session != PUBLIC and session not in self.state.sessions:
            raise UnknownSession(f"no session {session} is open")
        if self.state.unstarted >= self.limits.max_waiting:
            raise QueueFull(
                f"{self.state.unstarted} tasks wait, and max_waiting is {self.limits.max_waiting}: "
                "submit again when some are done, or start the broker with a higher max_waiting"
            )
        for source in inputs:
            if source not in self.state.tasks:
                raise UnknownTask(f"input task {source} is not there (any more): its answer was collected")

    def _fail_without_inputs(self, now: Nanoseconds, task: Task) -> None:
        for source in task.inputs:
            if self.state.tasks[source].state in (State.FAILED, State.CANCELLED):
                self._fail_for_input(now, task, source)
                return

    # --- leasing --------------------------------------------------------------------------

    def lease(
        self,
        now: Nanoseconds,
        *,
        tags: frozenset[str] | None = None,
        process: ProcessId | None = None,
        connection: ConnectionId | None = None,
        plain_only: bool = False,
        count: int = 1,
        caller: object = None,
        timeout_at: Nanoseconds | None = None,
    ) -> Step:
        """Ask for the next tasks: highest priority first, then first in line.

        The reply is a tuple of up to ``count`` leases. When there is nothing to lease it is
        empty if ``caller`` is None (a poll), and else `Parked`; after a termination it is
        `TaskManagerTermination`.
        """
        if process is not None:
            self._called_by(now, process, connection)
            self._take_back_undelivered(self.state.processes[process])
            self._settle(now)
        view = self.state.waiting.view(PLAIN_ONLY if plain_only else ANY_FORMAT, tags)
        leases = self._lease_from(now, view, process, connection, count)
        if not leases and self.state.terminated:
            # Returned, not raised: a task may have been taken back by then, and that happened.
            return self._step(TaskManagerTermination())
        if leases or caller is None:
            return self._step(leases)
        want = self._park(self.task_wants, view, caller, process, connection, plain_only, timeout_at)
        return self._step(Parked(want))

    def _lease_from(
        self,
        now: Nanoseconds,
        view: View,
        process: ProcessId | None,
        connection: ConnectionId | None,
        count: int,
    ) -> tuple[Lease, ...]:
        leases: list[Lease] = []
        while len(leases) < count and (task := view.first()) is not None:
            alone = task.trouble is not None and task.trouble.crashes > 0
            if alone and leases:
                break
            leases.append(self._lease(now, task, process, connection))
            if alone:
                break
        return tuple(leases)

    def _lease(
        self, now: Nanoseconds, task: Task, process: ProcessId | None, connection: ConnectionId | None
    ) -> Lease:
        number, attempt = task.number, task.attempt + 1
        self._record(e.TaskLeased(now, number, process, attempt))
        if connection is not None:
            via = self.presence.connections[connection]
            via.leases[number] = None
            self._lease_connections[number] = via
        if task.options.time_limit_ns is not None:
            self.deadlines.set(Key(Due.TIME_LIMIT, number), now + task.options.time_limit_ns)
        inputs = tuple(self.state.value_of(source) for source in task.inputs)
        return Lease(number, task.tag, task.payload, attempt, task.options, inputs)

    def hold_only(self, now: Nanoseconds, number: ProcessId, held: Mapping[TaskNumber, int]) -> Step:
        """A worker that has (re)connected names the attempts it holds; all others are released."""
        process = self._process(number)
        missing = [t for t in process.tasks if held.get(t) != self.state.tasks[t].attempt]
        self._give_back(missing, Cause.UNDELIVERED)
        self._settle(now)
        return self._step(None)

    def undo_lease(self, now: Nanoseconds, number: TaskNumber, attempt: int) -> Step:
        """The lease could not be handed to its caller."""
        task = self.state.tasks.get(number)
        if task is not None and task.state is State.RUNNING and task.attempt == attempt:
            self._release(task, Cause.UNDELIVERED)
            self._settle(now)
        return self._step(None)

    # --- ending a lease -----------------------------------------------------------------------

    def succeed(
        self,
        now: Nanoseconds,
        number: TaskNumber,
        value: Payload,
        *,
        attempt: int | None = None,
        connection: ConnectionId | None = None,
    ) -> Step:
        """Hand in a value: the first one is the answer, a later one is counted and dropped.

        The reply says whether it was the first. Anybody may call it, for a task that was ever
        leased.
        """
        self._hear_caller(now, connection)
        task = self._known_task(number)
        if task is None or task.state in FINISHED:
            self._record(e.LateAnswer(number))
            return self._step(False)
        if task.attempt == 0 or (attempt is not None and not 1 <= attempt <= task.attempt):
            raise NotHolder(f"{_name(task)} was never handed out{_as_attempt(attempt)}: get it first")
        self._lease_over(task)
        self.deadlines.clear(Key(Due.TASK, number))
        self._record(e.TaskSucceeded(now, number, value))
        for dependent in list(task.dependents or ()):
            self._input_ready(self.state.tasks[dependent])
        self._task_finished(task)
        self._settle(now)
        return self._step(True)

    def fail(
        self,
        now: Nanoseconds,
        number: TaskNumber,
        failure: Failure,
        *,
        attempt: int | None = None,
        process: ProcessId | None = None,
        connection: ConnectionId | None = None,
    ) -> Step:
        """Hand in an exception. Only the holder may; a late one is counted and dropped."""
        self._hear_caller(now, connection)
        task = self._known_task(number)
        if task is None or task.state in FINISHED:
            self._record(e.LateAnswer(number))
            return self._step(False)
        self._check_holder(task, attempt, process, connection)
        trouble = task.trouble or Trouble()
        again_at = retry_at(task.options.retry, now, number, trouble.retries, failure.type_names)
        self._lease_over(task)
        self._record(e.TaskRaised(now, number, failure, again_at))
        self._failed_or_scheduled(now, task, again_at)
        return self._step(True)

    def give_back(
        self,
        now: Nanoseconds,
        number: TaskNumber,
        *,
        cause: Cause = Cause.RETURNED,
        attempt: int | None = None,
        process: ProcessId | None = None,
        connection: ConnectionId | None = None,
    ) -> Step:
        """Give a task back, unfinished: it is first in line again.

        Ignored when it is waiting or finished already; the reply says whether it was not.
        """
        self._hear_caller(now, connection)
        task = self._known_task(number)
        if task is None or task.state is not State.RUNNING:
            return self._step(False)
        self._check_holder(task, attempt, process, connection)
        self._release(task, cause)
        self._settle(now)
        return self._step(True)

    def reach_time_limit(
        self, now: Nanoseconds, number: TaskNumber, attempt: int, process: ProcessId
    ) -> Step:
        """A supervisor found that the task ran too long, and is about to end its child."""
        task = self._known_task(number)
        if task is not None and task.state is State.RUNNING:
            self._check_holder(task, attempt, process, None)
            self._end_by_limit(now, task)
            self._settle(now)
        return self._step(None)

    def cancel(self, now: Nanoseconds, number: TaskNumber, detail: str = "cancelled") -> Step:
        """Nobody wants the answer any more. The reply says whether it was still unfinished."""
        task = self._known_task(number)
        if task is None or task.state in FINISHED:
            return self._step(False)
        self._cancel(now, task, detail)
        self._settle(now)
        return self._step(True)

    def retry(self, now: Nanoseconds, number: TaskNumber) -> Step:
        """Start a failed or cancelled task anew. The reply says whether that was possible."""
        task = self._known_task(number)
        if task is None or task.state not in (State.FAILED, State.CANCELLED):
            return self._step(False)
        if task.delivery is not Delivery.NONE or any(s not in self.state.tasks for s in task.inputs):
            return self._step(False)
        self._record(e.TaskRetried(now, number))
        self._fail_without_inputs(now, task)
        self._touch(task)
        self._settle(now)
        return self._step(True)

    def forget(self, now: Nanoseconds, number: TaskNumber) -> Step:
        """Drop a task and its answer, delivered or not. An unfinished one is cancelled first.

        The reply says whether it was there.
        """
        task = self._known_task(number)
        if task is None:
            return self._step(False)
        if task.state in UNFINISHED:
            self._cancel(now, task, "forgotten")
        self._acknowledge(task)
        self._settle(now)
        return self._step(True)

    # --- collecting -----------------------------------------------------------------------

    def collect(
        self,
        now: Nanoseconds,
        *,
        session: SessionId = PUBLIC,
        tag: str | None = None,
        plain_only: bool = False,
        connection: ConnectionId | None = None,
        final: bool = True,
        caller: object = None,
        timeout_at: Nanoseconds | None = None,
    ) -> Step:
        """Take the next answer, in the order of completion.

        The reply is an `Answer`; when there is none, None if ``caller`` is None (a poll), and
        else `Parked`. ``final``: the caller has it for certain. Otherwise, and for whoever
        was parked, `acknowledge` or `undo_delivery` must follow.
        """
        self._hear_caller(now, connection)
        tags = None if tag is None else frozenset({tag})
        view = self.state.finished.view(frozenset({session}), tags)
        task = view.first()
        if task is None:
            if self.state.terminated:
                raise TaskManagerTermination
            if caller is None:
                return self._step(None)
            process = None if connection is None else self.presence.connections[connection].process
            want = self._park(self.result_wants, view, caller, process, connection, plain_only, timeout_at)
            return self._step(Parked(want))
        if plain_only:
            _check_readable(task)
        answer = self._deliver(task)
        if final:
            self._acknowledge(task)
        return self._step(answer)

    def acknowledge(self, number: TaskNumber) -> Step:
        """The answer that was handed out has arrived."""
        self._acknowledge(self.state.tasks[number])
        return self._step(None)

    def undo_delivery(self, now: Nanoseconds, number: TaskNumber) -> Step:
        """The answer that was handed out did not arrive: it is first in line again."""
        self._record(e.DeliveryUndone(number))
        self._touch(self.state.tasks[number])
        self._settle(now)
        return self._step(None)

    def withdraw(self, now: Nanoseconds, number: WantId) -> bool:
        """Give up a parked request. False: it was answered before."""
        return self._withdraw(now, number)

    # --- sessions and data --------------------------------------------------------------------

    def open_session(self, now: Nanoseconds, name: str) -> Step:
        """A new session. The reply is its number."""
        number = SessionId(self.state.next_session)
        self._record(e.SessionOpened(now, number, name))
        return self._step(number)

    def end_session(self, now: Nanoseconds, number: SessionId) -> Step:
        """The session is over: its unfinished tasks are cancelled, its answers forgotten."""
        if number not in self.state.sessions:
            raise UnknownSession(f"no session {number} is open")
        mine = [task for task in self.state.tasks.values() if task.session == number]
        for task in mine:
            if task.state in UNFINISHED:
                self._cancel(now, task, "its session has ended")
        for task in mine:
            self._acknowledge(task)
        self._record(e.SessionEnded(number))
        self._settle(now)
        return self._step(None)

    def store_data(self, items: Mapping[str, Payload]) -> Step:
        """Store values under labels, all of them at once."""
        self._record(e.DataStored(tuple(items.items())))
        return self._step(None)

    def retrieve_data(self, label: str) -> Payload:
        """The value under that label."""
        try:
            return self.state.data[label]
        except KeyError:
            self._refuse_label(label)

    def delete_data(self, label: str) -> Step:
        """Delete the value under that label."""
        if label not in self.state.data:
            self._refuse_label(label)
        self._record(e.DataDeleted(label))
        return self._step(None)

    # === the steps that commands are made of ===================================================

    def _record(self, event: e.Event) -> None:
        self.state.apply(event)
        self._events.append(event)

    def _step(self, reply: object) -> Step:
        step = Step(reply, self._events, self._wakes)
        if self._events:
            self._events = []
        if self._wakes:
            self._wakes = []
        return step

    # --- matching wants -------------------------------------------------------------------

    def _touch(self, task: Task) -> None:
        """The task may be what somebody is parked for."""
        if task.lane is not None:
            self._touched.append(task.lane)

    def _settle(self, now: Nanoseconds) -> None:
        """Pair what came into a line with the wants for it. A command ends with this."""
        while self._touched:
            lane = self._touched.pop()
            while (task := lane.head) is not None:
                if task.state is State.WAITING:
                    want = self.task_wants.oldest_over(lane)
                    if want is None:
                        break
                    leases = self._lease_from(now, want.view, want.process, want.connection, 1)
                    self._answer(now, self.task_wants, want, leases)
                else:
                    want = self.result_wants.oldest_over(lane)
                    if want is None:
                        break
                    self._answer(now, self.result_wants, want, self._answer_for(want))

    def _answer_for(self, want: Want) -> Answer | Exception:
        task = want.view.first()
        assert task is not None, want
        if want.plain_only:
            try:
                _check_readable(task)
            except PayloadError as error:
                return error
        return self._deliver(task)

    def _park(
        self,
        parking: Parking,
        view: View,
        caller: object,
        process: ProcessId | None,
        connection: ConnectionId | None,
        plain_only: bool,
        timeout_at: Nanoseconds | None,
    ) -> WantId:
        want = Want(WantId(self._next_want), caller, view, connection, process, plain_only)
        self._next_want += 1
        parking.park(want)
        if connection is not None:
            self.presence.connections[connection].wants[want.id] = None
        if timeout_at is not None:
            self.deadlines.set(Key(Due.WANT, want.id), timeout_at)
        if process in self.state.processes:
            self.presence.processes[process].parked += 1
            self._watch(self.state.processes[process])
        return want.id

    def _answer(
        self, now: Nanoseconds, parking: Parking, want: Want, reply: tuple[Lease, ...] | Answer | Exception
    ) -> None:
        self._unpark(now, parking, want)
        self._wakes.append((want.caller, reply))

    def _unpark(self, now: Nanoseconds, parking: Parking, want: Want) -> None:
        parking.remove(want)
        self.deadlines.clear(Key(Due.WANT, want.id))
        connection = None if want.connection is None else self.presence.connections.get(want.connection)
        if connection is not None:
            del connection.wants[want.id]
        if want.process in self.state.processes:
            self.presence.processes[want.process].parked -= 1
            self._hear(now, self.state.processes[want.process])

    def _withdraw(self, now: Nanoseconds, number: WantId) -> bool:
        for parking in (self.task_wants, self.result_wants):
            want = parking.get(number)
            if want is not None:
                self._unpark(now, parking, want)
                return True
        return False

    def _time_out(self, now: Nanoseconds, number: WantId) -> None:
        for parking in (self.task_wants, self.result_wants):
            want = parking.get(number)
            if want is not None:
                self._answer(now, parking, want, TimeoutError("nothing came within the timeout"))

    # --- signs of life ------------------------------------------------------------------------

    def _called_by(self, now: Nanoseconds, number: ProcessId, connection: ConnectionId | None) -> None:
        """A call names the process: the connection speaks for it from now on."""
        process = self._process(number)
        if connection is not None:
            self._bind(now, self.presence.connections[connection], number)
        self._hear(now, process)

    def _bind(self, now: Nanoseconds, connection: Connection, number: ProcessId) -> None:
        before = connection.process
        self.presence.bind_process(connection, number, now)
        if before != number and before in self.state.processes:
            self._watch(self.state.processes[before])

    def _hear_caller(self, now: Nanoseconds, connection: ConnectionId | None) -> None:
        if connection is not None:
            self.hear(now, connection)

    def _hear(self, now: Nanoseconds, process: Process) -> None:
        self.presence.processes[process.id].heard_at = now
        self._watch(process)

    def _watch(self, process: Process) -> None:
        at = self.presence.silent_until(process)
        if at is None:
            self.deadlines.clear(Key(Due.PROCESS, process.id))
        else:
            self.deadlines.set(Key(Due.PROCESS, process.id), at)

    def _hear_node(self, now: Nanoseconds, number: NodeId, connection: ConnectionId | None) -> None:
        self.presence.nodes[number].heard_at = now
        via = None if connection is None else self.presence.connections[connection]
        if via is not None and via.node != number:
            self.presence.bind_node(via, number, now)
            self._watch_children(number)
        self._watch_node(number)

    def _watch_node(self, number: NodeId) -> None:
        node = self.state.nodes[number]
        self.deadlines.set(Key(Due.NODE, number), self.presence.node_silent_until(node))

    def _watch_children(self, number: NodeId) -> None:
        """The way to hear them has changed."""
        for process in self.state.processes.values():
            if process.node == number:
                self._watch(process)

    def _judge_process(self, now: Nanoseconds, number: ProcessId) -> None:
        process = self.state.processes[number]
        silent_s = (now - self.presence.processes[number].heard_at) / 1e9
        connected = self.presence.is_connected(process)
        way = "was silent" if connected else "had closed its connection and was silent"
        detail = f"process {number} {way} for {silent_s:.1f} s"
        tasks = self._in_old_order(process.tasks)
        # A closed connection, nobody to ask, and one task that can have done it.
        crashed = not connected and process.node is None and len(tasks) == 1
        for task in reversed(tasks):
            if crashed:
                self._crash(now, task, detail)
            else:
                self._lose(now, task, detail)
        self._forget_process(now, process, detail)
        self._record(e.ProcessLost(now, number, detail))

    def _forget_process(self, now: Nanoseconds, process: Process, why: str) -> None:
        """Everything volatile about it ends; its tasks have ended before."""
        for parking in (self.task_wants, self.result_wants):
            for want in [want for want in parking if want.process == process.id]:
                self._answer(now, parking, want, UnknownProcess(f"{why}: register again"))
        vitals = self.presence.processes.pop(process.id)
        for connection in vitals.connections:
            self.presence.connections[connection].process = None
        self.deadlines.clear(Key(Due.PROCESS, process.id))
        self._settle(now)

    def _forget_node(self, number: NodeId) -> None:
        vitals = self.presence.nodes.pop(number)
        for connection in vitals.connections:
            self.presence.connections[connection].node = None
        self.deadlines.clear(Key(Due.NODE, number))
        self._record(e.NodeUnregistered(number))
        self._watch_children(number)

    # --- ends of leases ---------------------------------------------------------------------

    def _lease_over(self, task: Task) -> None:
        """Forget the volatile side of the lease, if there is one."""
        via = self._lease_connections.pop(task.number, None)
        if via is not None:
            del via.leases[task.number]
        self.deadlines.clear(Key(Due.LEASE, task.number))
        if task.options.time_limit_ns is not None:
            self.deadlines.clear(Key(Due.TIME_LIMIT, task.number))

    def _release(self, task: Task, cause: Cause) -> None:
        self._lease_over(task)
        self._record(e.TaskReleased(task.number, cause))
        self._touch(task)

    def _give_back(self, numbers: Iterable[TaskNumber], cause: Cause) -> None:
        for task in reversed(self._in_old_order(numbers)):
            self._release(task, cause)

    def _in_old_order(self, numbers: Iterable[TaskNumber]) -> list[Task]:
        # A task keeps the place number it had in line while it runs.
        return sorted((self.state.tasks[number] for number in numbers), key=lambda task: task.order)

    def _take_back_undelivered(self, process: Process) -> None:
        """A plain process asks for more over another connection: its last reply was lost."""
        if process.kind is Kind.PLAIN and process.tasks:
            gone = [
                number
                for number in process.tasks
                if (via := self._lease_connections.get(number)) and via.id not in self.presence.connections
            ]
            self._give_back(gone, Cause.UNDELIVERED)

    def _crash(self, now: Nanoseconds, task: Task, detail: str) -> None:
        bound = task.options.max_crashes or self.limits.max_crashes
        crashes = task.trouble.crashes if task.trouble else 0
        self._lease_over(task)
        self._record(e.TaskCrashed(now, task.number, detail, final=crashes + 1 >= bound))
        self._failed_or_waiting(now, task)

    def _lose(self, now: Nanoseconds, task: Task, detail: str) -> None:
        bound = task.options.max_losses or self.limits.max_losses
        losses = task.trouble.losses if task.trouble else 0
        self._lease_over(task)
        self._record(e.TaskLost(now, task.number, detail, final=losses + 1 >= bound))
        self._failed_or_waiting(now, task)

    def _end_by_limit(self, now: Nanoseconds, task: Task) -> None:
        trouble = task.trouble or Trouble()
        again_at = retry_at(task.options.retry, now, task.number, trouble.retries, None)
        self._lease_over(task)
        self._record(e.TimeLimitReached(now, task.number, again_at))
        self._failed_or_scheduled(now, task, again_at)

    def _end_anonymous_lease(self, now: Nanoseconds, task: Task) -> None:
        via = self._lease_connections[task.number]
        detail = f"the connection that it was handed out over was closed {self.limits.plain_grace_ns / 1e9:g} s ago"
        if len(via.leases) == 1:
            self._crash(now, task, detail)
        else:
            self._lose(now, task, detail)

    def _cancel(self, now: Nanoseconds, task: Task, detail: str) -> None:
        self._lease_over(task)
        self.deadlines.clear(Key(Due.TASK, task.number))
        self._record(e.TaskCancelled(now, task.number, detail))
        self._task_ended_without_value(now, task)

    def _failed_or_waiting(self, now: Nanoseconds, task: Task) -> None:
        if task.state is State.WAITING:
            self._touch(task)
        else:
            self._task_ended_without_value(now, task)

    def _failed_or_scheduled(self, now: Nanoseconds, task: Task, again_at: Nanoseconds | None) -> None:
        if again_at is not None:
            self.deadlines.set(Key(Due.TASK, task.number), again_at)
        else:
            self._task_ended_without_value(now, task)
        self._settle(now)

    # --- ends of tasks ----------------------------------------------------------------------

    def _task_ended_without_value(self, now: Nanoseconds, task: Task) -> None:
        """What needs its value can never run; and what needs theirs."""
        ended = [task]
        while ended:
            source = ended.pop()
            for number in list(source.dependents or ()):
                dependent = self.state.tasks[number]
                self._fail_for_input(now, dependent, source.number)
                ended.append(dependent)
            self._task_finished(source)

    def _fail_for_input(self, now: Nanoseconds, task: Task, source: TaskNumber) -> None:
        self.deadlines.clear(Key(Due.TASK, task.number))
        why = f"its input {_name(self.state.tasks[source])} ended without a value"
        self._record(e.TaskFailed(now, task.number, why))
        self._touch(task)

    def _input_ready(self, task: Task) -> None:
        schedule = task.detail
        if isinstance(schedule, Schedule) and schedule.unready == 0:
            self._record(e.InputsReady(task.number))
            self._touch(task)

    def _task_finished(self, task: Task) -> None:
        """Its answer can be collected, and its inputs are not needed by it any more."""
        self._touch(task)
        for number in task.inputs:
            self._forget_if_done(self.state.tasks.get(number))

    def _deliver(self, task: Task) -> Answer:
        outcome = task.detail
        assert isinstance(outcome, (Success, Ended)), task.number
        self._record(e.ResultDelivered(task.number))
        return Answer(task.number, task.tag, outcome)

    def _acknowledge(self, task: Task) -> None:
        if task.delivery is Delivery.HANDED_OUT and task.dependents is None:
            self._record(e.TaskForgotten(task.number))
            return
        if task.delivery is not Delivery.ACKNOWLEDGED:
            self._record(e.DeliveryAcknowledged(task.number))
        self._forget_if_done(task)

    def _forget_if_done(self, task: Task | None) -> None:
        if task is not None and task.delivery is Delivery.ACKNOWLEDGED and task.dependents is None:
            self._record(e.TaskForgotten(task.number))

    # --- looking things up, and refusing ------------------------------------------------------

    def _process(self, number: ProcessId) -> Process:
        process = self.state.processes.get(number)
        if process is None:
            active = ", ".join(map(str, self.state.processes)) or "none"
            raise UnknownProcess(
                f"process {number} is not registered (any more); active: {active}. "
                "Call registerProcess first, and again after a loss"
            )
        return process

    def _node(self, number: NodeId) -> None:
        if number not in self.state.nodes:
            raise UnknownProcess(f"supervisor {number} is not registered (any more): register again")

    def _known_task(self, number: TaskNumber) -> Task | None:
        """The task, or None when it is gone; refused when the number was never given out."""
        if not 0 <= number < self.state.next_task:
            raise UnknownTask(f"no task has the number {number}; the next new one is {self.state.next_task}")
        return self.state.tasks.get(number)

    def _check_holder(
        self,
        task: Task,
        attempt: int | None,
        process: ProcessId | None,
        connection: ConnectionId | None,
    ) -> None:
        if task.state is not State.RUNNING:
            raise NotHolder(
                f"{_name(task)} is not running{_as_attempt(attempt)}: it was given back, or taken back"
            )
        holder = _holder(task)
        if attempt is not None and attempt != holder.attempt:
            raise NotHolder(
                f"{_name(task)}, attempt {attempt}: no longer yours; attempt {holder.attempt} runs "
                f"{_on(holder)}"
            )
        if holder.process is None:
            return  # known by its connection only, and may have another one by now
        via = None if connection is None else self.presence.connections[connection]
        if via is not None and via.node is not None and via.node == self.state.processes[holder.process].node:
            return
        if process is None and via is not None:
            process = via.process
        if process is not None and process != holder.process:
            raise NotHolder(
                f"{_name(task)} is not leased to process {process}; attempt {holder.attempt} runs {_on(holder)}"
            )

    def _refuse_label(self, label: str) -> NoReturn:
        raise UnknownLabel(f"no data is stored under {label!r}; call storeData({label}=...) first")


def _holder(task: Task) -> Holder:
    assert isinstance(task.detail, Holder), task.number
    return task.detail


def _name(task: Task) -> str:
    return f"task {task.tag}_{task.number}"


def _on(holder: Holder) -> str:
    return "on an unregistered client" if holder.process is None else f"on process {holder.process}"


def _as_attempt(attempt: int | None) -> str:
    return "" if attempt is None else f" as attempt {attempt}"


def _check_readable(task: Task) -> None:
    outcome = task.detail
    if isinstance(outcome, Success) and outcome.value.format != PLAIN:
        raise PayloadError(
            f"the result of {_name(task)} is a Python object that plain Pyro proxies cannot carry; "
            "collect it with pyrotask's own client, or in the manager's process. It stays there"
        )


__all__ = ["Machine", "Outcome", "Parked", "Step", "Wake"]
