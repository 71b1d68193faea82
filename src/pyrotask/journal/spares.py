"""Files of large values that nobody needs any more, kept to be written once more.

To write over a file that has its place on the disk is much less work for the system than to make
a new one, and than to delete the old one: nothing is laid out anew, so a sync waits for the values only,
and the memory that the system has for it is there. What stood in the file before is told from what
belongs there by the digests, wherever that could be in question.

A file that has a second name is not written over: it is somebody's copy as well, such as a backup of hard
links, or what `repair` has kept of a damaged journal.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

SPARE_BYTES = 128 << 20
"""So much of the disk may be spent for that."""

SMALLEST_BYTES = 8 << 20
"""A shorter file saves little."""

LARGEST_BYTES = 64 << 20
"""A longer one was made for a very large value: others would not use all of it."""


class Spares:
    """See the module's text. Of the flusher's thread; after a crash, they are files that nobody needs.

    One that cannot be deleted or renamed now (on Windows, while somebody reads it) stays until the journal is
    opened anew: it is no reason to stop.
    """

    def __init__(self) -> None:
        self._spares: list[Path] = []
        self._bytes = 0

    def take_on(self, paths: list[Path]) -> None:
        """Keep these files, or delete them."""
        for path in paths:
            nbytes = _usable_bytes(path)
            if SMALLEST_BYTES <= nbytes <= LARGEST_BYTES and self._bytes + nbytes <= SPARE_BYTES:
                self._spares.append(path)
                self._bytes += nbytes
            else:
                _delete(path)

    def become(self, path: Path) -> None:
        """Let one of them be that file, which is not there yet; if there is any."""
        if self._spares:
            spare = self._spares.pop()  # of the last one most is in memory
            self._bytes -= spare.stat().st_size
            if not _usable_bytes(spare):  # any more
                _delete(spare)
                return
            with contextlib.suppress(OSError):
                spare.rename(path)

    def drop(self) -> None:
        """Delete them all. Idempotent."""
        for path in self._spares:
            _delete(path)
        self._spares.clear()
        self._bytes = 0


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _usable_bytes(path: Path) -> int:
    """How much of it can be written over; 0: nothing."""
    try:
        told = path.stat()
    except FileNotFoundError:
        return 0
    return told.st_size if told.st_nlink == 1 else 0
