"""Those who wait for a position to become durable.

Nothing that a caller does here takes a lock, since it may be the main thread, and a signal
handler may run in the middle of it, and call here again. Single steps that cannot be
interrupted, and their order, do instead: whoever parks looks again after it has parked; the
flusher says what is durable before it looks who is parked. So at least one of the two sees
the other, and `_Parked.take` sees to it that only one acts.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from pyrotask.errors import BrokerBroken

log = logging.getLogger("pyrotask.journal")


class Waiters:
    """`park` and `tell_broken` are for everybody, `release` and `give_up` for the flusher.

    Attributes:
        durable: the position up to which everything is as durable as the policy says.
        broken: why nothing more becomes durable; None: it does.
    """

    def __init__(self, durable: int) -> None:
        self.durable = durable
        self.broken: BrokerBroken | None = None
        self._parked: deque[_Parked] = deque()
        self._on_broken: deque[Callable[[BrokerBroken], None]] = deque()

    def park(
        self, position: int, call: Callable[[], None], on_broken: Callable[[], None] | None = None
    ) -> None:
        """Have one of the two called, once: when the position is durable, or never will be."""
        parked = _Parked(position, call, on_broken)
        self._parked.append(parked)
        if position <= self.durable and parked.take():
            call()
        elif self.broken is not None and on_broken is not None and parked.take():
            on_broken()

    def tell_broken(self, call: Callable[[BrokerBroken], None]) -> None:
        """Have that called if the journal breaks; now, if it is broken. Closing it is not that."""
        self._on_broken.append(call)
        self._call_on_broken()

    def release(self, position: int) -> None:
        """Everything up to there is durable now."""
        self.durable = position
        for _ in range(len(self._parked)):
            parked = self._parked.popleft()
            if parked.position > position:
                self._parked.append(parked)
            elif parked.take():
                _call(parked.call)

    def give_up(self, broken: BrokerBroken) -> None:
        """Nothing more becomes durable: the journal is closed, or (it has a cause) broken."""
        self.broken = broken
        while self._parked:
            parked = self._parked.popleft()
            if parked.on_broken is not None and parked.take():
                _call(parked.on_broken)
        self._call_on_broken()

    def _call_on_broken(self) -> None:
        broken = self.broken
        if broken is None or broken.__cause__ is None:
            return
        while True:
            try:
                call = self._on_broken.popleft()  # a single step: no two threads get the same
            except IndexError:
                return
            _call(lambda call=call: call(broken))  # type: ignore[misc]


class _Parked:
    """Somebody who waits for a position."""

    __slots__ = ("_left", "call", "on_broken", "position")

    def __init__(self, position: int, call: Callable[[], None], on_broken: Callable[[], None] | None) -> None:
        self.position = position
        self.call = call
        self.on_broken = on_broken
        self._left = [True]

    def take(self) -> bool:
        """Whether this is the first call: only the first one may act."""
        try:
            return self._left.pop()
        except IndexError:
            return False


def _call(call: Callable[[], None]) -> None:
    try:
        call()
    except Exception:
        log.exception("a callback of the journal failed")
