"""The files of a journal: where they are, and which of them are needed.

A journal is a folder:

    lock                          held by the one broker that writes; says who that is
    mark                          how far everything is on disk (`mark`)
    00000000000000000001.log      events, from that position on (`log`)
    00000000000000048210.image    the state after that position (`snapshot`)
    00000000000000000007.blocks   large values, in the order in which they came (`blocks`)

What the newest image covers is deleted, log by log.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import NamedTuple

from pyrotask.journal.mark import read_mark

LOCK = "lock"
MARK = "mark"
_DIGITS = 20
_LOG = ".log"
_IMAGE = ".image"
_BLOCKS = ".blocks"
_UNFINISHED = ".unfinished"


class Part(NamedTuple):
    """A log, an image, or a file of blocks."""

    position: int
    """Of a log: of its first event. Of an image: of the last event in it. Of blocks: a number."""
    path: Path


class Folder:
    """Where the files of a journal are. Nothing is kept in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path / LOCK
        self.mark = path / MARK

    def log_from(self, position: int) -> Path:
        """The log whose first event has that position."""
        return self.path / f"{position:0{_DIGITS}d}{_LOG}"

    def image_at(self, position: int) -> Path:
        """The image of the state after that position."""
        return self.path / f"{position:0{_DIGITS}d}{_IMAGE}"

    def blocks_file(self, number: int) -> Path:
        """The file of blocks with that number."""
        return self.path / f"{number:0{_DIGITS}d}{_BLOCKS}"

    def unfinished(self, image: Path) -> Path:
        """Where that image is written, before it is whole."""
        return image.with_suffix(_UNFINISHED)

    def logs(self) -> list[Part]:
        """All logs, the oldest first."""
        return self._parts(_LOG)

    def images(self) -> list[Part]:
        """All images, the oldest first."""
        return self._parts(_IMAGE)

    def blocks(self) -> list[Part]:
        """All files of blocks, the oldest first."""
        return self._parts(_BLOCKS)

    def is_journal(self) -> bool:
        """Whether there is a journal here, whole or not."""
        # A mark without a whole slot, and nothing else, is what was killed while it was made.
        return bool(self.logs()) or bool(self.images()) or read_mark(self.mark) is not None

    def covered(self) -> list[Path]:
        """What the newest image makes superfluous, the oldest first."""
        images = self.images()
        if not images:
            return []
        newest = images[-1].position
        logs = self.logs()
        ends = [following.position - 1 for following in logs[1:]]
        old_logs = [log.path for log, end in zip(logs, ends, strict=False) if end <= newest]
        return [*old_logs, *(image.path for image in images[:-1])]

    def remove_unfinished(self) -> None:
        """Delete what a helper left that was killed."""
        for part in self._parts(_UNFINISHED):
            part.path.unlink(missing_ok=True)

    def size(self) -> int:
        """The bytes of all files together. Others may delete and rename some meanwhile."""
        return sum(map(_bytes_of, self.path.iterdir()))

    def bytes_to_read(self) -> int:
        """About how many bytes a reading of the journal takes; 0 if there is none."""
        parts = [*self.images()[-1:], *self.logs()]
        return sum(_bytes_of(part.path) for part in parts)

    def _parts(self, suffix: str) -> list[Part]:
        paths = self.path.glob(f"*{suffix}")
        ours = [path for path in paths if len(path.stem) == _DIGITS and path.stem.isdecimal()]
        return sorted(Part(int(path.stem), path) for path in ours)


def _bytes_of(path: Path) -> int:
    """The size of a file; of what is none (any more), 0."""
    try:
        told = path.stat()
    except FileNotFoundError:
        return 0
    return told.st_size if stat.S_ISREG(told.st_mode) else 0
