"""Which future waits for which task, which answers are taken over, and which nobody has fetched yet.

An answer may come before the reply to the submit that it answers, may come a second time after a
broken connection, and may belong to nobody here: to a submit of this session's earlier life.

Nothing here locks, waits or sends. All of it is done under the session's lock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

from pyrotask.client.future import TaskFuture, tell
from pyrotask.client.outcomes import WITHDRAWN, Outcome, decoded

MOST_LEFT_TASKS = 1_000
"""What the broker lists in one go."""


class Delivery(NamedTuple):
    """An answer as it came over the wire."""

    number: int
    """Of the delivery: they rise in a session."""
    task: int
    tag: str
    outcome: Outcome


Settled = tuple[TaskFuture, Delivery]
"""A future, and the answer that is to be given to it outside of the lock."""


class Ledger:
    """The bookkeeping of a session."""

    def __init__(self) -> None:
        self.waiting: dict[int, TaskFuture] = {}
        """By task: who waits for its answer. Also those that were cancelled, until the broker says so."""
        self.received = 0
        """The last delivery that has arrived."""
        self._unclaimed: OrderedDict[int, Delivery] = OrderedDict()
        """By delivery: what arrived and was given to nobody for good; so it must not be taken over."""
        self._unclaimed_of: dict[int, int] = {}
        """By task: the delivery of it among those."""
        self._read: list[int] = []
        """Those among them that were handed to a reader, who has not come back for the next one."""
        self._sending_since: int | None = None
        """While a submit is under way: the last delivery before it. Later ones may belong to it."""
        self._unwanted: set[int] = set()
        """Tasks whose answer may come (again), and that nobody here wants (any more)."""

    @property
    def taken_over(self) -> int:
        """The last delivery up to which all have found their owner."""
        first = next(iter(self._unclaimed), None)
        return self.received if first is None else first - 1

    @property
    def left(self) -> int:
        """How many answers wait for a reader, or for the number of their task."""
        return len(self._unclaimed) - len(self._read)

    @property
    def left_tasks(self) -> list[int]:
        """Their tasks, and those that are with a reader: the oldest ones."""
        return list(islice(self._unclaimed_of, MOST_LEFT_TASKS))

    @property
    def is_sending(self) -> bool:
        """Whether a submit is under way."""
        return self._sending_since is not None

    @property
    def is_early(self) -> bool:
        """Whether the last answer without a future may belong to the submit that is under way."""
        return self._sending_since is not None and next(reversed(self._unclaimed), 0) > self._sending_since

    # --- what goes, and what comes --------------------------------------------------------------

    def sending(self) -> None:
        """A submit begins: answers may come to tasks whose numbers we do not have yet."""
        self._sending_since = self.received

    def numbered(self, futures: Sequence[TaskFuture], numbers: Sequence[int]) -> list[Settled]:
        """The broker has taken these on, under these numbers. Returns those that it has answered already."""
        settled: list[Settled] = []
        for future, number in zip(futures, numbers, strict=True):
            future.task = number
            delivery = self._claimed(number) if self._unclaimed else None
            if delivery is None:
                self.waiting[number] = future
                continue
            settled.append((future, delivery))
            if future.key is not None:  # the submit may have come after the answer, and bring it again
                self._unwanted.add(number)
        return settled

    def sent(self) -> None:
        """The submit is over, whatever became of it."""
        since, self._sending_since = self._sending_since, None
        if since is not None and self._unclaimed and self._unwanted:
            newer = [one for one in self._unclaimed.values() if one.number > since]
            for delivery in newer:
                if delivery.task in self._unwanted:  # it was not for that submit
                    self._remove(delivery)

    def arrived(self, deliveries: Sequence[Delivery]) -> list[Settled]:
        """Answers have come. Returns those that belong to futures."""
        settled: list[Settled] = []
        for delivery in deliveries:
            if delivery.number <= self.received:
                continue  # once more: the reply that brought it first was slow, not lost
            self.received = delivery.number
            future = self.waiting.pop(delivery.task, None)
            if future is not None:
                settled.append((future, delivery))
            elif delivery.task in self._unwanted and not self.is_sending:
                self._unwanted.discard(delivery.task)
            else:
                self._unclaimed[delivery.number] = delivery
                self._unclaimed_of[delivery.task] = delivery.number
        return settled

    def forgotten(self, tasks: Sequence[int]) -> int:
        """The broker has forgotten these at our wish: it sends no answer, unless it is on its way.

        Returns how many futures that ends.
        """
        mine = [task for task in tasks if self.waiting.pop(task, None) is not None]
        self._unwanted.update(mine)
        return len(mine)

    def dropped(self) -> list[TaskFuture]:
        """Nothing more will come. Returns those who wait in vain."""
        waiting = list(self.waiting.values())
        self.waiting.clear()
        return waiting

    # --- readers ------------------------------------------------------------------------------

    def read(self) -> Delivery | None:
        """Hand out the oldest answer that has no future."""
        for number, delivery in self._unclaimed.items():
            if self._sending_since is not None and number > self._sending_since:
                return None
            if number not in self._read:
                self._read.append(number)
                return delivery
        return None

    def unread(self, delivery: Delivery) -> None:
        """It was handed out in vain."""
        if delivery.number in self._read:
            self._read.remove(delivery.number)

    def taken_by_readers(self) -> None:
        """What was handed to readers is theirs for good."""
        for number in self._read:
            self._remove(self._unclaimed[number])
        self._read.clear()

    def _remove(self, delivery: Delivery) -> None:
        del self._unclaimed[delivery.number]
        if self._unclaimed_of.get(delivery.task) == delivery.number:
            del self._unclaimed_of[delivery.task]

    def _claimed(self, task: int) -> Delivery | None:
        number = self._unclaimed_of.get(task)
        if number is None or number in self._read:
            return None
        del self._unclaimed_of[task]
        return self._unclaimed.pop(number)


def settle(future: TaskFuture, delivery: Delivery) -> None:
    """Give the future its answer. Not under the lock: its callbacks run."""
    if delivery.outcome == WITHDRAWN:
        tell(future, future.cancel)
    else:
        tell(future, future.settle, *decoded(delivery.outcome, delivery.tag, delivery.task))


def deliveries_of(reply: dict[str, Any]) -> list[Delivery]:
    """What a collect has brought."""
    return [Delivery(*one) for one in reply["deliveries"]]
