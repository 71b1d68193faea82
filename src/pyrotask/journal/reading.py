"""Reading the logs of a journal, event by event, with a proof that none is missing.

Each commit must begin where the one before ended. A log ends at the first frame that is not
whole; the next log says by its name where it must have ended. Where the last one must have
ended, only the mark knows: see `recovery`.

Nothing here writes, and no lock is needed: the logs of a running broker can be read, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pyrotask.core.events import Event
from pyrotask.journal.blocks import BlockFiles
from pyrotask.journal.codec import Decoder, HomeOf, blocks_in
from pyrotask.journal.folder import Folder, Part
from pyrotask.journal.frames import HEAD_BYTES, LOG, Frame, FrameReader, read_head
from pyrotask.journal.problems import JournalDamaged, what_to_do

_SEARCHED_BYTES = 1 << 16


class Commit(NamedTuple):
    """Events that became durable together."""

    first: int
    """The position of the first of them."""
    events: list[Event]


class Place(NamedTuple):
    """Where a log ends."""

    path: Path
    offset: int
    unread_bytes: int
    """What stands behind that, without the zeros that were laid out at the end."""


class LogReader:
    """Reads what follows an event, up to the end of the last log.

    Iterate over it once.

    Args:
        folder: of the journal.
        lineage: of the same.
        after: the position behind which it begins.
        home_of: finds the files of blocks.
        proven: up to that position, all is known to be on disk. Behind it, a commit whose blocks
            cannot be read was never completed. None: that is nothing to judge by.

    Attributes:
        position: of the last event read so far.
        end: where the last log ends, once it was reached; None: there is no log.
    """

    def __init__(
        self,
        folder: Folder,
        lineage: str,
        after: int,
        home_of: HomeOf | None = None,
        proven: int | None = None,
    ) -> None:
        self._folder = folder
        self._lineage = lineage
        self._home_of: HomeOf = home_of or BlockFiles(folder)
        self._decoder = Decoder(home_of=self._home_of)
        self._proven = proven
        self.position = after
        self.end: Place | None = None

    def __iter__(self) -> Iterator[Commit]:
        logs = _behind(self._folder.logs(), self.position)
        for log in logs:
            if log.position > self.position + 1:
                raise self._gap(log)
            yield from self._read(log)

    def damage(self, why: str) -> JournalDamaged:
        """Say that the reading had to end too early."""
        where = f" ({self.end.path.name}, byte {self.end.offset})" if self.end is not None else ""
        return JournalDamaged(
            f"the journal {self._folder.path} is damaged: it can be read up to event {self.position}{where}, "
            f"but {why}. Nothing was changed. {what_to_do(self._folder.path)}",
            self.position,
        )

    def _read(self, log: Part) -> Iterator[Commit]:
        size = log.path.stat().st_size
        with log.path.open("rb") as file:
            head = read_head(file.read(HEAD_BYTES))
            if head is None:
                self.end = Place(log.path, 0, size)
                return
            if head != (LOG, self._lineage, log.position):
                raise self.damage(f"{log.path.name} belongs to another journal, or was renamed")
            frames, end = FrameReader(file, size), HEAD_BYTES
            for frame in frames:
                if not log.position <= frame.first <= self.position + 1:
                    raise self.damage(f"what follows is event {frame.first}")
                if not self._is_backed(frame):
                    break
                end = frames.end
                self.end = Place(log.path, end, 0)
                if frame.last > self.position:
                    yield self._decoded(frame)
            self.end = Place(log.path, end, _bytes_behind(log.path, end))

    def _is_backed(self, frame: Frame) -> bool:
        """Whether the blocks of a commit are there, if that is not known."""
        if self._proven is None or frame.last <= self._proven:
            return True
        try:
            for block in blocks_in(frame.body, self._home_of):
                block.read()
        except JournalDamaged:
            return False
        return True

    def _decoded(self, frame: Frame) -> Commit:
        events = self._decoder.decode(frame.body)
        if len(events) != frame.items:
            raise self.damage(f"a commit of {frame.items} events has {len(events)}")
        known = self.position + 1 - frame.first
        self.position = frame.last
        return Commit(frame.first + known, events[known:])

    def _gap(self, log: Part) -> JournalDamaged:
        return self.damage(f"the next log, {log.path.name}, begins with event {log.position}")


def _behind(logs: list[Part], position: int) -> list[Part]:
    """The logs that have, or may have, what follows that event."""
    starts = [index for index, log in enumerate(logs) if log.position <= position + 1]
    return logs[starts[-1] :] if starts else logs


def _bytes_behind(path: Path, offset: int) -> int:
    """The bytes from there on, up to the last that is not zero."""
    with path.open("rb") as file:
        file.seek(offset)
        last = 0
        read = 0
        while block := file.read(_SEARCHED_BYTES):
            stripped = len(block.rstrip(b"\0"))
            if stripped:
                last = read + stripped
            read += len(block)
    return last
