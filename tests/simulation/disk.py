"""The journal of a simulated broker: what it promises, and what a crash leaves of it.

Events become durable some time after they were appended, a commit at a time. When the broker is
killed, what was not written is lost; when the power fails, what was not synced may be, from the
end on. A new run begins with the fold of what is left; now and then a prefix of it has been
replaced by an image, and the events have gone through the codec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyrotask.core.events import Event
from pyrotask.core.state import DurableState
from pyrotask.journal import Policy
from pyrotask.journal.codec import SYNCED_AT_ONCE, Decoder, encode, pack, unpack
from pyrotask.journal.image import records_of, state_of
from tests.simulation.loop import Loop


class Disk:
    """The files, which outlive the broker."""

    def __init__(self) -> None:
        self.image: list[object] = []
        """The records of the prefix that was compacted; empty: there is none."""
        self.commits: list[list[Event]] = []
        self.synced = 0
        """How many of the commits no power failure can take."""

    def fold(self, more: Sequence[Event] = ()) -> DurableState:
        """The state that all of it adds up to, and these events after it."""
        state = state_of(unpack(pack([*self.image]))) if self.image else DurableState()
        for commit in self.commits:
            for event in commit:
                state.apply(event)
        for event in more:
            state.apply(event)
        return state

    def fail(self, loop: Loop) -> int:
        """The power is gone: keep what was synced, and some of the rest. Returns what is lost."""
        keep = loop.random.randint(self.synced, len(self.commits))
        lost = len(self.commits) - keep
        del self.commits[keep:]
        return lost

    def compact(self) -> None:
        """Replace all that is there by an image of it."""
        state = self.fold()
        self.image = [*records_of(state)]
        self.commits, self.synced = [], 0
        assert self.fold().image() == state.image(), "an image is not what it is an image of"

    def recode(self) -> None:
        """Write and read all that is there."""
        decoder = Decoder()
        self.commits = [decoder.decode(encode(commit)) for commit in self.commits]


class Journal:
    """One run's journal. The same promises as `pyrotask.journal.Journal`, in virtual time."""

    def __init__(self, loop: Loop, disk: Disk, policy: Policy, *, acknowledges_at_once: bool) -> None:
        self._loop = loop
        self._disk = disk
        self._slowest_s = loop.random.choice((0.005, 0.05, 0.5))
        self._sync_every_s = loop.random.choice((0.5, 2.0, 10.0))
        self._policy = policy
        self._acknowledges_at_once = acknowledges_at_once
        """A planted defect: replies do not wait for the disk."""
        self.pending: list[Event] = []
        """Appended, and not written: a kill takes these."""
        self.newest = 0
        self._durable = 0
        self._waiters: list[tuple[int, Callable[[], None]]] = []
        self._is_busy = False
        self._is_dead = False
        if policy is not Policy.ALWAYS:
            loop.after(self._sync_every_s, self._sync)

    def append(self, events: Sequence[Event]) -> int:
        """Take them on; returns their ticket."""
        self.newest += len(events)
        self.pending += events
        if not self._is_busy:
            self._is_busy = True
            self._loop.after(self._loop.between(0.0001, self._slowest_s), self._write)
        return self.newest

    def on_durable(self, ticket: int, call: Callable[[], None]) -> None:
        """Call it when the ticket is durable."""
        if ticket <= self._durable or self._acknowledges_at_once:
            call()
        else:
            self._waiters.append((ticket, call))

    def die(self) -> None:
        """The broker is gone."""
        self._is_dead = True

    def _write(self) -> None:
        if self._is_dead:
            return
        disk, commit = self._disk, self.pending
        disk.commits.append(commit)
        self._durable += len(commit)
        self.pending = []
        if self._policy is Policy.ALWAYS or not SYNCED_AT_ONCE.isdisjoint(map(type, commit)):
            disk.synced = len(disk.commits)
        self._is_busy = False
        ready = [call for ticket, call in self._waiters if ticket <= self._durable]
        self._waiters = [waiter for waiter in self._waiters if waiter[0] > self._durable]
        for call in ready:
            call()

    def _sync(self) -> None:
        if not self._is_dead:
            self._disk.synced = len(self._disk.commits)
            self._loop.after(self._sync_every_s, self._sync)
