"""The mark: how far the journal is known to be on disk, kept outside of the files that it guards.

A log that was cut, or damaged near its end, looks like one whose last commits were never
written. The mark tells the two apart: it is written after the log was synced and before
anybody is told that an event is durable, so a log that ends before the mark has lost
something that was acknowledged.

It is a file of two slots, each with a checksum, written in turn: when writing one is
interrupted, the other still stands, and is one commit older. Writing it takes no new room.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from pyrotask.journal.disk import WritableFile
from pyrotask.journal.frames import FORMAT
from pyrotask.journal.problems import JournalTooNew

SLOT_BYTES = 4096
"""A slot to a page: disks write no less at once, and so do not damage its neighbour."""

_MAGIC = b"pyrotask-mrk"
_SLOT = struct.Struct("<12sI16sQQ")
_CHECKSUM = struct.Struct("<I")


class Mark(NamedTuple):
    """What a slot says."""

    lineage: str
    turn: int
    """Counts the writes; the slot with the greater one is the newer."""
    position: int
    """Up to this event, everything is on disk."""


class MarkFile:
    """The mark of an open journal. Of one thread at a time."""

    def __init__(self, path: Path, lineage: str, turn: int) -> None:
        """``turn`` is that of the newest mark there, 0 if there is none."""
        self._file = WritableFile(path, synced=True)
        self._lineage = lineage
        self._turn = turn

    def write(self, position: int) -> None:
        """Put the mark there. On disk on return."""
        self._turn += 1
        data = _SLOT.pack(_MAGIC, FORMAT, self._lineage.encode("ascii"), self._turn, position)
        slot = (data + _CHECKSUM.pack(zlib.crc32(data))).ljust(SLOT_BYTES, b"\0")
        self._file.write(slot, self._turn % 2 * SLOT_BYTES)

    def close(self) -> None:
        """Let go."""
        self._file.close()


def read_mark(path: Path) -> Mark | None:
    """Read the newest mark; None: there is no file, or no whole slot in it."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    slots = (_read_slot(data[start : start + SLOT_BYTES]) for start in (0, SLOT_BYTES))
    return max((slot for slot in slots if slot is not None), key=lambda mark: mark.turn, default=None)


def _read_slot(slot: bytes) -> Mark | None:
    data, checksum = slot[: _SLOT.size], slot[_SLOT.size : _SLOT.size + _CHECKSUM.size]
    if checksum != _CHECKSUM.pack(zlib.crc32(data)):
        return None
    magic, version, lineage, turn, position = _SLOT.unpack(data)
    if magic != _MAGIC:
        return None
    if version > FORMAT:
        raise JournalTooNew(
            f"the journal's mark has format {version}, and this version of pyrotask knows those up to "
            f"{FORMAT}: a later one wrote it. Install that one (pip install -U pyrotask)"
        )
    return Mark(lineage.rstrip(b"\0").decode("ascii", "replace"), turn, position)
