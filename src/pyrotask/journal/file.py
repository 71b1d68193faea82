"""The journal on disk: a folder of files of our own.

Why no database: a commit of one event here takes the time of two syncs, one for the log and one
for the mark, and SQLite's takes as long without the mark; SQLite's write-ahead log ends at a
damaged page without a word, so it would need the mark as well; it does not work on network file
systems, where the home directories of clusters are; and its writers block each other, so that a
snapshot would stop the commits for as long as it is written. ``benchmarks/journal.py`` measures
both. What is here instead is a log that is only ever appended to, images that get their names when
they are whole, and files of large values, which are written once and never moved (`blocks`).
"""

from __future__ import annotations

import functools
import secrets
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pyrotask.core.events import Event
from pyrotask.core.model import Nanoseconds
from pyrotask.core.state import DurableState
from pyrotask.errors import BrokerBroken
from pyrotask.journal.blocks import FILE_BYTES, BlockFiles, BlockWriter
from pyrotask.journal.compaction import DUE_BYTES, is_overdue, remove_covered
from pyrotask.journal.disk import sync_folder
from pyrotask.journal.flusher import Flusher
from pyrotask.journal.folder import LOCK, MARK, Folder
from pyrotask.journal.lock import FolderLock
from pyrotask.journal.log import Log, end_log
from pyrotask.journal.mark import MarkFile
from pyrotask.journal.problems import JournalDamaged, JournalError
from pyrotask.journal.protocol import Policy, Ticket
from pyrotask.journal.reading import Commit
from pyrotask.journal.recent import OWN_BYTES, SHARED_BYTES, Recent
from pyrotask.journal.recovery import Folded, commits, fold
from pyrotask.journal.snapshot import write_image
from pyrotask.journal.spares import Spares
from pyrotask.journal.waiters import Waiters

INTERVAL_S = 1.0
"""How long `Policy.INTERVAL` leaves events to the operating system."""

RESERVE_BYTES = 16 << 20
"""Room on the disk that new submits do not get: it is for the answers to the old ones."""


class Opened(NamedTuple):
    """A journal that was opened, and what it said."""

    journal: FileJournal
    state: DurableState
    """As it was after the last event. It is the caller's now."""
    last_at: Nanoseconds
    """The last core time in it: the clock goes on from there (`SystemClock(not_before=...)`)."""
    replayed: int
    """Events that were applied one by one; the others came with an image."""
    dropped_bytes: int
    """What a killed broker left of a commit that nobody was told of. It was cut off."""


def open_journal(
    path: Path | str,
    policy: Policy = Policy.ALWAYS,
    *,
    interval_s: float = INTERVAL_S,
    reserve_bytes: int = RESERVE_BYTES,
    due_bytes: int = DUE_BYTES,
    file_bytes: int = FILE_BYTES,
    recent_bytes: int = OWN_BYTES,
    recent_shared_bytes: int = SHARED_BYTES,
) -> Opened:
    """Open a journal for writing, or make one, and read what is in it.

    Blocks while it reads: about six seconds for a million waiting tasks.

    Args:
        path: its folder; made when there is none.
        policy: when an event counts as durable.
        interval_s: with `Policy.INTERVAL`, how often the disk is asked.
        reserve_bytes: free room below which `FileJournal.has_room` is False.
        due_bytes: how long the logs may grow until they are compacted.
        file_bytes: how long a file of large values may grow until the next one is begun.
        recent_bytes: how much of the large values stays in our memory for a while after it was written.
        recent_shared_bytes: the same for memory of clients; see `pyrotask.journal.recent`.

    Raises:
        JournalHeld: another broker writes to it; the message says which.
        JournalDamaged: something that was acknowledged cannot be read; with its position.
        JournalTooNew: a later version of pyrotask wrote it.
        JournalError: the folder has other things in it.
        OSError: the folder cannot be made or written.
    """
    folder = Folder(Path(path).absolute())
    _make_folder(folder)
    lock = FolderLock(folder.lock)
    try:
        folder.remove_unfinished()
        if not folder.is_journal():
            _make_journal(folder)
        files = BlockFiles(folder)
        folded = fold(folder, files=files)
        recent = Recent(recent_bytes, recent_shared_bytes)
        writer = BlockWriter(folder, files, recent, synced=policy is Policy.ALWAYS, file_bytes=file_bytes)
        journal = _begin_run(
            folder, lock, folded, files, writer, policy, interval_s, reserve_bytes, due_bytes
        )
    except BaseException:
        lock.close()
        raise
    replayed = folded.position - folded.image_position
    dropped = folded.end.unread_bytes if folded.end is not None else 0
    return Opened(journal, folded.state, folded.last_at, replayed, dropped)


class FileJournal:
    """A journal on disk. Made by `open_journal`; see `protocol.Journal` for what it promises."""

    keeps_blocks = True

    def __init__(
        self,
        folder: Folder,
        lock: FolderLock,
        lineage: str,
        policy: Policy,
        files: BlockFiles,
        spares: Spares,
        flusher: Flusher,
        waiters: Waiters,
    ) -> None:
        self.path = folder.path
        self.policy = policy
        self._folder = folder
        self._lineage = lineage
        self._unneeded = files.unneeded
        self._take_back = spares.take_on
        self._flusher = flusher
        self._waiters = waiters
        self._newest = waiters.durable
        # Also when nobody calls it: a journal that nobody can reach any more must let go. That may turn out
        # in the middle of anything, so nobody waits for it then; but the interpreter's end does.
        self._let_go = weakref.finalize(self, flusher.let_go, lock.close)
        self._let_go.atexit = False
        weakref.finalize(flusher, _close_at_exit, weakref.ref(flusher))

    @property
    def lineage(self) -> str:
        """The name of this history."""
        return self._lineage

    @property
    def newest(self) -> Ticket:
        """The ticket of the last append."""
        return Ticket(self._newest)

    @property
    def durable(self) -> Ticket:
        """The last ticket that is as durable as the policy says."""
        return Ticket(self._waiters.durable)

    @property
    def has_room(self) -> bool:
        """Whether the disk has more room than the reserve."""
        return self._flusher.has_room

    @property
    def room_bytes(self) -> float:
        """How much of the disk is free beyond the reserve, as far as it is known."""
        return self._flusher.room_bytes()

    @property
    def size(self) -> int:
        """The bytes of all its files, about: kept as a number, so asking for it is cheap."""
        return self._flusher.size

    def append(self, events: Sequence[Event]) -> Ticket:
        """Take the events on; the list must not be changed afterwards."""
        if self._waiters.broken is not None:
            raise self._waiters.broken
        self._newest += len(events)
        self._flusher.put(events)
        if self._unneeded:
            # What made them so has been appended by now: at the latest, it is in these events.
            self._flusher.afterwards(functools.partial(self._take_back, _taken(self._unneeded)))
        return Ticket(self._newest)

    def on_durable(self, ticket: Ticket, call: Callable[[], None]) -> None:
        """Call ``call`` once the ticket is durable."""
        if ticket <= self._waiters.durable:
            call()
        else:
            self._waiters.park(ticket, call)

    def on_broken(self, call: Callable[[BrokerBroken], None]) -> None:
        """Call ``call`` when the journal cannot go on. Closing it is not that."""
        self._waiters.tell_broken(call)

    def wait(self, ticket: Ticket) -> None:
        """Block until the ticket is durable."""
        if ticket <= self._waiters.durable:
            return
        gate = threading.Lock()
        gate.acquire()
        self._waiters.park(ticket, gate.release, gate.release)
        gate.acquire()
        if self._waiters.durable < ticket and self._waiters.broken is not None:
            raise self._waiters.broken

    def read(self, after: int = 0) -> Iterator[Commit]:
        """Read the durable events behind a position, as far as no image has taken their place."""
        return commits(self._folder, after)

    def close(self) -> None:
        """Make everything durable, and let go. Idempotent; blocks for the disk."""
        self._let_go()
        self._flusher.close()


def _close_at_exit(flusher: weakref.ref[Flusher]) -> None:
    if (writing := flusher()) is not None:
        writing.close()


def _taken(paths: deque[Path]) -> list[Path]:
    return [paths.popleft() for _ in range(len(paths))]


def _stop(damage: JournalDamaged) -> None:
    raise damage


def _make_folder(folder: Folder) -> None:
    path = folder.path
    if not path.is_dir():
        missing = [path, *(parent for parent in path.parents if not parent.exists())]
        path.mkdir(mode=0o700, parents=True)
        for made in missing:
            sync_folder(made.parent)
    elif not folder.is_journal() and (others := sorted({p.name for p in path.iterdir()} - {LOCK, MARK})):
        raise JournalError(
            f"{path} is no journal, and has other things in it ({others[0]!r}, ...): a journal is a folder "
            f"of its own, such as {path / 'journal'}"
        )


def _compact(folder: Folder, folded: Folded) -> None:
    try:
        write_image(folder, folded.lineage, folded.position, folded.state, folded.last_at)
    except OSError:  # as on a full disk: it is whole without an image, only longer
        folder.remove_unfinished()
    else:
        remove_covered(folder)


def _make_journal(folder: Folder) -> None:
    mark = MarkFile(folder.mark, secrets.token_hex(8), turn=0)
    try:
        mark.write(0)
        mark.write(0)  # both slots: the file has its size now
    finally:
        mark.close()
    sync_folder(folder.path)


def _begin_run(
    folder: Folder,
    lock: FolderLock,
    folded: Folded,
    files: BlockFiles,
    writer: BlockWriter,
    policy: Policy,
    interval_s: float,
    reserve_bytes: int,
    due_bytes: int,
) -> FileJournal:
    """Cut off what a killed broker left, and begin a new log."""
    assert folded.mark is not None, folder.path  # or it would have been refused
    if folded.end is not None:
        end_log(folded.end.path, folded.end.offset)
    for image in folder.images():
        if image.position > folded.image_position:  # damaged, while all that it had is still here
            image.path.unlink()
    remove_covered(folder)
    files.unneeded.clear()  # of these, some were needed again, by an event that came later
    for leftover in files.leftovers():
        leftover.unlink(missing_ok=True)
    mark = MarkFile(folder.mark, folded.lineage, folded.mark.turn)
    mark.write(folded.position)  # whoever was not told of the last commits can rely on them now
    overdue = folded.position > folded.image_position and is_overdue(folder, due_bytes)
    writing = Log(folder, folded.lineage, folded.position, synced=policy is Policy.ALWAYS)
    if overdue:
        _compact(folder, folded)
    waiters = Waiters(folded.position)
    flusher = Flusher(
        folder,
        writing,
        writer,
        mark,
        waiters,
        policy,
        interval_s=interval_s,
        reserve_bytes=reserve_bytes,
        due_bytes=due_bytes,
    )
    files.on_damage = lambda damage: flusher.afterwards(functools.partial(_stop, damage))
    flusher.start()
    return FileJournal(folder, lock, folded.lineage, policy, files, writer.spares, flusher, waiters)
