"""Simulated masters: our own clients, with a session, and plain ones, of the public session."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pyrotask.errors import (
    Refused,
    TaskRaisedException,
    UnknownSession,
    UnknownTask,
)
from tests.simulation.client import Client
from tests.simulation.loop import Story
from tests.simulation.witness import LawBrokenError
from tests.simulation.work import Work, some_options, some_work, unpacked

if TYPE_CHECKING:
    from tests.simulation.network import Link
    from tests.simulation.world import World

KEYS = ("k", "l")


class SessionMaster(Client):
    """A client of our own: numbered calls, and answers that it takes over explicitly.

    What a real one would keep in a file survives its death: its calls, what they were answered,
    and the answers that it saved. What it had received and not saved does not.
    """

    def __init__(self, world: World, name: str, tasks: int, tags: tuple[str, ...]) -> None:
        super().__init__(world, name)
        self._tags = tags
        self._left = [some_work(world.loop, f"{name}-{k}") for k in range(tasks)]
        self._keys_left = [key for key in KEYS if world.loop.chance(0.3)]
        self._session: int | None = None
        self._calls: dict[int, tuple[Any, ...]] = {}
        """By sequence number, the calls whose replies are not here."""
        self._next_sequence = 1
        self._works: dict[int, Work] = {}
        """The tasks that are ours, by what the broker said."""
        self._expected: Counter[int] = Counter()
        self._answers: Counter[int] = Counter()
        self._failed: list[int] = []
        self._taken_over = 0
        self._told = 0
        """The broker knows that we have the deliveries up to this one."""
        self._received: list[list[Any]] = []
        self._link: Link | None = None
        self._stored = self._others = 0
        self.stored = 0
        """The newest value under our label that the broker has acknowledged."""
        self.is_done = False

    def start(self) -> None:
        """A new process."""
        if not self.is_alive and not self.is_done:
            self._received.clear()
            self.live(self._story_of_it())

    def die(self) -> None:
        """Be killed."""
        if self.is_alive:
            self.world.witness.tell("dies:", self.name)
            self.kill()
            if self._link is not None:
                self._link.close()
                self._link = None
            self.loop.after(self.loop.between(0.1, 1.0), self.start)

    @property
    def missing(self) -> dict[int, str]:
        """What it waits for."""
        numbers = [n for n, times in self._expected.items() if self._answers[n] < times]
        return {number: self._works[number].name for number in numbers}

    @property
    def has_all(self) -> bool:
        """Whether nothing is left to do."""
        return not (self._left or self._keys_left or self._calls or self.missing or self._received) and (
            self._told == self._taken_over
        )

    def _story_of_it(self) -> Story:
        while not self.has_all or self._session is None:
            try:
                if self._link is None:
                    yield from self._connect()
                yield from self._act()
            except ConnectionError:
                self._link = None
                yield self.loop.between(0.01, 0.3)
            except UnknownSession:
                if self.world.witness.is_strict:
                    raise
                self._begin_anew()
        yield from self._close()

    def _connect(self) -> Story:
        link = yield self.world.network.connect()
        session = yield link.call("open_session", self.name)
        self.world.witness.saw("session", session, self.name)
        if self._session is not None and session != self._session:
            if self.world.witness.is_strict:
                raise LawBrokenError(f"session {self._session} of {self.name} is gone: it is {session} now")
            self._begin_anew()
        self._session, self._link = session, link

    def _open_another(self) -> Story:
        """A session for something else, which is over soon."""
        self._others += 1
        name = f"{self.name}, other {self._others}"
        assert self._link is not None
        other = yield self._link.call("open_session", name)
        self.world.witness.saw("session", other, name)
        yield self._link.call("close_session", other)

    def _act(self) -> Story:
        random = self.loop.random
        roll = random.random()
        if self._calls and roll < 0.7:
            yield from self._repeat(random.choice(sorted(self._calls)))
        elif (self._left or self._keys_left) and roll < 0.5:
            self._prepare_submit()
        elif roll < 0.55 and self._failed:
            self._prepare("retry", {"tasks": [self._failed.pop()]})
        elif roll < 0.57 and self._works and not self.world.is_calm:
            self._prepare("cancel", {"tasks": [random.choice(sorted(self._works))]})
        elif roll < 0.6 and not self.world.is_calm:
            yield from self._store()
        elif roll < 0.7 and not self.world.is_calm:
            yield from self._open_another()
        elif roll < 0.7 and self.world.is_calm and not self.world.witness.is_strict:
            yield from self._give_up_what_the_power_took()
        elif roll < 0.75:
            yield self.loop.between(0.0, 0.3)
        else:
            yield from self._collect()

    # --- numbered calls -------------------------------------------------------------------

    def _prepare(self, *call: Any) -> None:
        self._calls[self._next_sequence] = call
        self._next_sequence += 1

    def _prepare_submit(self) -> None:
        random = self.loop.random
        items = []
        works = [self._left.pop() for _ in range(min(len(self._left), random.randint(1, 4)))]
        for work in works:
            options = some_options(self.loop, work)
            if self._works and random.random() < 0.1:
                options["inputs"] = [random.choice(sorted(self._works))]
            items.append([random.choice(self._tags), work.to_wire, options])
        if self._keys_left and random.random() < 0.5:
            key = self._keys_left.pop()
            works.append(Work(key, "value", 0.02))
            items.append(["keyed", works[-1].to_wire, {"key": key}])
        if items:
            self._prepare("submit", items, works)

    def _repeat(self, sequence: int) -> Story:
        """Send a call, for the first time or again."""
        call, low_water = self._calls[sequence], min(self._calls) - 1
        assert self._link is not None
        try:
            if call[0] == "submit":
                numbers = yield self._link.call("submit", self._session, sequence, low_water, call[1])
                self._note_submitted(call, numbers)
            else:
                name, which = call
                numbered = [self._session, sequence, low_water]
                reply = yield self._link.call(name, which, call=numbered)
                self._expected.update(reply["tasks"] if name == "retry" else ())
        except UnknownTask:
            items = [[tag, payload, {**said, "inputs": []}] for tag, payload, said in call[1]]
            self._prepare("submit", items, call[2])
        del self._calls[sequence]

    def _note_submitted(self, call: tuple[Any, ...], numbers: list[int]) -> None:
        for number, (tag, _, _), work in zip(numbers, call[1], call[2], strict=True):
            self.world.witness.saw("task", number, (work.name, tag))
            self._works[number] = work
            self._expected[number] += 1

    # --- answers --------------------------------------------------------------------------

    def _collect(self) -> Story:
        random, witness = self.loop.random, self.world.witness
        received = self._received[-1][0] if self._received else self._taken_over
        taken_over = self._taken_over
        count, patience_s = random.randint(1, 4), random.choice((0, 0.2, 1.0))
        if self._told < taken_over and not self._received and random.random() < 0.2:
            count = 0
        assert self._link is not None
        reply = yield self._link.call("collect", self._session, taken_over, count, patience_s, received, None)
        self._told = taken_over
        for delivery, task, tag, outcome in reply["deliveries"]:
            if delivery <= received:
                raise LawBrokenError(f"delivery {delivery} came again to {self.name}, who had it")
            witness.saw("delivery", (self._session, delivery), task)
            self._received.append([delivery, task, tag, outcome])
        if random.random() < 0.6:
            self._save()
        if not reply["deliveries"] and patience_s == 0:
            yield 0.1

    def _save(self) -> None:
        for delivery, task, tag, outcome in self._received:
            work = self._works.get(task)
            if work is None and self._may_be_told_of(task, tag, outcome):
                break
            self._taken_over = delivery
            if work is None:
                continue
            self._check(task, tag, work, outcome)
            self._answers[task] += 1
            most = self._expected[task] + (("retry", {"tasks": [task]}) in self._calls.values())
            if self._answers[task] > most and self.world.witness.is_strict:
                raise LawBrokenError(f"task {task}, {work.name}, is answered once more to {self.name}")
            if outcome[0] != "value" and work.name not in KEYS:
                self._failed.append(task)
        self._received = [one for one in self._received if one[0] > self._taken_over]

    def _may_be_told_of(self, task: int, tag: str, outcome: list[Any]) -> bool:
        """An unknown task may be of a submit whose reply is not here yet: it is left until it is."""
        is_likely = any(call[0] == "submit" for call in self._calls.values())
        if not is_likely and self.world.witness.is_strict:
            raise LawBrokenError(f"{self.name} got an answer of task {task}, {tag}, {outcome}: not its own")
        return is_likely

    def _check(self, task: int, tag: str, work: Work, outcome: list[Any]) -> None:
        self.world.witness.saw("task", task, (work.name, tag))
        if outcome[0] in ("value", "error") and unpacked(outcome[1]) != work.name:
            raise LawBrokenError(f"task {task} was {work.name}, and its answer is {unpacked(outcome[1])}")
        if outcome[0] == "value" and work.deed == "poison":
            raise LawBrokenError(f"task {task} kills whoever runs it, and has a value")
        if outcome[0] == "error" and work.deed not in ("raise", "flaky"):
            raise LawBrokenError(f"task {task}, {work.name}, never raises, and its answer is an error")
        if outcome[:2] == ["ended", "crashed"]:
            self.world.check_crashed(task, work)

    # --- the rest -------------------------------------------------------------------------

    def _store(self) -> Story:
        self._stored += 1
        value = self._stored
        assert self._link is not None
        yield self._link.call("store_data", {self.name: Work(str(value), "value", 0.0).to_wire})
        self.stored = value

    def _give_up_what_the_power_took(self) -> Story:
        """A weak policy may lose what it acknowledged: ask what is there."""
        assert self._link is not None
        for number in self.missing:
            try:
                info = yield self._link.call("task", number)
            except UnknownTask:
                self._expected[number] = self._answers[number]
            else:
                is_ours = info["session"] == self._session or info["key"] is not None
                if not is_ours or info["delivery"] == "acknowledged":
                    self._expected[number] = self._answers[number]
        keyed = [number for number in self.missing if self._works[number].name in KEYS]
        for number in keyed:  # its claim may be gone, and the task not
            self._expected[number] = self._answers[number]

    def _begin_anew(self) -> None:
        """The session is gone, with all that was in it."""
        self._session = self._link = None
        self._taken_over = self._told = 0
        self._received.clear()
        for number in self.missing:
            self._expected[number] = self._answers[number]

    def _close(self) -> Story:
        while not self.is_done:
            try:
                if self._link is None:
                    self._link = yield self.world.network.connect()
                assert self._link is not None
                yield self._link.call("close_session", self._session)
                self.is_done = True
            except ConnectionError:
                self._link = None
                yield self.loop.between(0.01, 0.3)
            except UnknownSession:
                self.is_done = True


class PlainMaster(Client):
    """A greedy master that speaks the reference API over a plain proxy: it takes whatever comes."""

    def __init__(self, world: World, name: str, tasks: int, tags: tuple[str, ...]) -> None:
        super().__init__(world, name)
        self._tags = tags
        self._left = [some_work(world.loop, f"{name}-{k}") for k in range(tasks)]
        self._is_submitting = False
        self.sent: set[str] = set()
        self.submitted: dict[int, str] = {}
        """The tasks that it knows to be taken on."""

    def start(self) -> None:
        """Begin."""
        self.live(self.stay_connected(self._act))

    @property
    def has_submitted(self) -> bool:
        """Whether all it has to do is to collect."""
        return not self._left and not self._is_submitting

    def _act(self, link: Link) -> Story:
        if self._left and self.loop.chance(0.5):
            yield from self._submit(link)
        else:
            yield from self._collect(link)

    def _submit(self, link: Link) -> Story:
        work = self._left.pop()  # once only: it cannot tell what became of it
        self.sent.add(work.name)
        tag = self.loop.random.choice(self._tags)
        self._is_submitting = True
        try:
            task_id = yield link.plain("addTaskRequest", tag, tuple(work))
        finally:
            self._is_submitting = False
        number = int(task_id.rpartition("_")[2])
        self.world.witness.saw("task", number, (work.name, tag))
        self.submitted[number] = work.name

    def _collect(self, link: Link) -> Story:
        try:
            task_id, tag, name = yield link.plain("getAnyResult", 1.0)
        except TimeoutError:
            return
        except TaskRaisedException as error:
            task_id, tag, name = error.task_id, error.tag, None
        except Refused as error:
            raise LawBrokenError(f"{self.name} was refused an answer: {error}") from error
        number = int(task_id.rpartition("_")[2])
        self.world.plain_answer(self, number, tag, name)
