"""Blocked requests: parking them, and pairing them with what comes into line.

The rule: when a command is over, no task waits that a parked request would suit, and no answer
that somebody is parked for. `settle` sees to it, looking only at the lanes that were touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pyrotask.core.deadlines import Due, Key
from pyrotask.core.model import WAITING, Lease, Nanoseconds, ProcessId, SessionId, Task, WantId
from pyrotask.core.parking import Parking, Want

if TYPE_CHECKING:
    from pyrotask.core.deadlines import Deadlines
    from pyrotask.core.endings import Endings
    from pyrotask.core.lanes import View
    from pyrotask.core.leases import Leases
    from pyrotask.core.liveness import Liveness
    from pyrotask.core.presence import Connection, Presence
    from pyrotask.core.recorder import Recorder, Reply


class Matching:
    """The parked requests for tasks and for answers."""

    def __init__(
        self,
        recorder: Recorder,
        deadlines: Deadlines,
        presence: Presence,
        liveness: Liveness,
        leases: Leases,
        endings: Endings,
    ) -> None:
        self._recorder = recorder
        self._deadlines = deadlines
        self._presence = presence
        self._liveness = liveness
        self._leases = leases
        self._endings = endings
        self.task_wants = Parking()
        self.result_wants = Parking()
        self._next_want = 0
        self._parked = 0
        """How many there are of both: most often nobody waits."""

    def park(
        self,
        parking: Parking,
        view: View,
        caller: object,
        *,
        process: ProcessId | None,
        via: Connection | None,
        plain_only: bool,
        timeout_at: Nanoseconds | None,
        session: SessionId | None = None,
        leases: int = 1,
        deliveries: int | None = None,
    ) -> WantId:
        """Hold a request that nothing suits, until something does."""
        number = WantId(self._next_want)
        self._next_want += 1
        speaker = via.process if process is None and via is not None else process
        connection = None if via is None else via.id
        want = Want(
            number, caller, view, connection, process, speaker, plain_only, session, leases, deliveries
        )
        parking.park(want)
        self._parked += 1
        if via is not None:
            via.wants[number] = None
        if timeout_at is not None:
            self._deadlines.set(Key(Due.WANT, number), timeout_at)
        self._liveness.park(want)
        return number

    def withdraw(self, now: Nanoseconds, number: WantId) -> bool:
        """Give a request up. False: it was answered before."""
        found = self._find(number)
        if found is not None:
            self._unpark(now, *found)
        return found is not None

    def time_out(self, now: Nanoseconds, number: WantId) -> None:
        """Nothing came in time."""
        self.refuse(now, [number], lambda: TimeoutError("nothing came within the timeout"))

    def refuse(self, now: Nanoseconds, numbers: Iterable[WantId], error: Callable[[], Exception]) -> None:
        """Answer those requests with an error; each gets one of its own, to raise in its thread."""
        for number in list(numbers):
            found = self._find(number)
            assert found is not None, number
            self._answer(now, *found, error())

    def settle(self, now: Nanoseconds) -> None:
        """Pair what came into a line with the wants for it. A command ends with this."""
        touched = self._recorder.touched
        if not self._parked:
            touched.clear()
        while touched:
            lane, _ = touched.popitem()
            while (head := lane.head) is not None:
                waits = isinstance(head, Task) and head.state is WAITING
                parking = self.task_wants if waits else self.result_wants
                want = parking.oldest_over(lane) if parking else None
                if want is None:
                    break
                reply = self._leases_for(now, want) if parking is self.task_wants else self._answer_for(want)
                self._answer(now, parking, want, reply)

    def _leases_for(self, now: Nanoseconds, want: Want) -> tuple[Lease, ...]:
        # One task each: others may wait. Several only where waking another would take longer than they.
        via = None if want.connection is None else self._presence.connections[want.connection]
        return self._leases.hand_out(now, want.view, want.process, via, count=want.leases)

    def _answer_for(self, want: Want) -> Reply:
        if want.deliveries is not None:
            return self._endings.deliver_many(want.view, want.deliveries)
        place = want.view.first()
        assert place is not None, want
        problem = self._endings.unreadable(place) if want.plain_only else None
        return self._endings.deliver(place) if problem is None else problem

    def _find(self, number: WantId) -> tuple[Parking, Want] | None:
        for parking in (self.task_wants, self.result_wants):
            want = parking.get(number)
            if want is not None:
                return parking, want
        return None

    def _answer(self, now: Nanoseconds, parking: Parking, want: Want, reply: Reply) -> None:
        self._unpark(now, parking, want)
        self._recorder.wakes.append((want.caller, reply))

    def _unpark(self, now: Nanoseconds, parking: Parking, want: Want) -> None:
        parking.remove(want)
        self._parked -= 1
        self._deadlines.clear(Key(Due.WANT, want.id))
        if want.connection is not None:
            del self._presence.connections[want.connection].wants[want.id]
        self._liveness.unpark(now, want)
