"""The one thread that writes a journal.

It takes all that has arrived, encodes it, writes the large values to their files and the rest as
one commit, moves the mark, and then tells those who wait; meanwhile more arrives. So a commit serves
many callers, and nobody waits for the disk who holds the broker's lock, or serves its sockets.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from pyrotask.core.events import Event
from pyrotask.errors import BrokerBroken
from pyrotask.journal.blocks import BlockWriter
from pyrotask.journal.codec import SYNCED_AT_ONCE, encode
from pyrotask.journal.compaction import Compaction
from pyrotask.journal.disk import free_bytes, is_full
from pyrotask.journal.folder import Folder
from pyrotask.journal.log import Log
from pyrotask.journal.mark import MarkFile
from pyrotask.journal.protocol import Policy
from pyrotask.journal.waiters import Waiters

log = logging.getLogger("pyrotask.journal")

COMMIT_EVENTS = 20_000
"""Events that are written at once: more would keep those who came first waiting."""

COMMIT_BYTES = 16 << 20
"""The same for bytes, as far as the last commit tells how long events are."""

LOOK_BYTES = 256 << 10
"""After so many that were written, the disk is asked again how much room there is."""

PLENTY_BYTES = 1 << 32
"""Room that no single message can fill: Pyro's cannot say that they are longer."""

RETRY_S = 0.25
"""How often a full disk is tried again, and looked at again."""


class Flusher:
    """See the module's text. Thread-safe; `start` and `close` are of one thread.

    Attributes:
        has_room: whether the disk has more room than the reserve.
        size: the bytes of all files, as far as they are known: without what is laid out ahead.
    """

    def __init__(
        self,
        folder: Folder,
        writing: Log,
        blocks: BlockWriter,
        mark: MarkFile,
        waiters: Waiters,
        policy: Policy,
        *,
        interval_s: float,
        reserve_bytes: int,
        due_bytes: int,
    ) -> None:
        self.has_room = True
        self._room_bytes = 0
        self._looked_at = 0.0
        self._shall_look = False
        self._unlooked_bytes = 0
        self._waiters = waiters
        self._folder = folder
        self._log = writing
        self._blocks = blocks
        self._mark = mark
        self._marked = writing.position
        self._policy = policy
        self._interval_s = interval_s
        self._reserve_bytes = reserve_bytes
        self._arrived: queue.SimpleQueue[Sequence[Event] | Callable[[], None] | None] = queue.SimpleQueue()
        self._errands: list[Callable[[], None]] = []
        self._compaction = Compaction(folder, self._wake, due_bytes)
        self._at_once = COMMIT_EVENTS
        self._log_bytes = sum(part.path.stat().st_size for part in folder.logs()) - writing.size
        self.size = folder.size()
        self._sync_at = float("inf")
        self._closing = threading.Event()
        self._at_end: deque[Callable[[], None]] = deque()
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="pyrotask-journal", daemon=True)

    # --- for callers --------------------------------------------------------------------

    def start(self) -> None:
        """Begin to write."""
        self._look_at_room()
        self._thread.start()

    def room_bytes(self) -> int:
        """How much more room than the reserve the disk has, by the last look at it. Does not block.

        Unless that is plenty, or the look is fresh, this has another look taken.
        """
        if self._room_bytes < PLENTY_BYTES and time.monotonic() > self._looked_at + RETRY_S:
            self._looked_at = time.monotonic()
            self._shall_look = True
            self._wake()
        return self._room_bytes

    def put(self, events: Sequence[Event]) -> None:
        """Hand over the events of a command. Does not block."""
        self._arrived.put(events)

    def afterwards(self, errand: Callable[[], None]) -> None:
        """Have that called by the journal's thread when all that was put before is on disk.

        Does not block. What it raises breaks the journal.
        """
        self._arrived.put(errand)

    def let_go(self, then: Callable[[], None]) -> None:
        """Have all written that arrived, and then ``then`` called. Does not block.

        That is called by the journal's thread, as its last act; here, if that has ended.
        """
        self._at_end.append(then)
        self._closing.set()
        self._wake()
        if self._has_ended:
            self._call_at_end()

    def close(self) -> None:
        """Wait until all is written that arrived, and the thread has ended, unless this is that thread."""
        self._closing.set()
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _wake(self) -> None:
        self._arrived.put(None)

    # --- the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not (self._closing.is_set() and self._arrived.empty()):
                self._turn()
            self._compaction.stop()
            self._sync()
            self._blocks.close()
            self._blocks.spares.drop()
            self._log.close()
            self._break(None)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may rely on this journal
            self._break(error)  # first: a disk that fails may fail again, and somebody may be waiting
            self._compaction.stop()
            for let_go in (self._blocks.close, self._log.abandon):
                with contextlib.suppress(OSError):
                    let_go()
        with contextlib.suppress(OSError):
            self._mark.close()
        self._has_ended = True
        self._call_at_end()

    def _call_at_end(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._at_end.popleft()()  # a single step: it is called here, or there

    def _turn(self) -> None:
        events = self._take()
        if events:
            self._commit(events)
            self._waiters.release(self._log.position)
            del events  # and with them what they refer to, while nothing else arrives
        if self._errands:
            self._run_errands()
        if time.monotonic() >= self._sync_at:
            self._sync()
        if self._compaction.collect():
            self.size = self._folder.size()
        if self._compaction.is_due(self._log_bytes + self._log.size) and not self._log.is_empty:
            self._begin_compaction()
        self._look_at_room_if_due()

    def _take(self) -> list[Event]:
        """All that has arrived; waits for the first of it, but not past the next thing to do."""
        events: list[Event] = []
        try:
            some = self._arrived.get(timeout=self._patience())
            while True:
                if callable(some):
                    self._errands.append(some)
                elif some is not None:
                    events += some
                if len(events) >= self._at_once:
                    return events
                some = self._arrived.get_nowait()
        except queue.Empty:
            return events

    def _patience(self) -> float | None:
        if not self.has_room:
            return RETRY_S
        if self._sync_at == float("inf"):
            return None
        return max(0.0, self._sync_at - time.monotonic())

    def _commit(self, events: list[Event]) -> None:
        nbytes = self._written(events) or self._written_when_there_is_room(events)
        self._blocks.settle()
        self.size += nbytes
        self._room_bytes -= nbytes
        self._unlooked_bytes += nbytes
        self._at_once = max(1, min(COMMIT_EVENTS, COMMIT_BYTES * len(events) // nbytes))
        if self._policy is Policy.ALWAYS:
            self._move_mark()
        elif any(type(event) in SYNCED_AT_ONCE for event in events):
            self._sync()
        elif self._policy is Policy.INTERVAL and self._sync_at == float("inf"):
            self._sync_at = time.monotonic() + self._interval_s

    def _written(self, events: list[Event]) -> int:
        """How many bytes they took; 0: the disk is full."""
        try:
            body = encode(events, self._blocks.place)
            self._blocks.write()  # first: whoever finds the commit finds what it names
            self._log.append(len(events), body)
        except OSError as error:
            if not is_full(error):
                raise
            return 0
        return len(body) + self._blocks.placed_bytes

    def _written_when_there_is_room(self, events: list[Event]) -> int:
        self.has_room = False
        self._blocks.spares.drop()
        log.error(
            "the disk of the journal %s is full; nothing is answered until there is room", self._folder.path
        )
        while True:
            if self._closing.wait(RETRY_S):
                raise OSError("the journal was closed while its disk was full")
            if nbytes := self._written(events):
                log.warning("the disk of the journal %s has room again, and it goes on", self._folder.path)
                return nbytes

    def _sync(self) -> None:
        self._sync_at = float("inf")
        if self._marked < self._log.position:
            self._blocks.sync()
            self._log.sync()
            self._move_mark()

    def _run_errands(self) -> None:
        self._sync()
        errands, self._errands = self._errands, []
        for errand in errands:
            errand()
        self.size = self._folder.size()

    def _move_mark(self) -> None:
        self._mark.write(self._log.position)
        self._marked = self._log.position

    def _begin_compaction(self) -> None:
        try:
            self._blocks.sync()
            self._log.rotate()
        except OSError as error:
            if not is_full(error):
                raise
            self._log_bytes = -self._log.size  # the next try comes when the log has grown by as much again
            return
        if self._marked < self._log.position:
            self._move_mark()
        self._log_bytes = 0
        self._compaction.start(self._log.position)

    def _look_at_room_if_due(self) -> None:
        has_grown = self._unlooked_bytes > LOOK_BYTES or self._log.needs_to_grow
        if has_grown or self._shall_look or not self.has_room:
            self._look_at_room()

    def _look_at_room(self) -> None:
        self._shall_look = False
        self._looked_at = time.monotonic()
        self._unlooked_bytes = 0
        self._room_bytes = free_bytes(self._folder.path) - self._reserve_bytes
        self.has_room = self._room_bytes > 0
        if not self.has_room:
            self._blocks.spares.drop()  # the next look finds what that has brought

    # --- the end ------------------------------------------------------------------------

    def _break(self, error: Exception | None) -> None:
        if error is None:
            broken = BrokerBroken(f"the journal {self._folder.path} is closed")
        else:
            broken = BrokerBroken(
                f"the journal {self._folder.path} cannot be written any more: {error!r}. Everything up to "
                f"event {self._marked} is on disk. The broker has stopped; look after the disk, then start "
                "it again"
            )
            broken.__cause__ = error
        if error is not None:
            log.critical("%s", broken, exc_info=error)
        self._waiters.give_up(broken)
