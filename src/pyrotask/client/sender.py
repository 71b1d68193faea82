"""The thread that tells the broker what was submitted and cancelled: all that has gathered, at once.

So a loop of a million submits becomes some hundred messages. There is one call at a time, and each is a
numbered one: whatever happens to the connection, or to the broker, it is done once.

A task that comes while nothing else goes on is sent by the thread that submits it: see `client.lone`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pyrotask.client.future import tell
from pyrotask.client.ledger import settle
from pyrotask.client.link import Stopped
from pyrotask.client.outcomes import WITHDRAWN
from pyrotask.config import MIB
from pyrotask.errors import (
    InputFailed,
    QueueFull,
    Refused,
    TaskManagerTermination,
    UnknownSession,
)

if TYPE_CHECKING:
    from pyrotask.client.future import TaskFuture
    from pyrotask.client.link import Link
    from pyrotask.client.lone import Lone
    from pyrotask.client.near import NearLink
    from pyrotask.client.numbers import Number, Numbers
    from pyrotask.client.state import State
    from pyrotask.core.model import Payload

log = logging.getLogger("pyrotask.client")

MOST_TASKS = 2_000
"""In one submit: a broker takes that many on in some milliseconds, in which nobody else is served."""

MOST_BYTES = MIB - 64 * 1024
"""In one submit, but always one task: a message below 1 MiB fits everywhere."""

CANCELS_AT_ONCE = 1_000

NOT_BEGUN = ["scheduled", "waiting"]

FULL_PAUSE_S, LONGEST_FULL_PAUSE_S = 0.05, 2.0
"""Between two tries when the broker has no room."""

LOOK_S = 10.0
"""How long the thread sleeps at most."""

AHEAD_S = (1.0, 60.0, 3600.0, 86400.0)
"""How far our clock may be behind that of the machine where the session was used before."""


class Sender:
    """Sends until it is told to end. `run` is the thread."""

    def __init__(self, state: State, link: Link | NearLink, numbers: Numbers, lone: Lone) -> None:
        self._state = state
        self._link = link
        self._numbers = numbers
        self._lone = lone
        self._ahead_s = list(AHEAD_S)

    def run(self) -> None:
        """Send whatever there is, until the state says that all is over."""
        try:
            self._state.bell.open()
            while not self._state.is_over:
                work = self._state.next_work(MOST_TASKS, MOST_BYTES)
                if work is None:
                    if self._state.bell.wait(self._link.fileno(), LOOK_S):
                        self._link.close()  # nobody has asked for anything: it is the end of the connection
                    continue
                if work.hurried is not None:
                    self._hurry(work.hurried)
                if work.values:
                    self._store(work.values)
                if work.cancels:
                    self._cancel(work.cancels)
                if work.to_withdraw:
                    self._withdraw(work.to_withdraw)
                if work.submits:
                    self._submit(work.submits)
                self._state.sent()
                del work  # while we wait for more, nothing here keeps a future alive
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - the thread's outermost frame: all who wait are told
            self._state.fail(error)

    # --- values -------------------------------------------------------------------------------

    def _store(self, values: dict[str, Payload]) -> None:
        for label, value in values.items():
            try:
                self._link.call("store_data", {label: [value.format, list(value.buffers)]})
            except (Refused, TypeError, ValueError) as error:
                log.warning("%s could not be stored at the broker: %s", label, error)  # its tasks will say so

    # --- submitting -----------------------------------------------------------------------------

    def _submit(self, futures: list[TaskFuture]) -> None:
        ready = [future for future in futures if self._inputs_are_known(future)]
        if ready:
            self._submit_ready(ready)

    def _hurry(self, lone: TaskFuture) -> None:
        """Find out a lone one's number, by repeating its call, before the reply to that comes."""
        number = self._lone.number_of(lone)
        if number is None:
            return
        try:
            (task,) = self._link.call("submit", *number, [lone.item])
        except (Refused, TaskManagerTermination, TypeError, ValueError) as error:
            if isinstance(error, UnknownSession):
                raise
            log.debug("%r: %s", lone, error)  # so will it be told itself
        else:
            for future, delivery in self._state.lone_numbered(lone, task):
                settle(future, delivery)

    def _submit_ready(self, futures: Sequence[TaskFuture]) -> None:
        try:
            self._submit_if_there_is_room(futures)
        except QueueFull as error:
            self._wait_for_room(futures, error)

    def _submit_if_there_is_room(self, futures: Sequence[TaskFuture]) -> None:
        try:
            numbers = self._take_on(futures)
        except (UnknownSession, QueueFull):
            raise
        except TaskManagerTermination as error:
            for future in futures:
                self._state.refuse(future, type(error)(str(error)))
        except (Refused, TypeError, ValueError) as error:
            if len(futures) == 1:
                self._state.refuse(futures[0], error)
            else:
                self._submit_halves(futures)  # one of them is to blame
        else:
            for future, delivery in self._state.numbered(futures, numbers):
                settle(future, delivery)

    def _take_on(self, futures: Sequence[TaskFuture]) -> list[int]:
        items = [future.item for future in futures]
        return list(self._numbered(lambda number: self._link.call("submit", *number, items)))

    def _submit_halves(self, futures: Sequence[TaskFuture]) -> None:
        middle = len(futures) // 2
        for half in (futures[:middle], futures[middle:]):
            self._submit_ready(half)

    def _wait_for_room(self, futures: Sequence[TaskFuture], error: QueueFull) -> None:
        if len(futures) > 1:
            self._submit_halves(futures)
            return
        pause_s, waited_s = FULL_PAUSE_S, 0.0
        while True:
            self._state.pause(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, LONGEST_FULL_PAUSE_S)
            if waited_s >= self._state.settings.explain_after_s:
                log.warning("submits wait for room at the broker: %s", error)
                waited_s = 0.0
            if futures[0].is_cancelled:
                self._state.given_up()
                return
            try:
                self._submit_if_there_is_room(futures)
            except QueueFull as again:
                error = again
            else:
                return

    def _inputs_are_known(self, future: TaskFuture) -> bool:
        """Put the numbers of its inputs into its submit. False: one of them has none, so it failed."""
        if not future.inputs:
            return True
        numbers = [value if isinstance(value, int) else value.task for value in future.inputs]
        if None in numbers:
            source = future.inputs[numbers.index(None)]
            self._state.refuse(future, InputFailed(f"its input, {source!r}, was not taken on by the broker"))
            return False
        assert future.item is not None
        future.item[2]["inputs"] = numbers
        return True

    # --- cancelling -----------------------------------------------------------------------------

    def _cancel(self, futures: list[TaskFuture]) -> None:
        for start in range(0, len(futures), CANCELS_AT_ONCE):
            some = futures[start : start + CANCELS_AT_ONCE]
            self._intervene("cancel", {"tasks": _numbers(some)}, "cancelled by its client")
            keyed = [future for future in some if future.key is not None]
            if keyed:  # else whoever submits the key again would get the cancellation for an answer
                self._state.forgotten(self._intervene("forget", {"tasks": _numbers(keyed)}))

    def _withdraw(self, futures: list[TaskFuture]) -> None:
        """Cancel those that have not begun."""
        by_task = {future.task: future for future in futures}
        for start in range(0, len(futures), CANCELS_AT_ONCE):
            which = {"tasks": _numbers(futures[start : start + CANCELS_AT_ONCE]), "states": NOT_BEGUN}
            for task in self._intervene("cancel", which, WITHDRAWN[2]):
                tell(by_task[task], by_task[task].cancel)

    def _intervene(self, method: str, which: dict[str, Any], *more: object) -> list[int]:
        def page(after: int | None, number: Number) -> Any:
            return self._link.call(method, which, *more, CANCELS_AT_ONCE, after, list(number))

        done: list[int] = []
        after = None
        while True:
            reply = self._numbered(partial(page, after))
            done += reply["tasks"]
            after = reply["next"]
            if after is None:
                return done

    # --- numbered calls ---------------------------------------------------------------------------

    def _numbered(self, call: Callable[[Number], Any]) -> Any:
        """Do the call under the next number. Only when it is answered the next one is done."""
        while True:
            number = self._numbers.draw()
            try:
                reply = call(number)
            except Refused as error:
                # Also a refusal is a reply. This one may mean that the number is not a new one.
                self._numbers.done(number)
                if type(error) is not Refused or not self._ahead_s:
                    raise
                self._numbers.skip(self._ahead_s.pop(0))
            else:
                self._numbers.done(number)
                self._ahead_s = []
                return reply


def _numbers(futures: Iterable[TaskFuture]) -> list[int]:
    return [future.task for future in futures if future.task is not None]
