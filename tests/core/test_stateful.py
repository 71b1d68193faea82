"""Any sequence of commands keeps every invariant, loses nothing, and can be replayed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from pyrotask.core.invariants import check
from pyrotask.core.machine import Machine, Parked, Step
from pyrotask.core.model import (
    FINISHED,
    PUBLIC,
    SECOND,
    Answer,
    Cause,
    Delivered,
    Delivery,
    Ended,
    Kind,
    Limits,
    NewTask,
    Options,
    RetryPolicy,
    Success,
)
from pyrotask.errors import Refused, TaskManagerTermination
from tests.core.world import ERROR, OBJECT, VALUE, World

TAGS = st.sampled_from(["a", "b", "c"])
SOME_TAGS = st.none() | st.frozensets(TAGS, min_size=1)
PAYLOADS = st.sampled_from([VALUE, OBJECT])
OPTIONS = st.builds(
    Options,
    priority=st.integers(-1, 1),
    retry=st.builds(RetryPolicy, retries=st.integers(0, 2), delay_ns=st.integers(0, 5 * SECOND)),
    time_limit_ns=st.none() | st.integers(1, 40 * SECOND),
    max_crashes=st.none() | st.integers(0, 2),
    max_losses=st.none() | st.integers(0, 2),
)
KEYS = st.sampled_from([None, None, "k", "l"])
PERIODS_S = st.none() | st.floats(0.2, 120)


class AnyStory(RuleBasedStateMachine):
    """Commands in any order, also senseless ones: those must be refused and change nothing."""

    tasks = Bundle("tasks")
    processes = Bundle("processes")
    connections = Bundle("connections")
    nodes = Bundle("nodes")
    sessions = Bundle("sessions")
    wants = Bundle("wants")
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Limits(max_waiting=30, max_kept_failures=2, max_unconfirmed=4, max_keyed=2))
        self.machine = self.world.machine
        self.submitted: set[int] = set()
        self.delivered: set[int] = set()
        self.forgotten: set[int] = set()
        self.callers = 0
        self.arrived: dict[tuple[int, int], int] = {}
        """The tasks by session and delivery: a delivery never is of another task."""
        self.calls: dict[tuple[int, int], Any] = {}
        """The replies by session and sequence number: a repeat gets the same."""

    def do(self, command: Any, *args: Any, **options: Any) -> Any:
        before = self.machine.state.image()
        answered = len(self.world.answers)
        try:
            result = command(*args, **options)
        except (Refused, TaskManagerTermination, ValueError):
            assert self.machine.state.image() == before, "a refused call changed something"
            assert not self.machine.in_step
            return None
        reply = self.world.do(result) if isinstance(result, Step) else result
        for answer in [reply, *list(self.world.answers.values())[answered:]]:
            self.note(answer)
        return reply

    def note(self, reply: object) -> None:
        if isinstance(reply, Answer):
            assert isinstance(reply.outcome, (Success, Ended))
            record = self.machine.state.tasks.get(reply.task)
            keyed = record is not None and record.keyed is not None
            assert keyed or reply.task not in self.delivered, "answered twice"
            self.delivered.add(reply.task)
        if isinstance(reply, list):
            self.delivered |= {one.answer.task for one in reply if isinstance(one, Delivered)}

    def caller(self, waits: bool) -> str | None:
        self.callers += 1
        return f"caller {self.callers}" if waits else None

    # --- how it begins: without any of these, most rules could not be drawn --------------------------

    @initialize(target=tasks)
    def first_task(self) -> Any:
        task = self.do(self.machine.submit, self.world.now, "a", VALUE)
        self.submitted.add(task)
        return task

    @initialize(target=processes)
    def first_process(self) -> Any:
        return self.do(self.machine.register, self.world.now)

    @initialize(target=sessions)
    def first_session(self) -> int:
        return self.world.open_session()

    # --- who takes part -----------------------------------------------------------------

    @rule(target=connections)
    def connect(self) -> int:
        return self.machine.connect()

    @rule(connection=consumes(connections))
    def disconnect(self, connection: Any) -> None:
        self.do(self.machine.disconnect, self.world.now, connection)

    @rule(connection=connections)
    def hear(self, connection: Any) -> None:
        self.machine.hear(self.world.now, connection)

    @rule(
        target=processes,
        period=PERIODS_S,
        kind=st.sampled_from(Kind),
        node=st.none() | nodes,
        connection=st.none() | connections,
    )
    def register(self, period: float | None, kind: Kind, node: Any, connection: Any) -> Any:
        period_ns = None if period is None else int(period * SECOND)
        number = self.do(
            self.machine.register,
            self.world.now,
            period_ns=period_ns,
            kind=kind,
            node=node,
            connection=connection,
        )
        return multiple() if number is None else number

    @rule(process=processes)
    def unregister(self, process: Any) -> None:
        self.do(self.machine.unregister, self.world.now, process)

    @rule(process=processes, connection=st.none() | connections)
    def ping(self, process: Any, connection: Any) -> None:
        known = process in self.machine.state.processes
        reply = self.do(self.machine.ping, self.world.now, process, connection)
        if connection is None or connection in self.machine.presence.connections:
            assert reply is known

    @rule(target=nodes, connection=st.none() | connections)
    def register_node(self, connection: Any) -> Any:
        return self.do(
            self.machine.register_node, self.world.now, period_ns=SECOND, info="", connection=connection
        )

    @rule(node=nodes, alive=st.lists(processes, max_size=2), connection=st.none() | connections)
    def beat(self, node: Any, alive: list[Any], connection: Any) -> None:
        self.do(self.machine.beat, self.world.now, node, alive, connection)

    @rule(node=nodes, given_back=st.lists(leases, max_size=3), connection=st.none() | connections)
    def give_back_unbegun(self, node: Any, given_back: list[Any], connection: Any) -> None:
        attempts = {lease.task: lease.attempt for lease in given_back}
        self.do(self.machine.give_back_unbegun, self.world.now, node, attempts, connection)

    @rule(node=nodes)
    def unregister_node(self, node: Any) -> None:
        self.do(self.machine.unregister_node, node)

    @rule(process=processes, data=st.data())
    def child_exited(self, process: Any, data: st.DataObject) -> None:
        known = self.machine.state.processes.get(process)
        held = [] if known is None else list(known.tasks)
        begun = {n: self.machine.state.tasks[n].attempt for n in held if data.draw(st.booleans())}
        self.do(self.machine.child_exited, self.world.now, process, begun, "signal 9")

    # --- tasks ----------------------------------------------------------------------------

    @rule(
        target=tasks,
        tag=TAGS,
        payload=PAYLOADS,
        options=OPTIONS,
        session=st.just(PUBLIC) | sessions,
        wait_s=st.none() | st.integers(-1, 10),
        inputs=st.lists(tasks, max_size=3),
        process=st.none() | processes,
        key=KEYS,
    )
    def submit(
        self,
        tag: str,
        payload: Any,
        options: Options,
        session: Any,
        wait_s: int | None,
        inputs: list[Any],
        process: Any,
        key: str | None,
    ) -> Any:
        due_at = None if wait_s is None else self.world.now + wait_s * SECOND
        number = self.do(
            self.machine.submit,
            self.world.now,
            tag,
            payload,
            options=options,
            session=session,
            due_at=due_at,
            inputs=inputs,
            process=process,
            key=key,
        )
        if number is None:
            return multiple()
        self.submitted.add(number)
        return number

    @rule(
        target=tasks,
        said=st.lists(st.tuples(TAGS, PAYLOADS, OPTIONS, KEYS), max_size=4),
        wait_s=st.none() | st.integers(-1, 10),
        inputs=st.lists(tasks, max_size=2),
        session=st.just(PUBLIC) | sessions,
    )
    def submit_many(self, said: list[Any], wait_s: int | None, inputs: list[Any], session: Any) -> Any:
        due_at = None if wait_s is None else self.world.now + wait_s * SECOND
        items = [
            NewTask(tag, payload, options, due_at, tuple(inputs), key) for tag, payload, options, key in said
        ]
        numbers = self.do(self.machine.submit_many, self.world.now, items, session=session)
        self.submitted.update(numbers or ())
        return multiple(*numbers or ())

    @rule(
        target=leases,
        tags=SOME_TAGS,
        process=st.none() | processes,
        connection=st.none() | connections,
        plain_only=st.booleans(),
        count=st.integers(1, 3),
    )
    def poll(self, tags: Any, process: Any, connection: Any, plain_only: bool, count: int) -> Any:
        reply = self.do(
            self.machine.lease,
            self.world.now,
            tags=tags,
            process=process,
            connection=connection,
            plain_only=plain_only,
            count=count,
        )
        return multiple(*reply) if isinstance(reply, tuple) else multiple()

    @rule(
        target=wants,
        tags=SOME_TAGS,
        process=st.none() | processes,
        connection=st.none() | connections,
        plain_only=st.booleans(),
        count=st.integers(1, 3),
        timeout_s=st.none() | st.integers(0, 10),
    )
    def ask(
        self, tags: Any, process: Any, connection: Any, plain_only: bool, count: int, timeout_s: Any
    ) -> Any:
        timeout_at = None if timeout_s is None else self.world.now + timeout_s * SECOND
        reply = self.do(
            self.machine.lease,
            self.world.now,
            tags=tags,
            process=process,
            connection=connection,
            plain_only=plain_only,
            count=count,
            caller=self.caller(True),
            timeout_at=timeout_at,
        )
        return reply.want if isinstance(reply, Parked) else multiple()

    @rule(tag=TAGS, took_ns=st.sampled_from([SECOND // 10**6, SECOND]))
    def measure(self, tag: str, took_ns: int) -> None:
        self.machine.paces.note(tag, 1, took_ns)

    @rule(want=wants)
    def withdraw(self, want: Any) -> None:
        self.do(self.machine.withdraw, self.world.now, want)

    @rule(lease=leases)
    def undo_lease(self, lease: Any) -> None:
        self.do(self.machine.undo_lease, self.world.now, lease.task, lease.attempt)

    @rule(process=processes, held=st.lists(leases, max_size=3))
    def hold_only(self, process: Any, held: list[Any]) -> None:
        named = {lease.task: lease.attempt for lease in held}
        self.do(self.machine.hold_only, self.world.now, process, named)

    @rule(lease=leases, value=PAYLOADS, attempt=st.booleans(), connection=st.none() | connections)
    def succeed(self, lease: Any, value: Any, attempt: bool, connection: Any) -> None:
        named = lease.attempt if attempt else None
        self.do(self.machine.succeed, self.world.now, lease.task, value, attempt=named, connection=connection)

    @rule(some=st.lists(leases, max_size=4), value=PAYLOADS)
    def succeed_many(self, some: list[Any], value: Any) -> None:
        answers = [(lease.task, lease.attempt, value) for lease in some]
        self.do(self.machine.succeed_many, self.world.now, answers)

    @rule(lease=leases, process=st.none() | processes, connection=st.none() | connections)
    def fail(self, lease: Any, process: Any, connection: Any) -> None:
        self.do(
            self.machine.fail,
            self.world.now,
            lease.task,
            ERROR,
            attempt=lease.attempt,
            process=process,
            connection=connection,
        )

    @rule(
        lease=leases, cause=st.sampled_from([Cause.RETURNED, Cause.NOT_BEGUN]), process=st.none() | processes
    )
    def give_back(self, lease: Any, cause: Cause, process: Any) -> None:
        self.do(self.machine.give_back, self.world.now, lease.task, cause=cause, process=process)

    @rule(lease=leases, process=processes)
    def reach_time_limit(self, lease: Any, process: Any) -> None:
        self.do(self.machine.reach_time_limit, self.world.now, lease.task, lease.attempt, process)

    @rule(task=tasks)
    def cancel(self, task: Any) -> None:
        self.do(self.machine.cancel, self.world.now, task)

    @rule(task=tasks)
    def retry(self, task: Any) -> None:
        if self.do(self.machine.retry, self.world.now, task):
            self.delivered.discard(task)

    @rule(task=tasks)
    def forget(self, task: Any) -> None:
        if self.do(self.machine.forget, self.world.now, task):
            self.forgotten.add(task)

    # --- answers --------------------------------------------------------------------------

    @rule(
        session=st.just(PUBLIC) | sessions,
        tag=st.none() | TAGS,
        plain_only=st.booleans(),
        final=st.booleans(),
    )
    def collect(self, session: Any, tag: str | None, plain_only: bool, final: bool) -> None:
        self.do(
            self.machine.collect,
            self.world.now,
            session=session,
            tag=tag,
            plain_only=plain_only,
            final=final,
        )

    @rule(
        target=wants,
        session=st.just(PUBLIC) | sessions,
        tag=st.none() | TAGS,
        plain_only=st.booleans(),
        connection=st.none() | connections,
    )
    def wait_for_answer(self, session: Any, tag: str | None, plain_only: bool, connection: Any) -> Any:
        reply = self.do(
            self.machine.collect,
            self.world.now,
            session=session,
            tag=tag,
            plain_only=plain_only,
            connection=connection,
            caller=self.caller(True),
            final=False,
        )
        return reply.want if isinstance(reply, Parked) else multiple()

    @rule(task=tasks)
    def acknowledge(self, task: Any) -> None:
        self.do(self.machine.acknowledge, task)

    @rule(task=tasks)
    def undo_delivery(self, task: Any) -> None:
        record = self.machine.state.tasks.get(task)
        if record is not None and record.delivery is Delivery.HANDED_OUT:
            self.delivered.discard(task)
        self.do(self.machine.undo_delivery, self.world.now, task)

    @rule(target=sessions)
    def open_session(self) -> int:
        return self.world.open_session()

    @rule(target=tasks, session=sessions, sequence=st.integers(1, 6), low_water=st.integers(0, 3), key=KEYS)
    def submit_once(self, session: Any, sequence: int, low_water: int, key: str | None) -> Any:
        items = [NewTask("a", VALUE, key=key), NewTask("b", VALUE)]
        reply = self.do(
            self.machine.sessions.once,
            self.world.now,
            session,
            sequence,
            low_water,
            lambda: self.machine.submit_many(self.world.now, items, session=session),
        )
        if reply is None:
            return multiple()
        assert self.calls.setdefault((session, sequence), reply) == reply, "done twice"
        self.submitted |= set(reply)
        return multiple(*reply)

    @rule(
        target=wants,
        session=sessions,
        count=st.integers(1, 3),
        taken_over=st.integers(0, 4),
        received=st.none() | st.integers(0, 4),
        tags=SOME_TAGS,
        connection=st.none() | connections,
        waits=st.booleans(),
    )
    def collect_many(
        self,
        session: Any,
        count: int,
        taken_over: int,
        received: int | None,
        tags: Any,
        connection: Any,
        waits: bool,
    ) -> Any:
        reply = self.do(
            self.machine.sessions.collect,
            self.world.now,
            session,
            count=count,
            taken_over=taken_over,
            received=received,
            tags=tags,
            connection=connection,
            caller=self.caller(waits),
        )
        for one in reply if isinstance(reply, list) else ():
            assert one.delivery > (taken_over if received is None else received)
            assert self.arrived.setdefault((session, one.delivery), one.answer.task) == one.answer.task
        return reply.want if isinstance(reply, Parked) else multiple()

    @rule()
    def restart(self) -> None:
        """Everything volatile is lost."""
        if self.machine.state.terminated:
            return
        tasks = self.machine.state.tasks.values()
        lost = {t.number for t in tasks if t.delivery is Delivery.HANDED_OUT and t.session == PUBLIC}
        self.world.machine = self.machine = Machine(self.machine.limits, state=self.world.replayed())
        self.delivered -= lost
        self.world.do(self.machine.start(self.world.now, "test"))

    @rule(session=consumes(sessions))
    def end_session(self, session: Any) -> None:
        mine = {n for n, t in self.machine.state.tasks.items() if t.session == session}
        self.do(self.machine.sessions.end, self.world.now, session)
        self.forgotten |= mine

    @rule(label=TAGS, value=PAYLOADS)
    def store_data(self, label: str, value: Any) -> None:
        self.do(self.machine.store_data, {label: value})

    @rule(label=TAGS)
    def delete_data(self, label: str) -> None:
        self.do(self.machine.delete_data, label)

    # --- time -----------------------------------------------------------------------------

    @rule(seconds=st.floats(0, 60))
    def pass_time(self, seconds: float) -> None:
        self.world.now += int(seconds * SECOND)
        self.do(self.machine.tick, self.world.now)

    @rule(seconds=st.floats(0, 60))
    def stall(self, seconds: float) -> None:
        by = int(seconds * SECOND)
        self.world.now += by
        self.machine.postpone_liveness(by)
        self.do(self.machine.tick, self.world.now)

    @rule(dice=st.integers(0, 9))
    def terminate(self, dice: int) -> None:
        if dice == 0:
            self.do(self.machine.terminate, self.world.now)

    # --- what always holds ------------------------------------------------------------------

    @invariant()
    def every_index_is_true(self) -> None:
        check(self.machine)

    @invariant()
    def nothing_is_lost(self) -> None:
        here = set(self.machine.state.tasks)
        assert here <= self.submitted
        assert self.submitted - here <= self.delivered | self.forgotten

    def teardown(self) -> None:
        self.world.replayed()
        finished = [t for t in self.machine.state.tasks.values() if t.state in FINISHED]
        assert all(isinstance(t.detail, (Success, Ended)) for t in finished)


# A story with no rule to draw is thrown away, and by chance that may be most of the first ones.
MAY_FILTER = [HealthCheck.too_slow, HealthCheck.filter_too_much]

AnyStory.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, suppress_health_check=MAY_FILTER
)
TestAnyStory = AnyStory.TestCase


class AnyLongStory(AnyStory):
    """The same, searched for longer: half a minute, or ten times as much beside other work."""


AnyLongStory.TestCase.settings = settings(
    max_examples=200, stateful_step_count=80, suppress_health_check=MAY_FILTER
)
TestAnyLongStory = pytest.mark.slow(pytest.mark.timeout(600)(AnyLongStory.TestCase))
