"""Who calls the broker in the fault run, and notes what it was promised and what it was given.

    SessionCaller   the protocol of our own clients: numbered calls, repeated until they are answered
    FutureCaller    our own client, `Session`, with its futures
    MasterCaller    a master of the master/slave module, at the broker
    PlainCaller     a plain Pyro proxy of the reference API: each call is sent once, so of a call
                    that breaks nobody knows whether it was done

Each runs in a thread until it is told that it is over; then it collects what is left, and ends.
`problems` says afterwards what was against the contract.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, wait
from typing import Any, TypeVar

from Pyro5.api import Proxy
from Pyro5.errors import CommunicationError

from pyrotask import payload
from pyrotask.client.future import TaskFuture
from pyrotask.client.session import Session
from pyrotask.core.model import Payload
from pyrotask.errors import ConnectError, Refused, SessionExpired
from pyrotask.masterslave import RemoteMasterProcess
from pyrotask.remote.bulk_proxy import BulkProxy

T = TypeVar("T")

PATIENCE_S = 60.0
"""How long a caller tries one call, and how long it waits for its last answers."""

MOST_OUTSTANDING = 300
MOST_AT_ONCE = 40

SECONDS = (0.0, 0.0, 0.0, 0.01, 0.05)
"""How long tasks take."""

PADDINGS = (0,) * 30 + (1_000, 20_000, 200_000)
"""Bytes that go there and back for nothing."""


class Watch:
    """Measures how long after each return of the broker a call of each kind was first answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._back_at = time.monotonic()
        self._missing: set[str] = set()
        self._kinds: set[str] = set()
        self.seconds: dict[str, list[float]] = {}

    def broker_is_back(self) -> None:
        with self._lock:
            self._back_at = time.monotonic()
            self._missing = set(self._kinds)

    def happened(self, kind: str) -> None:
        """A call of that kind was answered."""
        with self._lock:
            self._kinds.add(kind)
            if kind in self._missing:
                self._missing.discard(kind)
                self.seconds.setdefault(kind, []).append(time.monotonic() - self._back_at)


class Caller(ABC):
    """A thread that calls. Its name is the tag of its tasks."""

    def __init__(self, name: str, dice: random.Random, watch: Watch) -> None:
        self.name = name
        self.dice = dice
        self.watch = watch
        self.over = threading.Event()
        """When it is set, nothing new is begun."""
        self.ended_at = 0.0
        self.calls = 0
        """That were acknowledged."""
        self.broken = 0
        """Calls whose reply did not come."""
        self.problems: list[str] = []
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        """Wait for its end: it has bounds of its own."""
        self._thread.join()

    @property
    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    @abstractmethod
    def live(self) -> None:
        """Call, until it is over and all is collected."""

    @property
    @abstractmethod
    def answer_count(self) -> int:
        """Answers that it has got."""

    def parameters(self, index: int) -> tuple[Any, ...]:
        """Those of a task `do_work`."""
        return self.name, index, self.dice.choice(SECONDS), "x" * self.dice.choice(PADDINGS)

    def _run(self) -> None:
        try:
            self.live()
        except Exception as error:  # noqa: BLE001 - the test reads it
            self.problems.append(f"it failed: {type(error).__name__}: {error}")
        finally:
            self.ended_at = time.monotonic()


class SessionCaller(Caller):
    """One of our own clients. Each of its calls is repeated until it is answered.

    Now and then it dies, in a manner of speaking: another one of the same session, which knows
    only what had been written down, goes on in its place.
    """

    def __init__(self, name: str, dice: random.Random, watch: Watch, where: str) -> None:
        super().__init__(name, dice, watch)
        self._way = BulkProxy(where, connect=False)
        self._session = -1
        self._sequence = 0
        self._index_of: dict[int, int] = {}
        """By number: each task that was taken on."""
        self._submitted = 0
        self.answered: dict[int, Any] = {}
        """By number: what is answered, and with the client for good."""
        self._arrived: dict[int, tuple[int, Any]] = {}
        """By delivery: what has arrived, and is not written down."""
        self._lost: dict[int, Any] = {}
        """By number: what had arrived when the client died. It comes again, the same."""
        self._taken_over = 0
        self._received = 0
        self._stored: dict[str, int] = {}

    @property
    def answer_count(self) -> int:
        return len(self.answered)

    @property
    def outstanding(self) -> int:
        return len(self._index_of) - len(self.answered) - len(self._arrived)

    def live(self) -> None:
        try:
            self._session = self._answered("open_session", self.name)
            while not self.over.is_set():
                self.dice.choice((self._submit, self._collect, self._collect, self._now_and_then))()
            self._finish()
        finally:
            self._way.close()

    def _finish(self) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while self.outstanding:
            if time.monotonic() > give_up_at:
                self.problems.append(f"{self.outstanding} acknowledged tasks were never answered")
                return
            self._collect()
        self._write_down()
        for label, value in self._stored.items():
            kind, buffers = self._answered("retrieve_data", label)
            if payload.decode(Payload(kind, tuple(buffers))) != value:
                self.problems.append(f"the value under {label!r} was acknowledged, and is another one now")
            self._answered("delete_data", label)
        with contextlib.suppress(SessionExpired):  # of a repeat: it is closed
            self._answered("close_session", self._session)

    def _submit(self) -> None:
        if self.outstanding > MOST_OUTSTANDING:
            return
        new = range(self._submitted, self._submitted + self.dice.randint(1, MOST_AT_ONCE))
        items = [[self.name, _to_wire(self.parameters(index))] for index in new]
        self._sequence += 1
        numbers = self._answered("submit", self._session, self._sequence, self._sequence - 1, items)
        self._submitted += len(items)
        if len(numbers) != len(items) or set(numbers) & set(self._index_of):
            self.problems.append(f"{len(items)} tasks were submitted, and given numbers {numbers}")
        self._index_of.update(zip(numbers, new, strict=False))

    def _collect(self) -> None:
        count, patience_s = self.dice.choice((1, 10, 100)), self.dice.choice((0.0, 0.1, 0.5))
        try:
            reply = self._answered(
                "collect", self._session, self._taken_over, count, patience_s, self._received
            )
        except Refused:
            return  # an earlier collect of ours took a long way, and came in later than this one
        for delivery, task, tag, outcome in reply["deliveries"]:
            self._take(delivery, task, tag, outcome)
        if self.dice.random() < 0.5:
            self._write_down()

    def _take(self, delivery: int, task: int, tag: str, outcome: list[Any]) -> None:
        value = _value(outcome)
        if delivery <= self._received:
            self.problems.append(f"delivery {delivery} came again, though it had arrived")
        self._received = max(self._received, delivery)
        if task not in self._index_of or tag != self.name:
            self.problems.append(f"an answer came for task {task}, {tag!r}, which was never submitted")
        elif task in self.answered or any(task == other for other, _ in self._arrived.values()):
            self.problems.append(f"task {task} was answered again")
        elif value[:2] != [self.name, self._index_of[task]]:
            self.problems.append(f"task {task} has the answer of another one: {value}")
        elif self._lost.pop(task, value) != value:
            self.problems.append(f"task {task} has another answer than before: {value}")
        self._arrived[delivery] = task, value
        self.watch.happened("an answer for a session")

    def _write_down(self) -> None:
        self._taken_over = self._received
        self.answered.update(self._arrived.values())
        self._arrived.clear()

    def _now_and_then(self) -> None:
        if self.dice.random() < 0.05:
            self._die()
        elif self.dice.random() < 0.1:
            label, value = f"{self.name} {len(self._stored)}", self.dice.randrange(1000)
            self._answered("store_data", {label: _to_wire(value)})
            self._stored[label] = value

    def _die(self) -> None:
        self._way.close()
        self._lost.update(self._arrived.values())
        self._arrived.clear()
        self._received = self._taken_over

    def _answered(self, method: str, *arguments: object) -> Any:
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                reply = self._way.call(method, *arguments)
            except ConnectError:
                self.broken += 1
                self._way.reconnect(give_up_at - time.monotonic())
            else:
                self.calls += 1
                self.watch.happened(f"a call of {self.name}")
                return reply


class FutureCaller(Caller):
    """`Session`: tasks in, futures out."""

    def __init__(self, name: str, dice: random.Random, watch: Watch, where: str) -> None:
        super().__init__(name, dice, watch)
        self._where = where
        self._futures: list[tuple[int, TaskFuture]] = []
        self._submitted = 0
        self._answers = 0

    @property
    def answer_count(self) -> int:
        return self._answers

    def live(self) -> None:
        session = _patiently(lambda: Session(self._where, name=self.name))
        try:
            while not self.over.is_set():
                if len(self._futures) < MOST_OUTSTANDING:
                    self._submit(session)
                wait([future for _, future in self._futures], 0.05, FIRST_COMPLETED)
                self._look()
            if not session.wait(PATIENCE_S):
                self.problems.append("not all futures were done")
            self._look()
        finally:
            session.end()

    def _submit(self, session: Session) -> None:
        for _ in range(self.dice.randint(1, MOST_AT_ONCE)):
            index, self._submitted = self._submitted, self._submitted + 1
            self._futures.append((index, session.submit(self.name, *self.parameters(index))))
            self.calls += 1

    def _look(self) -> None:
        left = []
        for index, future in self._futures:
            if not future.done():
                left.append((index, future))
            elif (value := future.result())[:2] != [self.name, index]:
                self.problems.append(f"task {index} has the answer of another one: {value}")
            else:
                self._answers += 1
                self.watch.happened(f"an answer for {self.name}")
        self._futures = left


class MasterCaller(Caller):
    """A master of a running broker: it asks for some tasks, and then for as many results."""

    def __init__(self, name: str, dice: random.Random, watch: Watch, label: str, where: str) -> None:
        super().__init__(name, dice, watch)
        self._label = label
        self._where = where
        self._index_of: dict[str, int] = {}
        """By id: what was asked for and not answered."""
        self._answers = 0

    @property
    def answer_count(self) -> int:
        return self._answers

    def live(self) -> None:
        master = _patiently(lambda: RemoteMasterProcess(self._label, self._where))
        try:
            asked = 0
            while not self.over.is_set():
                for index in range(asked, asked + self.dice.randint(1, 20)):
                    self._index_of[master.requestTask(self.name, *self.parameters(index))] = index
                    self.calls += 1
                    asked += 1
                while self._index_of and not self.problems:
                    self._take(*master.retrieveResult())
        finally:
            master.shutdown()

    def _take(self, task: str | None, tag: str | None, value: Any) -> None:
        index = self._index_of.pop(task or "", None)
        if index is None or tag != self.name or value[:2] != [self.name, index]:
            self.problems.append(f"{value} came for {task}, which was answered before, or not submitted")
        self._answers += 1
        self.watch.happened(f"an answer for {self.name}")


def _patiently(connect: Callable[[], T]) -> T:
    """Try until it can connect."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            return connect()
        except ConnectError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)


class PlainCaller(Caller):
    """A plain Pyro proxy. What it was acknowledged is answered, unless a call for an answer broke."""

    def __init__(self, name: str, dice: random.Random, watch: Watch, uri: str) -> None:
        super().__init__(name, dice, watch)
        self._uri = uri
        self._proxy = self._new_proxy()
        self._tried = 0
        self._acknowledged: set[int] = set()
        self.answers: Counter[int] = Counter()
        self._broken_collects = 0

    @property
    def answer_count(self) -> int:
        return self.answers.total()

    @property
    def lost(self) -> int:
        """Acknowledged tasks whose answers were under way when a connection broke."""
        return len(self._acknowledged - set(self.answers))

    def live(self) -> None:
        self._proxy._pyroClaimOwnership()
        try:
            while not self.over.is_set():
                if (
                    len(self._acknowledged) - len(self.answers) < MOST_OUTSTANDING
                    and self.dice.random() < 0.5
                ):
                    self._submit()
                else:
                    self._collect()
            self._finish()
        finally:
            self._proxy._pyroRelease()

    def _finish(self) -> None:
        give_up_at = time.monotonic() + PATIENCE_S
        while left := self._left():
            if time.monotonic() > give_up_at:
                self.problems.append(f"{left} tasks were never answered")
                return
            self._collect()
        if self.lost > self._broken_collects:
            self.problems.append(
                f"{self.lost} acknowledged tasks are gone, and only {self._broken_collects} calls for an "
                "answer broke"
            )
        if again := [index for index, times in self.answers.items() if times > 1]:
            self.problems.append(f"tasks {again} were answered again")
        if unknown := set(self.answers) - set(range(self._tried)):
            self.problems.append(f"tasks {unknown} were answered, and never submitted")

    def _submit(self) -> None:
        index, self._tried = self._tried, self._tried + 1
        if self._call("addTaskRequest", self.name, self.parameters(index)) is not None:
            self._acknowledged.add(index)

    def _collect(self) -> None:
        try:
            reply = self._call("getResultWithTag", self.name, timeout=self.dice.choice((0.0, 0.1, 0.5)))
        except TimeoutError:
            return
        if reply is None:
            self._broken_collects += 1
            return
        name, index, *_ = reply[1]
        if name != self.name:
            self.problems.append(f"the answer of {name!r} came")
        self.answers[index] += 1

    def _left(self) -> int:
        while (counts := self._call("numberOfTasks")) is None:
            pass
        return sum(tasks.get(self.name, 0) for tasks in counts)

    def _call(self, method: str, *arguments: object, **named: object) -> Any:
        """The reply; None: the connection broke, and nobody knows whether the call was done."""
        try:
            reply = getattr(self._proxy, method)(*arguments, **named)
        except CommunicationError:
            self.broken += 1
            self._proxy._pyroRelease()
            self._proxy = self._new_proxy()
            time.sleep(self.dice.uniform(0.0, 0.1))  # a plain client has no better idea
            return None
        self.calls += 1
        self.watch.happened(f"a call of {self.name}")
        return reply

    def _new_proxy(self) -> Any:
        proxy = Proxy(self._uri)
        proxy._pyroTimeout = 3.0
        proxy._pyroMaxRetries = 0
        return proxy


def _to_wire(value: object) -> list[Any]:
    encoded = payload.encode(value)
    return [encoded.format, list(encoded.buffers)]


def _value(outcome: list[Any]) -> list[Any]:
    """The value of an outcome; whatever else it is, as text."""
    if outcome[0] != "value":
        return [repr(outcome)]
    kind, buffers = outcome[1]
    value: list[Any] = payload.decode(Payload(kind, tuple(buffers)))
    return value
