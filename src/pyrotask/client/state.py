"""What a session's threads share: what is to be sent, who waits, and how it all ends. One lock for it.

Whoever submits, and those who wait for the end of something, wait at a condition of their own; the sender
and the collector at bells, since they look after their connections as well. Under the lock nothing is sent,
encoded or decoded, and no future is touched that has callbacks.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pyrotask.client.bell import Bell
from pyrotask.client.future import TaskFuture, copy_of, end_all, tell
from pyrotask.client.ledger import Delivery, Ledger, Settled
from pyrotask.client.waiting import Condition
from pyrotask.client.work import Ask, Keyed, Work, same, waits_for_numbers
from pyrotask.config import MIB, Settings
from pyrotask.core.model import Payload
from pyrotask.errors import SessionExpired

if TYPE_CHECKING:
    from pyrotask.client.looking import Looking

MOST_UNSENT = 100_000
"""Tasks that wait to be sent; then a submit waits too. Some seconds' work for the sender."""

MOST_UNSENT_BYTES = 64 * MIB

MOST_DIRECT_BYTES = 16 * 1024
"""What a submit may send by itself: so little that the system takes it at once."""

MOST_LEFT = 1_000
"""Answers without a future that are fetched ahead of their reader."""


class State:
    """Thread-safe. The methods say for whom they are."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.RLock()  # which only its owner can release, also when Ctrl-C ends his wait
        self.bell = Bell()
        """The sender waits here for something to send."""
        self.send_directly: Callable[[TaskFuture], None] | None = None
        """Sends a lone one in the thread that submits it. None: that cannot be."""
        self._room = Condition(self._lock)
        """Those who submit wait here while too much is unsent."""
        self.wanted = Bell()
        """The collector waits here until somebody wants an answer."""
        self._changed = Condition(self._lock)
        """Who waits for the end of something: see `wait_until_sent`, `wait_until_quiet`, `read`."""
        self._ledger = Ledger()
        self._unsent: deque[TaskFuture] = deque()
        self._unsent_bytes = 0
        self._in_flight: list[TaskFuture] = []
        self._to_store: dict[str, Payload] = {}
        self._to_cancel: list[TaskFuture] = []
        self._withdraws = False
        """What has not begun is to be cancelled."""
        self._is_sending = False
        """The sender is at work."""
        self._is_idle = False
        """The sender waits for its bell."""
        self._is_listening = False
        """The collector waits for its bell, and nobody has rung."""
        self._takes_lone = False
        """And it is ready for a lone one."""
        self.lone: TaskFuture | None = None
        """What goes by `client.lone`, until it is over."""
        self._refused: TaskFuture | None = None
        """What went that way in vain, and is the sender's next."""
        self._is_hurried = False
        """Somebody cannot wait until it has its number."""
        self._has_hurried = False
        """The sender has tried what it can."""
        self._keyed: dict[str, Keyed] = {}
        """Those that wait for an answer, by key: a key has one future at a time."""
        self._unsettled = 0
        """Futures that were added, and of which there will be more to hear."""
        self._wait_until_done = 0
        """How many wait until all futures are done."""
        self._told = 0
        """The deliveries up to this one are taken over, as far as the broker knows."""
        self._waiting_since = 0.0
        """When the last answer came, or the first future had to wait since then."""
        self._readers = 0
        self._is_drained = False
        """The broker has said that there is nothing left for readers."""
        self._is_closing = False
        """The sender ends when it has sent all."""
        self._error: BaseException | None = None
        """Why all is over, for the sender and the collector too."""
        self._own_threads: set[int] = set()
        self.looking: Looking | None = None
        """Who asks the broker whether a task runs."""
        self.worker_command: str | None = None
        """What starts a worker, for whoever waits for one; None: ``pyrotask worker LABEL``."""

    # --- for those who submit -------------------------------------------------------------------

    def add(self, future: TaskFuture, payload: Payload | None = None) -> TaskFuture:
        """Have it sent. Waits while too much is unsent. Returns the future there is for its key, if any.

        Without a payload it is attached to the task of its key, whatever that is.

        Raises:
            KeyConflict: the key's future is of another tag or payload.
            PyrotaskError: the session is over.
        """
        try:
            with self._lock:
                if self._is_too_much() and threading.get_ident() not in self._own_threads:
                    self._room.wait_for(lambda: not self._is_too_much() or self._is_over())
                self._check()
                send = self._direct_way(future, payload)
                if future.key is not None:
                    known = self._keyed.get(future.key)
                    if known is not None:
                        return same(known, future.tag, payload)
                    entry = Keyed(future, future.tag, payload)
                    self._keyed[future.key] = entry
                # Ctrl-C comes where something is called. From the entry to the queue nothing is, so it
                # finds all of that done, or nothing.
                self._unsettled += 1
                self._is_drained = False
                if send is None:
                    self._unsent_bytes += future.size
                    self._unsent.append(future)
                    self._wake_sender()
                else:
                    self._is_listening = self._is_hurried = self._has_hurried = False
                    self.lone = future
                    self._waiting_since = time.monotonic()
            if send is not None:
                send(future)
        except BaseException:  # Ctrl-C, say, in the middle of it
            self.bell.ring()  # the sender or the collector sees it through
            self.wanted.ring()
            raise
        return future

    def has_room(self) -> bool:
        """Whether `add` would not wait."""
        with self._lock:
            return not self._is_too_much()

    def store(self, label: str, value: Payload) -> None:
        """Have a value stored at the broker before anything that is added later."""
        with self._lock:
            self._check()
            self._to_store[label] = value
            self._wake_sender()

    def pending(self) -> list[TaskFuture]:
        """All that have no answer yet."""
        with self._lock:
            return [*self._alone(), *self._unsent, *self._in_flight, *self._ledger.waiting.values()]

    def withdraw(self) -> None:
        """Have all cancelled that have not begun."""
        with self._lock:
            unsent = list(self._unsent)
            self._withdraws = True
            self._wake_sender()
        for future in unsent:
            future.cancel()

    def cancelled(self, future: TaskFuture) -> None:
        """It was cancelled just now."""
        with self._lock:
            self._drop_key(future)
            if future.task is not None and future not in {self.lone, self._refused}:
                self._to_cancel.append(future)
                self._wake_sender()
            if self._wait_until_done:
                self._changed.notify_all()

    def is_running(self, task: int) -> bool:
        """Whether a worker has the task, as far as whoever looks for us knows."""
        return self.looking is not None and self.looking.is_running(task)

    # --- for those who wait -----------------------------------------------------------------------

    def wait_until_sent(self, timeout_s: float | None) -> bool:
        """Whether all was sent that has been added."""
        with self._lock:
            if self._is_lone_without_number():
                self._is_hurried = True
                self._wake_sender()
            return self._changed.wait_for(lambda: self._error is not None or self._is_all_sent(), timeout_s)

    def wait_until_quiet(self, timeout_s: float | None) -> bool:
        """Whether all futures are done, and the broker has confirmed what was cancelled."""
        with self._lock:
            return self._changed.wait_for(lambda: not self._unsettled, timeout_s)

    def wait_until_done(self, timeout_s: float | None) -> bool:
        """Whether all futures are done."""
        with self._lock:
            self._wait_until_done += 1
            try:
                return self._changed.wait_for(self._is_done, timeout_s)
            finally:
                self._wait_until_done -= 1

    def read(self, timeout_s: float | None) -> Delivery | None:
        """Wait for an answer that has no future; None: there is nothing left. The one before is taken over.

        Raises:
            TimeoutError: none came in time.
            PyrotaskError: the session is over.
        """
        give_up_at = None if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            self._ledger.taken_by_readers()
            self._readers += 1
            try:
                self._is_drained = False
                self._want()
                while (delivery := self._ledger.read()) is None:
                    self._check()
                    if self._is_drained and not self._ledger.left:
                        return None
                    left_s = None if give_up_at is None else give_up_at - time.monotonic()
                    if left_s is not None and left_s <= 0:
                        raise TimeoutError(f"no answer came within {timeout_s:g} s")
                    self._changed.wait(left_s)
            finally:
                self._readers -= 1
            return delivery

    def unread(self, delivery: Delivery) -> None:
        """It did not get as far as to its reader: it is the next again."""
        with self._lock:
            self._ledger.unread(delivery)

    def left_tasks(self) -> list[int]:
        """The tasks of all answers that wait for a reader, or are with one."""
        with self._lock:
            return self._ledger.left_tasks

    # --- for the sender -----------------------------------------------------------------------------

    def next_work(self, most_tasks: int, most_bytes: int) -> Work | None:
        """What there is to send, and then `sent` must follow; None: nothing now, so wait for the bell."""
        with self._lock:
            self._own_threads.add(threading.get_ident())
            if self._refused is not None:
                self._take_back(self._refused)
            if self._is_lone_without_number() and self._error is None:
                # It comes first: tasks are taken on in the order in which they were submitted.
                if not self._has_hurried and (self._is_hurried or self._has_work()):
                    self._has_hurried = True
                    return Work(self.lone, {}, [], [], [])
                self._is_idle = True
                return None
            if self._error is not None or not self._has_work():
                self._is_idle = True
                return None
            cancels, self._to_cancel = self._to_cancel, []
            values, self._to_store = self._to_store, {}
            to_withdraw = [*self._alone(), *self._ledger.waiting.values()] if self._withdraws else []
            self._withdraws = False
            self._begin_to_send(futures := self._next_batch(most_tasks, most_bytes))
            self._room.notify_all()
        return Work(None, values, cancels, to_withdraw, futures)

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be sent any more."""
        with self._lock:
            is_done = self._is_closing and self.lone is None and not self._has_work()
            return is_done or self._error is not None

    def numbered(self, futures: Sequence[TaskFuture], numbers: Sequence[int]) -> Iterator[Settled]:
        """The broker has taken these on. Yields those that are answered already, to be settled at once."""
        with self._lock:
            settled = self._numbered(futures, numbers)
        yield from settled
        self._settled(len(settled))

    def lone_numbered(self, lone: TaskFuture, number: int) -> Iterator[Settled]:
        """The broker has taken it on. The rest is still to come; as `numbered` if it was refused before."""
        settled: list[Settled] = []
        with self._lock:
            if lone is self._refused:  # there was room, a moment later
                self._refused = None
                settled = self._numbered([lone], [number])
            elif lone is self.lone:
                lone.task = number
            self._changed.notify_all()
        yield from settled
        self._settled(len(settled))

    def forgotten(self, tasks: Sequence[int]) -> None:
        """The broker has forgotten these, since we wanted it."""
        with self._lock:
            self._settle_some(self._ledger.forgotten(tasks))

    def refuse(self, future: TaskFuture, error: BaseException) -> None:
        """The broker has not taken it on."""
        with self._lock:
            self._drop_key(future)
        tell(future, future.settle, None, error)
        self._settled(1)

    def given_up(self) -> None:
        """One was cancelled before the broker had room for it."""
        self._settled(1)

    def sent(self) -> None:
        """What `next_work` gave has been done."""
        with self._lock:
            self._is_sending = False
            self._in_flight = []
            self._ledger.sent()
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """The broker has no room: wait, unless all is over. What it refused can have no answer meanwhile."""
        with self._lock:
            self._ledger.sent()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._error is not None, seconds)
            self._ledger.sending()

    # --- for the collector ----------------------------------------------------------------------------

    def next_ask(self, *, tells: bool, takes_lone: bool) -> Ask | None:
        """What somebody wants, or (if it ``tells``) what the broker is to be told was taken over.

        None: nothing, so wait for the bell; a lone one may come meanwhile, if the collector takes it. While
        there is one, nothing else is done.
        """
        with self._lock:
            self._own_threads.add(threading.get_ident())
            ledger = self._ledger
            is_sure = bool(ledger.waiting)
            for_futures = is_sure or self._is_more_to_come()
            for_readers = self._readers > 0 and not self._is_drained and ledger.left < MOST_LEFT
            is_wanted = for_futures or for_readers or (tells and ledger.taken_over > self._told)
            self._is_listening = self._takes_lone = False
            if self.lone is not None:
                return None
            if self._error is not None or not is_wanted:
                self._is_listening, self._takes_lone = True, takes_lone
                return None
            self._told = ledger.taken_over
            waited_s = time.monotonic() - self._waiting_since if for_futures else 0.0
            return Ask(self._told, ledger.received, for_futures, is_sure, for_readers, waited_s)

    @property
    def has_to_tell(self) -> bool:
        """Whether the broker does not know yet of everything that was taken over."""
        with self._lock:
            return self._ledger.taken_over > self._told

    def arrived(self, deliveries: Sequence[Delivery]) -> Iterator[Settled]:
        """These came. Yields those that have a future, to be settled at once."""
        with self._lock:
            settled = self._ledger.arrived(deliveries)
            self._drop_keys(settled)
            if deliveries:
                self._waiting_since = time.monotonic()
            if len(settled) < len(deliveries):
                self._changed.notify_all()  # the others are for readers
        yield from settled
        self._settled(len(settled))

    def lone_answered(
        self, tasks: Sequence[int], deliveries: Sequence[Delivery], told: int
    ) -> Iterator[Settled]:
        """The lone one was taken on, and perhaps answered. Yields what is to be settled at once.

        ``told``: up to where the broker has heard what was taken over.
        """
        with self._lock:
            lone = [] if self.lone is None else [self.lone]
            for future in lone:
                future.item = None
            settled = [*self._ledger.numbered(lone, tasks), *self._ledger.arrived(deliveries)]
            self._to_cancel += [future for future in lone if future.is_cancelled]
            self._told = max(self._told, told)
            self._drop_keys(settled)
            if deliveries:
                self._waiting_since = time.monotonic()
            self._lone_is_over()
        yield from settled
        self._settled(len(settled))

    def lone_refused(self) -> Iterator[Settled]:
        """The broker has not taken the lone one on: the sender shall try it, and tell why not.

        Unless it has a number: then it was taken on when it was hurried. Yields it if it is answered already.
        """
        settled: list[Settled] = []
        with self._lock:
            lone = self.lone
            if lone is None or lone.task is None:
                self._refused = lone
                self._ledger.sending()
            else:
                settled = self._numbered([lone], [lone.task])
            self._lone_is_over()
        yield from settled
        self._settled(len(settled))

    def drained(self) -> None:
        """The broker has nothing left for readers."""
        with self._lock:
            if not (self._unsent or self._is_sending or self._ledger.waiting):
                self._is_drained = True
                self._changed.notify_all()

    # --- the end ----------------------------------------------------------------------------------------

    @property
    def error(self) -> BaseException | None:
        """Why all is over; None: it is not."""
        return self._error

    def close(self) -> None:
        """Take no more. The sender ends when it has sent what there is."""
        with self._lock:
            self._is_closing = True
            self.bell.ring()
            self._room.notify_all()

    def taken_over(self, *, with_read: bool) -> tuple[int, int]:
        """What the broker is to be told at the end: taken over, and received."""
        with self._lock:
            if with_read:
                self._ledger.taken_by_readers()
            return self._ledger.taken_over, self._ledger.received

    def fail(self, error: BaseException, *, cancel: bool = False) -> int:
        """All is over: whoever still waits is told so, or cancelled. Idempotent; returns how many."""
        with self._lock:
            if self._error is not None:
                return 0
            self._error = error
            self.send_directly = None  # it refers to us
            futures = [*self._alone(), *self._in_flight, *self._unsent, *self._ledger.dropped()]
            self.lone = self._refused = None
            self._unsent.clear()
            self._unsent_bytes = 0
            self._in_flight = []
            self._to_cancel = []
            self._keyed.clear()
            self.bell.ring()
            self.wanted.ring()
            self._room.notify_all()
        waiting = [future for future in futures if not future.done()]
        try:
            end_all(waiting, error, cancel=cancel)
        finally:
            with self._lock:
                self._unsettled = 0
                self._changed.notify_all()
        return len(waiting)

    # --- inside, under the lock -------------------------------------------------------------------------

    def _direct_way(self, future: TaskFuture, payload: Payload | None) -> Callable[[TaskFuture], None] | None:
        """How whoever submits it sends it; None: by the sender."""
        is_alone = self._is_idle and self._is_listening and self._takes_lone and self.lone is None
        if not is_alone or self._has_work():  # that only after a Ctrl-C
            return None
        if payload is not None and payload.shared_bytes:  # only the sender's connection can name it
            return None
        return self.send_directly if future.size <= MOST_DIRECT_BYTES and not future.inputs else None

    def _alone(self) -> list[TaskFuture]:
        return [future for future in (self.lone, self._refused) if future is not None]

    def _take_back(self, refused: TaskFuture) -> None:
        """The sender does it."""
        self._refused = None
        self._unsent.appendleft(refused)
        self._unsent_bytes += refused.size

    def _numbered(self, futures: Sequence[TaskFuture], numbers: Sequence[int]) -> list[Settled]:
        for future in futures:
            future.item, future.inputs = None, ()
        settled = self._ledger.numbered(futures, numbers)
        self._want()
        self._to_cancel += [future for future in futures if future.is_cancelled]
        self._drop_keys(settled)
        return settled

    def _lone_is_over(self) -> None:
        self.lone = None
        if self._has_work() or self._is_closing:
            self._wake_sender()
        self._changed.notify_all()

    def _want(self) -> None:
        """Wake the collector, if it waits for somebody to want something."""
        if self._is_listening:
            self.wanted.ring()
            self._is_listening = False

    def _wake_sender(self) -> None:
        if self._is_idle:
            self.bell.ring()
            self._is_idle = False  # only now: a Ctrl-C in between leaves it to who comes next

    def _begin_to_send(self, futures: list[TaskFuture]) -> None:
        self._in_flight, self._is_sending, self._is_idle = futures, True, False
        if futures:
            if not self._ledger.waiting:
                self._waiting_since = time.monotonic()
            self._ledger.sending()
            self._want()

    def _is_more_to_come(self) -> bool:
        """Whether answers may come to what is being sent.

        Not when it has its numbers, nor while it waits for room. Nor when one has come before its number:
        perhaps that was all. Who asks for nothing has the connection occupied, and no task goes directly.
        """
        is_without_numbers = bool(self._in_flight) and self._in_flight[-1].task is None
        return is_without_numbers and self._ledger.is_sending and not self._ledger.is_early

    def _is_done(self) -> bool:
        """Those that were cancelled are, though the broker has not said so: it may be away for long."""
        pending = (self._ledger.waiting.values(), self._unsent, self._in_flight, self._alone())
        if sum(map(len, pending)) < self._unsettled:
            return False  # some are given their answers just now
        return all(future.is_cancelled for futures in pending for future in reversed(futures))

    def _has_work(self) -> bool:
        return bool(self._unsent or self._refused or self._to_cancel or self._to_store or self._withdraws)

    def _is_lone_without_number(self) -> bool:
        return self.lone is not None and self.lone.task is None

    def _is_all_sent(self) -> bool:
        return not (self._is_lone_without_number() or self._has_work() or self._is_sending)

    def _next_batch(self, most_tasks: int, most_bytes: int) -> list[TaskFuture]:
        batch: list[TaskFuture] = []
        size = 0
        while self._unsent and len(batch) < most_tasks:
            future = self._unsent[0]
            if batch and (size + future.size > most_bytes or (future.inputs and waits_for_numbers(future))):
                break
            self._unsent.popleft()
            self._unsent_bytes -= future.size
            if future.is_cancelled:
                self._settle_some(1)
            else:
                batch.append(future)
                size += future.size
        return batch

    def _is_too_much(self) -> bool:
        return len(self._unsent) >= MOST_UNSENT or self._unsent_bytes >= MOST_UNSENT_BYTES

    def _is_over(self) -> bool:
        return self._is_closing or self._error is not None

    def _check(self) -> None:
        if self._error is not None:
            raise copy_of(self._error)
        if self._is_closing:
            raise SessionExpired("the session was closed in this program: open another `Session`")

    def _drop_key(self, future: TaskFuture) -> None:
        known = None if future.key is None else self._keyed.get(future.key)
        if known is not None and known.future is future:
            del self._keyed[known.future.key or ""]

    def _drop_keys(self, settled: Iterable[Settled]) -> None:
        if self._keyed:
            for future, _ in settled:
                self._drop_key(future)

    def _settled(self, count: int) -> None:
        """Not under the lock: so many futures have their answers."""
        if count:
            with self._lock:
                self._settle_some(count)

    def _settle_some(self, count: int) -> None:
        self._unsettled = max(0, self._unsettled - count)
        if not self._unsettled:
            self._changed.notify_all()
