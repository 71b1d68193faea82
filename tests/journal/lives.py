"""Events as they come from a real machine: one seeded life after another."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyrotask.core.blocks import Block
from pyrotask.core.events import Event
from pyrotask.core.machine import Step
from pyrotask.core.model import (
    PICKLE,
    PLAIN,
    SECOND,
    Kind,
    NewTask,
    Options,
    Payload,
    RetryPolicy,
    State,
    TaskNumber,
)
from pyrotask.core.state import DurableState
from pyrotask.journal import FileJournal, Policy, open_journal
from tests.core.world import World

TAGS = ("sqrt", "pi", "a tag with ünïcödé")

Commands = list[list[Event]]
"""The events of each command."""


def life(seed: int, steps: int = 60) -> Commands:
    """What some busy minutes leave behind."""
    return _Life(seed).live(steps)


def state_after(commands: Sequence[Sequence[Event]], events: int | None = None) -> DurableState:
    """The state that the first so many events make."""
    state = DurableState()
    flat = [event for command in commands for event in command]
    for event in flat[:events]:
        state.apply(event)
    return state


def write(path: Path, commands: Sequence[Sequence[Event]], policy: Policy = Policy.ALWAYS) -> None:
    """Make a journal of them, one commit a command."""
    journal = open_journal(path, policy).journal
    append_one_by_one(journal, commands)
    journal.close()


def append_one_by_one(journal: FileJournal, commands: Sequence[Sequence[Event]]) -> None:
    """Append each command's events when those before are durable."""
    for command in commands:
        journal.wait(journal.append(copied(command)))


def copied(command: Sequence[Event]) -> list[Event]:
    """The same events with blocks of their own: a block has its place in one journal only."""
    return [_copied(event) for event in command]


def _copied(value: Any) -> Any:
    if isinstance(value, Block):
        return Block(value.read())
    if isinstance(value, tuple):
        items = map(_copied, value)
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


class _Life:
    """Draws commands that are possible, and collects their events."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World()
        self.commands: Commands = [list(self.world.events)]
        self.connection = self.world.connect()
        self.session = self.world.open_session()
        self.others = self.world.open_session()
        node = self.world.register_node(connection=self.connection)
        self.process = self.world.register(
            60, kind=Kind.WORKER, node=node, tags=frozenset(TAGS), connection=self.connection
        )
        self._note()

    def live(self, steps: int) -> Commands:
        moves = (
            self.submit, self.submit, self.submit_after, self.lease, self.lease, self.succeed, self.succeed,
            self.fail, self.give_back, self.cancel, self.collect, self.collect, self.keep, self.store,
            self.late, self.undo, self.submit_keyed, self.forget, self.call, self.collect_many,
        )  # fmt: skip
        for _ in range(steps):
            self.world.pass_time(self.random.random())
            self.random.choice(moves)()
            self._note()
        return [command for command in self.commands if command]

    def _note(self) -> None:
        seen = sum(map(len, self.commands))
        self.commands.append(self.world.events[seen:])

    def _one_that_is(self, *states: State) -> TaskNumber | None:
        numbers = [n for n, task in self.world.machine.state.tasks.items() if task.state in states]
        return self.random.choice(numbers) if numbers else None

    def _value(self) -> Payload:
        """Of two buffers; some are blocks, which are short here, so that they can be damaged byte by byte."""
        chosen = self.random.choice((PLAIN, PICKLE))
        buffers = [self.random.randbytes(self.random.randrange(9)) for _ in range(2)]
        return Payload(chosen, (buffers[0], self.random.choice((bytes, Block))(buffers[1])))

    def submit(self) -> None:
        policy = RetryPolicy(retries=self.random.randrange(3), delay_ns=SECOND, only=("ValueError",))
        options = Options(priority=self.random.randrange(3), retry=policy, max_crashes=2)
        self.world.submit(
            self.random.choice(TAGS),
            self._value(),
            options=self.random.choice((options, Options())),
            session=self.random.choice((self.session, 0)),
            due_at=self.random.choice((None, self.world.now + 2 * SECOND)),
        )

    def submit_after(self) -> None:
        source = self._one_that_is(State.WAITING, State.RUNNING, State.SUCCEEDED)
        if source is not None:
            self.world.submit("pi", self._value(), inputs=[source])

    def submit_keyed(self) -> None:
        key = self.random.choice("kl")
        session = self.random.choice((self.session, self.others, 0))
        self.world.submit("pi", Payload(PLAIN, (b"keyed",)), key=key, session=session)

    def forget(self) -> None:
        if (task := self._one_that_is(State.SUCCEEDED, State.CANCELLED)) is not None:
            self.world.do(self.world.machine.forget(self.world.now, task))

    def call(self) -> None:
        """One of the calls of the session, new or repeated."""
        world, session = self.world, self.session
        low_water = world.machine.state.sessions[session].low_water

        def submit() -> Step:
            return world.machine.submit_many(world.now, [NewTask("pi", self._value())], session=session)

        sequence = low_water + self.random.randrange(1, 4)
        confirmed = self.random.choice((low_water, sequence - 1))
        world.do(world.machine.sessions.once(world.now, session, sequence, confirmed, submit))

    def collect_many(self) -> None:
        session = self.random.choice((self.session, self.others))
        handed_out = self.world.machine.state.sessions[session].next_delivery - 1
        taken_over = self.random.randrange(handed_out + 1)
        sessions = self.world.machine.sessions
        self.world.do(sessions.collect(self.world.now, session, count=2, taken_over=taken_over))

    def lease(self) -> None:
        self.world.lease(process=self.random.choice((self.process, None)), connection=self.connection)

    def succeed(self) -> None:
        if (task := self._one_that_is(State.RUNNING)) is not None:
            self.world.succeed(task, self._value())

    def fail(self) -> None:
        if (task := self._one_that_is(State.RUNNING)) is not None:
            self.world.fail(task)

    def give_back(self) -> None:
        if (task := self._one_that_is(State.RUNNING)) is not None:
            self.world.give_back(task)

    def cancel(self) -> None:
        if (task := self._one_that_is(State.SCHEDULED, State.WAITING)) is not None:
            self.world.cancel(task)

    def collect(self) -> None:
        self.world.collect(session=self.random.choice((self.session, 0)))

    def keep(self) -> None:
        self.world.collect(final=False)

    def undo(self) -> None:
        if (task := self._one_that_is(State.SUCCEEDED)) is not None:
            self.world.do(self.world.machine.undo_delivery(self.world.now, task))

    def late(self) -> None:
        if (task := self._one_that_is(State.SUCCEEDED)) is not None:
            self.world.succeed(task)

    def store(self) -> None:
        self.world.do(self.world.machine.store_data({"x": self._value(), "y": self._value()}))
