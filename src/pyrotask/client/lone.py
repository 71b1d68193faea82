"""A task that is submitted while nothing else goes on: one call takes it on, and waits for its answer.

Whoever submits it sends the call, over the collector's connection, which has nothing to do. The reply is
the collector's business, and so is all trouble: since the call is numbered, it can be repeated, whatever
has happened in that thread.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from pyrotask.client.ledger import deliveries_of, settle
from pyrotask.errors import Refused, TaskManagerTermination, UnknownSession, VersionMismatch
from pyrotask.remote.bulk_proxy import CALL_TIMEOUT_S
from pyrotask.remote.versions import TAKES_ON_AND_WAITS

if TYPE_CHECKING:
    from pyrotask.client.future import TaskFuture
    from pyrotask.client.link import Link
    from pyrotask.client.numbers import Number, Numbers
    from pyrotask.client.state import State

MOMENT_S = 0.02
"""How long the reply may wait for the answer. Until it comes, the task has no number."""

AT_ONCE = 100
"""Answers in one reply: it may bring others of the session, too."""

_CALL = "submit_and_collect"


class Lone:
    """See the module's text.

    `send` is for who submits, `number_of` for the sender, and all else for the collector.

    Args:
        state: the session's.
        link: the collector's; None: it has no connection, and nothing is to be saved by fewer calls.
        numbers: the session's.
    """

    def __init__(self, state: State, link: Link | None, numbers: Numbers) -> None:
        self._state = state
        self._link = link
        self._numbers = numbers
        self._line = threading.Lock()
        """Held by who sends, and by who looks at what became of it."""
        self._number: Number | None = None
        """For the next call: drawn ahead, so that Ctrl-C finds it drawn or not."""
        self._begun: tuple[Any, ...] | None = None
        """The arguments of the call that may have been sent, or a part of it."""
        self._is_sent = False
        self._sent_at = 0.0
        self._is_taken_over = False
        """Whoever still comes to send it is too late."""

    @property
    def is_possible(self) -> bool:
        """Whether the broker that we are connected to knows such calls."""
        return self._link is not None and self._link.wire >= TAKES_ON_AND_WAITS

    def send(self, future: TaskFuture) -> None:
        """Send a submit, in the thread that submits. If that does not succeed, the collector does it.

        Does not wait for the reply. Raises nothing but what a signal handler raises.
        """
        with self._line:
            if self._is_taken_over or self._state.lone is not future:
                return
            link, number = self._link, self._number
            if number is None or link is None or not link.is_ready:  # it was, a moment ago
                self._state.wanted.ring()
                return
            self._sent_at = time.monotonic()
            self._begun = self._call(future, number)
            try:
                link.begin(_CALL, *self._begun)
            except Exception:  # noqa: BLE001 - whatever it is, the collector comes to it
                self._state.wanted.ring()
            else:
                self._is_sent = True

    def number_of(self, future: TaskFuture) -> Number | None:
        """The number of the call, if that is under way for this one."""
        with self._line:
            return self._number if self._state.lone is future else None

    def prepare(self) -> bool:
        """Be ready for one. False: that cannot be, for now."""
        if self._link is None or not (self.is_possible and self._link.is_ready):
            return False
        if self._number is None:
            self._number = self._numbers.draw()
        return True

    def rest(self) -> None:
        """None can come for a while."""
        number, self._number = self._number, None
        if number is not None:
            self._numbers.done(number)

    def end(self) -> None:
        """None is sent any more."""
        with self._line:
            self._is_taken_over = True

    def see_through(self, *, has_come: bool) -> bool:
        """Take the reply, if it has come; repeat the call if there was trouble. False: there was none.

        Raises as `Link.call` does, but for what is wrong with this task.
        """
        link = self._link
        if link is None:
            return False
        with self._line:
            future, number = self._state.lone, self._number
            if future is None:
                if has_come:  # nobody has asked for anything: it is the end of the connection
                    link.close()
                return False
            if self._is_sent and not has_come and time.monotonic() < self._sent_at + CALL_TIMEOUT_S:
                return True
            self._is_taken_over = True
            has_come = has_come and self._is_sent
            begun = self._begun
            if begun is not None and not has_come:
                link.close()
        if number is None:
            number = self._numbers.draw()
        self._finish(link, begun or self._call(future, number), number, has_come=has_come)
        return True

    def _finish(self, link: Link, call: tuple[Any, ...], number: Number, *, has_come: bool) -> None:
        try:
            reply = link.end(_CALL, *call) if has_come else link.call(_CALL, *call)
        except UnknownSession:
            raise
        except (Refused, TaskManagerTermination, TypeError, ValueError, VersionMismatch) as error:
            if isinstance(error, VersionMismatch) and self.is_possible:
                raise
            self._over(number)
            # The sender will hear the same, and knows what to do.
            for one, delivery in self._state.lone_refused():
                settle(one, delivery)
        else:
            self._over(number)
            for one, delivery in self._state.lone_answered(reply["tasks"], deliveries_of(reply), call[4]):
                settle(one, delivery)
        self._is_taken_over = False  # only now: else who is late would send it once more

    def _over(self, number: Number) -> None:
        with self._line:
            self._numbers.done(number)
            self._number = None
            self._begun, self._is_sent = None, False

    def _call(self, future: TaskFuture, number: Number) -> tuple[Any, ...]:
        taken_over, received = self._state.taken_over(with_read=False)
        return *number, [future.item], taken_over, received, AT_ONCE, MOMENT_S
