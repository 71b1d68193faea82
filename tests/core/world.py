"""A machine with a clock to turn by hand, checked after every command."""

from __future__ import annotations

from typing import Any

from pyrotask.core.events import Event
from pyrotask.core.invariants import check
from pyrotask.core.machine import Machine, Parked, Step
from pyrotask.core.model import (
    PICKLE,
    PLAIN,
    SECOND,
    Answer,
    ConnectionId,
    Ended,
    Failure,
    Lease,
    Limits,
    Nanoseconds,
    NodeId,
    Payload,
    ProcessId,
    SessionId,
    State,
    TaskNumber,
    WantId,
)
from pyrotask.core.state import DurableState

VALUE = Payload(PLAIN, (b"value",))
OBJECT = Payload(PICKLE, (b"object",))
ERROR = Failure(Payload(PLAIN, (b"error",)), "Traceback ...", ("ValueError", "Exception"), "bad luck")


class World:
    """The commands as a story tells them: each collects events and answers, and checks."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.machine = Machine(limits)
        self.now: Nanoseconds = 1_000 * SECOND
        self.events: list[Event] = []
        self.answers: dict[object, Any] = {}
        """What those who were parked were told."""
        self.do(self.machine.start(self.now, "test"))

    def do(self, step: Step) -> Any:
        self.events += step.events
        for caller, answer in step.wakes:
            assert caller not in self.answers, f"{caller} was answered twice"
            self.answers[caller] = answer
        check(self.machine)
        assert not self.machine.in_step
        return step.reply

    # --- time and connections -----------------------------------------------------------

    def pass_time(self, seconds: float = 0.0, *, ns: int = 0) -> None:
        """Go on by that much, and do what has come due."""
        self.now += round(seconds * SECOND) + ns
        self.do(self.machine.tick(self.now))

    def connect(self) -> ConnectionId:
        return self.machine.connect()

    def disconnect(self, connection: ConnectionId) -> None:
        self.do(self.machine.disconnect(self.now, connection))

    def register(self, period_s: float | None = None, **options: Any) -> ProcessId:
        period_ns = None if period_s is None else round(period_s * SECOND)
        return ProcessId(self.do(self.machine.register(self.now, period_ns=period_ns, **options)))

    def register_node(self, period_s: float = 1.0, connection: ConnectionId | None = None) -> NodeId:
        period_ns = round(period_s * SECOND)
        step = self.machine.register_node(self.now, period_ns=period_ns, info="", connection=connection)
        return NodeId(self.do(step))

    def beat(
        self, node: NodeId, *alive: ProcessId, connection: ConnectionId | None = None
    ) -> list[ProcessId]:
        unknown = self.machine.beat(self.now, node, alive, connection)
        check(self.machine)
        return unknown

    # --- tasks ----------------------------------------------------------------------------

    def submit(self, tag: str = "a", payload: Payload = VALUE, **options: Any) -> TaskNumber:
        return TaskNumber(self.do(self.machine.submit(self.now, tag, payload, **options)))

    def lease(self, *tags: str, **options: Any) -> tuple[Lease, ...]:
        reply = self.do(self.machine.lease(self.now, tags=frozenset(tags) or None, **options))
        assert isinstance(reply, tuple), reply
        return reply

    def take(self, *tags: str, **options: Any) -> TaskNumber:
        """Lease exactly one task."""
        (lease,) = self.lease(*tags, **options)
        return lease.task

    def park(self, caller: str, *tags: str, **options: Any) -> WantId:
        """Ask for a task when there is none."""
        step = self.machine.lease(self.now, tags=frozenset(tags) or None, caller=caller, **options)
        reply = self.do(step)
        assert isinstance(reply, Parked), reply
        return reply.want

    def succeed(self, task: TaskNumber, value: Payload = VALUE, **options: Any) -> bool:
        return bool(self.do(self.machine.succeed(self.now, task, value, **options)))

    def fail(self, task: TaskNumber, failure: Failure = ERROR, **options: Any) -> bool:
        return bool(self.do(self.machine.fail(self.now, task, failure, **options)))

    def give_back(self, task: TaskNumber, **options: Any) -> bool:
        return bool(self.do(self.machine.give_back(self.now, task, **options)))

    def cancel(self, task: TaskNumber) -> bool:
        return bool(self.do(self.machine.cancel(self.now, task)))

    def run(self, tag: str = "a", **options: Any) -> TaskNumber:
        """Submit a task, and have it succeed."""
        task = self.submit(tag, **options)
        while self.state(task) is not State.SUCCEEDED:
            self.succeed(self.take())
        return task

    # --- answers --------------------------------------------------------------------------

    def collect(self, **options: Any) -> Answer | None:
        reply = self.do(self.machine.collect(self.now, **options))
        if isinstance(reply, Exception):
            raise reply
        assert reply is None or isinstance(reply, Answer), reply
        return reply

    def collected(self, **options: Any) -> TaskNumber | None:
        answer = self.collect(**options)
        return None if answer is None else answer.task

    def park_for_answer(self, caller: str, **options: Any) -> WantId:
        reply = self.do(self.machine.collect(self.now, caller=caller, **options))
        assert isinstance(reply, Parked), reply
        return reply.want

    def open_session(self) -> SessionId:
        state = self.machine.state
        name = f"s{state.next_session}" if "s" in state.names else "s"
        return SessionId(self.do(self.machine.sessions.open(self.now, name)))

    # --- looking --------------------------------------------------------------------------

    def state(self, task: TaskNumber) -> State | None:
        """Where the task is; None: gone."""
        record = self.machine.state.tasks.get(task)
        return None if record is None else record.state

    def ended(self, task: TaskNumber) -> Ended:
        outcome = self.machine.state.tasks[task].detail
        assert isinstance(outcome, Ended)
        return outcome

    def waiting(self) -> list[TaskNumber]:
        """Those in line, as they will be handed out."""
        places = [place for lane in self.machine.state.waiting for place in lane]
        tasks = [self.machine.state.tasks[place.number] for place in places]
        return [t.number for t in sorted(tasks, key=lambda t: (-t.options.priority, t.order))]

    def is_registered(self, process: ProcessId) -> bool:
        return process in self.machine.state.processes

    def replayed(self) -> DurableState:
        """The state that the events make, which must be this one."""
        state = DurableState()
        for event in self.events:
            state.apply(event)
        assert state.image() == self.machine.state.image()
        return state
