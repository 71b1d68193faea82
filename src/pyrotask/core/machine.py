"""The commands: each reads the state, decides, and records what happened.

A command is a method that takes ``now`` first and returns a `Step`: the reply to its caller,
the events that it recorded, and the wakes, which are replies to others who were parked. It
refuses (raises `Refused`, `TaskManagerTermination`, `TypeError` or `ValueError`) before its
first event, so a refused call changes nothing; an exception after one means that the machine
is broken, and `Machine.in_step` says so.

This is the list of them, with those in `sessions` and `interventions`. How a lease begins and
ends stands in `leases`, how a task ends and is delivered in `endings`, how a process comes and
goes in `membership`, and how blocked requests are served in `matching`.

Whoever calls must hold the broker's lock. Nothing here blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from pyrotask.core import events as e
from pyrotask.core.deadlines import Deadlines, Due, Key
from pyrotask.core.endings import EVERYTHING_PUBLIC, Endings, check_answer
from pyrotask.core.interventions import Interventions
from pyrotask.core.leases import Leases
from pyrotask.core.liveness import Liveness
from pyrotask.core.lookup import Lookup
from pyrotask.core.matching import Matching
from pyrotask.core.membership import Membership
from pyrotask.core.model import (
    DEFAULT_OPTIONS,
    FINISHED,
    HANDED_OUT,
    NEW,
    PICKLE,
    PLAIN,
    PUBLIC,
    RUNNING,
    WAITING,
    Cause,
    ConnectionId,
    Failure,
    Kind,
    Limits,
    Nanoseconds,
    NewTask,
    NodeId,
    Options,
    Payload,
    ProcessId,
    SessionId,
    Task,
    TaskNumber,
    WantId,
)
from pyrotask.core.paces import Paces
from pyrotask.core.presence import Connection, Presence
from pyrotask.core.recorder import Parked, Recorder, Step, Wake
from pyrotask.core.sessions import Sessions
from pyrotask.core.state import DurableState
from pyrotask.errors import Refused, TaskManagerTermination

PLAIN_ONLY: frozenset[str] = frozenset({PLAIN})
ANY_FORMAT: frozenset[str] = frozenset({PLAIN, PICKLE})

_all_but_payload = attrgetter("tag", "options", "due_at", "inputs", "key")


class Machine:
    """One task manager, from its first event on.

    Args:
        limits: the bounds and periods of its rules.
        state: what the runs before have left; None: this is the first one.
    """

    def __init__(self, limits: Limits | None = None, state: DurableState | None = None) -> None:
        self.limits = limits or Limits()
        self.state = state or DurableState()
        self._recorder = Recorder(self.state)
        self.presence = Presence(self.limits)
        self.deadlines = Deadlines()
        self._lookup = Lookup(self.state, self.presence, self.limits)
        self._liveness = Liveness(self.state, self.presence, self.deadlines)
        self._endings = Endings(self._recorder, self.deadlines, self.limits)
        self.paces = Paces()
        """How long tasks take: tell it whenever that was measured."""
        self._leases = Leases(self._recorder, self.deadlines, self.limits, self._endings, self.paces)
        self._matching = Matching(
            self._recorder, self.deadlines, self.presence, self._liveness, self._leases, self._endings
        )
        self._membership = Membership(
            self._recorder,
            self.deadlines,
            self.presence,
            self.limits,
            self._liveness,
            self._endings,
            self._leases,
            self._matching,
        )
        self.sessions = Sessions(
            self._recorder,
            self.deadlines,
            self.limits,
            self._lookup,
            self._liveness,
            self._endings,
            self._leases,
            self._matching,
        )
        """The commands of clients that have a session."""
        self.interventions = Interventions(
            self._recorder, self._lookup, self._endings, self._leases, self._matching
        )
        """The commands that end tasks, or start them anew, one or many."""
        self.ended_leases = self._leases.ended
        self.stranded_leases = self._leases.stranded
        self.kept_failures = self._endings.kept
        self.task_wants = self._matching.task_wants
        self.result_wants = self._matching.result_wants
        self.lease_connections = self._leases.connections

    @property
    def in_step(self) -> bool:
        """Whether a command was left with events that nobody got: the machine is broken."""
        return bool(self._recorder.events)

    # --- the run ------------------------------------------------------------------------

    def start(self, now: Nanoseconds, lineage: str) -> Step:
        """Begin a run. What the last one has left goes on, and everybody has to be heard anew."""
        self._recorder.record(e.BrokerStarted(now, lineage))
        self._membership.resume(now)
        self.sessions.expect(now)
        return self._recorder.step(None)

    def terminate(self, now: Nanoseconds) -> Step:
        """Everybody who waits is told; nobody waits any more. A second call does nothing."""
        if not self.state.terminated:
            self._recorder.record(e.Terminated(now))
            for parking in (self.task_wants, self.result_wants):
                self._matching.refuse(now, [want.id for want in parking], TaskManagerTermination)
        return self._recorder.step(None)

    def tick(self, now: Nanoseconds) -> Step:
        """Do everything whose instant has come."""
        while (key := self.deadlines.pop_due(now)) is not None:
            self._come_due(now, key)
            self._matching.settle(now)
        return self._recorder.step(None)

    def _come_due(self, now: Nanoseconds, key: Key) -> None:
        number = key.number
        if key.due is Due.TASK:
            task = self.state.tasks[TaskNumber(number)]
            self._recorder.record(e.TaskDue(task.number))
            self._recorder.touch(task)
        elif key.due is Due.TIME_LIMIT:
            self._leases.reach_limit(now, self.state.tasks[TaskNumber(number)])
        elif key.due is Due.LEASE:
            self._leases.end_anonymous(now, self.state.tasks[TaskNumber(number)])
        elif key.due is Due.PROCESS:
            process = self.state.processes[ProcessId(number)]
            if self._liveness.is_silent(now, process):
                self._membership.lose(now, process)
        elif key.due is Due.NODE:
            self._membership.forget_node(NodeId(number))
        elif key.due is Due.RETENTION:
            self._endings.drop(self.state.tasks[TaskNumber(number)])
        elif key.due is Due.SESSION:
            self.sessions.expire(now, SessionId(number))
        else:
            self._matching.time_out(now, WantId(number))

    def postpone_liveness(self, by: Nanoseconds) -> None:
        """Nobody could be heard for that long: no silence counts for that time."""
        self._liveness.lose_no_time(by)

    # --- connections, processes, nodes ------------------------------------------------------

    def connect(self) -> ConnectionId:
        """A new connection. Its number is used for nothing else, ever, in this run."""
        return self.presence.open().id

    def disconnect(self, now: Nanoseconds, number: ConnectionId) -> Step:
        """The connection is closed: its requests die, its leases and its process may follow."""
        self._membership.disconnect(now, number)
        return self._recorder.step(None)

    def hear(self, now: Nanoseconds, number: ConnectionId) -> None:
        """Something came in over the connection: a sign of life of whoever it speaks for."""
        connection = self.presence.connections.get(number)
        if connection is not None:
            self._liveness.hear_over(now, connection)

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
        if node is not None:
            self._lookup.node(node)
        via = self._lookup.way(connection)
        number = self._membership.register(now, kind, period_ns, info, node, tags, via)
        return self._recorder.step(number)

    def unregister(self, now: Nanoseconds, number: ProcessId) -> Step:
        """Leave. What the process runs is first in line again, in the old order."""
        self._membership.unregister(now, self._lookup.process(number))
        return self._recorder.step(None)

    def ping(self, now: Nanoseconds, number: ProcessId, connection: ConnectionId | None = None) -> bool:
        """A sign of life. False: the process is not registered (any more)."""
        process = self.state.processes.get(number)
        if process is None:
            return False
        self._liveness.called_by(now, process, self._lookup.way(connection))
        return True

    def register_node(
        self, now: Nanoseconds, *, period_ns: Nanoseconds, info: str, connection: ConnectionId | None
    ) -> Step:
        """A supervisor takes part. The reply is the number of its node."""
        if period_ns <= 0:
            raise ValueError(f"the period must be greater than 0 s, not {period_ns / 1e9:g}")
        number = self._membership.register_node(now, period_ns, info, self._lookup.way(connection))
        return self._recorder.step(number)

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
        self._lookup.node(node)
        self._liveness.hear_node(now, node, self._lookup.way(connection))
        unknown = []
        for number in alive:
            process = self.state.processes.get(number)
            if process is None:
                unknown.append(number)
            else:
                self._liveness.hear(now, process)
        return unknown

    def child_exited(
        self, now: Nanoseconds, number: ProcessId, begun: Mapping[TaskNumber, int], detail: str
    ) -> Step:
        """A supervisor reports the end of a child: what it had begun crashed, the rest did not.

        ``begun`` gives the attempt that was begun of each task; ``detail`` says how it ended.
        """
        self._membership.child_exited(now, self._lookup.process(number), begun, detail)
        return self._recorder.step(None)

    def give_back_unbegun(
        self,
        now: Nanoseconds,
        node: NodeId,
        attempts: Mapping[TaskNumber, int],
        connection: ConnectionId | None = None,
    ) -> Step:
        """A supervisor reports attempts that its children will not begin: they go to the front.

        What is not held by a child of it (any more) is left alone.
        """
        self.beat(now, node, (), connection)
        held = self._leases.held_below(node, attempts)
        for tag in self._leases.tags_beside(held):
            self.paces.note_long(tag)  # so they go out one by one now
        self._leases.release_all(held, Cause.NOT_BEGUN)
        self._matching.settle(now)
        return self._recorder.step(None)

    def unregister_node(self, node: NodeId) -> Step:
        """A supervisor leaves. Its children are on their own."""
        self._lookup.node(node)
        self._membership.forget_node(node)
        return self._recorder.step(None)

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
        key: str | None = None,
        process: ProcessId | None = None,
        connection: ConnectionId | None = None,
    ) -> Step:
        """Take a task on. The reply is its number; for a known key, that of the task there."""
        item = NEW(NewTask, (tag, payload, options, due_at, tuple(inputs), key))
        self._lookup.may_submit((item,), session)
        self._hear(now, process, self._if_open(connection))
        if key is None:
            number = self._take_on(now, item, (payload,), session)
        else:
            number = self._take_on_keyed(now, item, session)
        self._matching.settle(now)
        return self._recorder.step(number)

    def keyed(self, key: str) -> NewTask:
        """What to submit to get the answer of the task that has this key. Changes nothing."""
        return self._lookup.keyed(key)

    def submit_many(
        self,
        now: Nanoseconds,
        items: Sequence[NewTask],
        *,
        session: SessionId = PUBLIC,
        process: ProcessId | None = None,
        connection: ConnectionId | None = None,
    ) -> Step:
        """Take all these tasks on, or none. The reply is a tuple of their numbers, in order."""
        self._lookup.may_submit(items, session)
        self._hear(now, process, self._if_open(connection))
        numbers: list[TaskNumber] = []
        for _, group in groupby(items, _all_but_payload):
            alike = list(group)
            if alike[0].key is None:
                first = self._take_on(now, alike[0], tuple([item.payload for item in alike]), session)
                numbers += map(TaskNumber, range(first, first + len(alike)))
            else:
                numbers += [self._take_on_keyed(now, item, session) for item in alike]
        self._matching.settle(now)
        return self._recorder.step(tuple(numbers))

    def _take_on_keyed(self, now: Nanoseconds, item: NewTask, session: SessionId) -> TaskNumber:
        assert item.key is not None, item
        number = self.state.keys.get(item.key)
        if number is None:
            return self._take_on(now, item, (item.payload,), session)
        self._endings.subscribe(self.state.tasks[number], session)
        return number

    def _take_on(
        self, now: Nanoseconds, like: NewTask, payloads: tuple[Payload, ...], session: SessionId
    ) -> TaskNumber:
        """Take on new tasks of these payloads, and else as that one. Returns the first of their numbers."""
        tag, _, options, due_at, inputs, key = like
        due = due_at if due_at is not None and due_at > now else None
        inputs = tuple(dict.fromkeys(inputs)) if inputs else ()
        first = self._recorder.new_tasks(len(payloads))
        self._recorder.record(
            NEW(e.TasksSubmitted, (now, first, tag, payloads, options, session, due, inputs, key))
        )
        for number in range(first, first + len(payloads)):
            task = self.state.tasks[TaskNumber(number)]
            if task.state is not WAITING:
                self._schedule(now, task, due)
            self._recorder.touch(task)
        return first

    def _schedule(self, now: Nanoseconds, task: Task, due: Nanoseconds | None) -> None:
        if due is not None:
            self.deadlines.set(Key(Due.TASK, task.number), due)
        self._endings.fail_if_inputs_have(now, task)

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

        The reply is a tuple of up to ``count`` leases: the `fair_share` of who asks, or more if they are
        known to be short (`paces`). When there is nothing to lease it is empty if ``caller`` is None
        (a poll), and else `Parked`; whoever was parked gets one, or several short ones. It is empty too
        if this is an old request of a worker that has reconnected since (`hold_only`). After a
        termination it is `TaskManagerTermination`.
        """
        via = self._hear(now, process, connection)
        if process is not None:
            vitals = self.presence.processes[process]
            vitals.asks = True
            if connection is not None and vitals.home is not None and connection < vitals.home:
                return self._recorder.step(())
            if undelivered := self._leases.undelivered(self.state.processes[process]):
                self._leases.release_all(undelivered, Cause.UNDELIVERED)
                self._matching.settle(now)
        view = self.state.waiting.view(PLAIN_ONLY if plain_only else ANY_FORMAT, tags)
        share = 1 if count <= 1 else self.fair_share(tags, count)
        leases = self._leases.hand_out(now, view, process, via, count=count, share=share)
        if not leases and self.state.terminated:
            # Returned, not raised: a task may have been taken back by then, and that happened.
            return self._recorder.step(TaskManagerTermination())
        if leases or caller is None:
            return self._recorder.step(leases)
        want = self._matching.park(
            self.task_wants, view, caller,
            process=process, via=via, plain_only=plain_only, timeout_at=timeout_at, leases=count,
        )  # fmt: skip
        return self._recorder.step(Parked(want))

    def fair_share(self, tags: frozenset[str] | None, count: int) -> int:
        """How many of ``count`` tasks one process may be given at once: its part of what waits, or one.

        So ten long tasks go to ten workers, and the last ones of many are spread as well.
        """
        if count <= 1:
            return count
        processes = max(1, len(self.state.processes))
        waiting = self.state.waiting.count(tags, count * processes)
        return min(count, max(1, -(-waiting // processes)))

    def hold_only(
        self,
        now: Nanoseconds,
        number: ProcessId,
        held: Mapping[TaskNumber, int],
        connection: ConnectionId | None = None,
    ) -> Step:
        """A worker that has (re)connected names the attempts it holds; all others are released.

        From then on it asks over that connection: what it had asked for over older ones, it will
        not get, also if the request comes in only now.
        """
        process = self._lookup.process(number)
        if connection is not None:
            self._membership.come_home(now, process, connection)
        missing = [t for t in process.tasks if held.get(t) != self.state.tasks[t].attempt]
        self._leases.release_all(missing, Cause.UNDELIVERED)
        self._matching.settle(now)
        return self._recorder.step(None)

    def undo_lease(self, now: Nanoseconds, number: TaskNumber, attempt: int) -> Step:
        """The lease could not be handed to its caller. A second time, nothing happens."""
        task = self.state.tasks.get(number)
        if task is not None and task.state is RUNNING and task.attempt == attempt:
            self._leases.release(task, Cause.UNDELIVERED)
            self._matching.settle(now)
        return self._recorder.step(None)

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
        self._hear_end(now, connection)
        task = self._to_be_answered(number, attempt, value)
        if task is None:
            self._recorder.record(e.LateAnswer(number))
            return self._recorder.step(False)
        self._leases.succeed(now, [(task, attempt, value)])
        self._matching.settle(now)
        return self._recorder.step(True)

    def succeed_many(
        self, now: Nanoseconds, answers: Iterable[tuple[TaskNumber, int | None, Payload]]
    ) -> Step:
        """Hand in the values of several tasks, each with its attempt; the same as `succeed` for each.

        The reply is a list of those that were refused: their numbers, and why. The others were taken.
        """
        accepted: dict[TaskNumber, tuple[Task, int | None, Payload]] = {}
        late: list[TaskNumber] = []
        refused: list[tuple[TaskNumber, Refused]] = []
        for number, attempt, value in answers:
            try:
                task = self._to_be_answered(number, attempt, value)
            except Refused as error:
                refused.append((number, error))
                continue
            if task is None or number in accepted:
                late.append(number)
            else:
                accepted[number] = task, attempt, value
        if accepted:
            self._leases.succeed(now, list(accepted.values()))
        for number in late:
            self._recorder.record(e.LateAnswer(number))
        self._matching.settle(now)
        return self._recorder.step(refused)

    def _to_be_answered(self, number: TaskNumber, attempt: int | None, value: Payload) -> Task | None:
        """The task whose answer that is, if it may be; None: it has one, or is gone."""
        task = self._lookup.task(number)
        if task is None or task.state in FINISHED:
            return None
        self._leases.check_leased(task, attempt)
        check_answer(task, value)
        return task

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
        via = self._hear_end(now, connection, process)
        task = self._lookup.task(number)
        if task is None or task.state in FINISHED:
            self._recorder.record(e.LateAnswer(number))
            return self._recorder.step(False)
        self._leases.check_holder(task, attempt, process, via)
        self._leases.fail(now, task, failure)
        self._matching.settle(now)
        return self._recorder.step(True)

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
        via = self._hear_end(now, connection, process)
        task = self._lookup.task(number)
        if task is None or task.state is not RUNNING:
            return self._recorder.step(False)
        self._leases.check_holder(task, attempt, process, via)
        self._leases.release(task, cause)
        self._matching.settle(now)
        return self._recorder.step(True)

    def reach_time_limit(
        self, now: Nanoseconds, number: TaskNumber, attempt: int, process: ProcessId
    ) -> Step:
        """A supervisor found that the task ran too long, and is about to end its child."""
        task = self._lookup.task(number)
        if task is not None and task.state is RUNNING:
            self._leases.check_holder(task, attempt, process, None)
            self._leases.reach_limit(now, task)
            self._matching.settle(now)
        return self._recorder.step(None)

    # --- from outside -------------------------------------------------------------------------

    def cancel(self, now: Nanoseconds, number: TaskNumber, detail: str = "cancelled") -> Step:
        """Nobody wants the answer any more. The reply says whether it was still unfinished."""
        return self.interventions.cancel(now, number, detail)

    def retry(self, now: Nanoseconds, number: TaskNumber) -> Step:
        """Start a failed or cancelled task anew. The reply says whether that was possible."""
        return self.interventions.retry(now, number)

    def forget(self, now: Nanoseconds, number: TaskNumber) -> Step:
        """Drop a task and its answer, delivered or not. An unfinished one is cancelled first.

        The reply says whether that was possible: not for a task with a key whose value others
        still need.
        """
        return self.interventions.forget(now, number)

    def take_ended(self, number: ProcessId) -> list[tuple[TaskNumber, int]]:
        """The attempts that this worker may still make, in vain: they were cancelled, or answered.

        Each is told once.
        """
        return list(self._leases.ended.pop(number, {}).items())

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
        self._lookup.session(session)
        via = self._hear(now, None, connection)
        tags = None if tag is None else frozenset({tag})
        groups = EVERYTHING_PUBLIC if session == PUBLIC and not plain_only else frozenset({session})
        view = self.state.finished.view(groups, tags)
        place = view.first()
        if place is not None:
            if plain_only and (problem := self._endings.unreadable(place)) is not None:
                self._matching.settle(now)
                return self._recorder.step(problem)
            answer = self._endings.deliver(place)
            if final:
                self._endings.acknowledge([place])
            return self._recorder.step(answer)
        if self.state.terminated:
            raise TaskManagerTermination
        if caller is None:
            return self._recorder.step(None)
        want = self._matching.park(
            self.result_wants, view, caller,
            process=None, via=via, plain_only=plain_only, timeout_at=timeout_at,
            session=None if session == PUBLIC else session,
        )  # fmt: skip
        return self._recorder.step(Parked(want))

    def acknowledge(self, number: TaskNumber) -> Step:
        """The answer that was handed out has arrived. A second time, nothing happens."""
        task = self._lookup.task(number)
        if task is not None and task.delivery is HANDED_OUT:
            self._endings.acknowledge([task])
        return self._recorder.step(None)

    def undo_delivery(self, now: Nanoseconds, number: TaskNumber) -> Step:
        """The answer that was handed out did not arrive: it is first in line again.

        After it was acknowledged, or undone, nothing happens.
        """
        task = self._lookup.task(number)
        if task is not None and task.delivery is HANDED_OUT:
            self._endings.undo_delivery(task)
            self._matching.settle(now)
        return self._recorder.step(None)

    def withdraw(self, now: Nanoseconds, number: WantId) -> bool:
        """Give up a parked request. False: it was answered before."""
        return self._matching.withdraw(now, number)

    # --- data ---------------------------------------------------------------------------------

    def store_data(self, items: Mapping[str, Payload]) -> Step:
        """Store values under labels, all of them at once."""
        self._recorder.record(e.DataStored(tuple(items.items())))
        return self._recorder.step(None)

    def retrieve_data(self, label: str) -> Payload:
        """The value under that label."""
        return self._lookup.data(label)

    def delete_data(self, label: str) -> Step:
        """Delete the value under that label."""
        self._lookup.data(label)
        self._recorder.record(e.DataDeleted(label))
        return self._recorder.step(None)

    # --- who calls --------------------------------------------------------------------------

    def _hear(
        self, now: Nanoseconds, process: ProcessId | None, connection: ConnectionId | None
    ) -> Connection | None:
        """A sign of life of whoever calls. Returns the way that the call came in."""
        via = None if connection is None else self._lookup.way(connection)
        if process is not None:
            self._liveness.called_by(now, self._lookup.process(process), via)
        elif via is not None:
            self._liveness.hear_over(now, via)
        return via

    def _if_open(self, connection: ConnectionId | None) -> ConnectionId | None:
        """The connection of a call that takes nothing: it is done also if that has closed meanwhile."""
        return connection if connection in self.presence.connections else None

    def _hear_end(
        self, now: Nanoseconds, connection: ConnectionId | None, process: ProcessId | None = None
    ) -> Connection | None:
        """The same, leniently: what was done counts, also when its way here is closed by now."""
        via = None if connection is None else self.presence.connections.get(connection)
        if process in self.state.processes:
            self._liveness.called_by(now, self.state.processes[process], via)
        elif via is not None:
            self._liveness.hear_over(now, via)
        return via


__all__ = ["Machine", "Parked", "Step", "Wake"]
