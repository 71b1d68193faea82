"""Images of the state on disk.

An image is the fold of the journal up to a position. It counts from the moment it gets its
name, which is after it is on disk. Writing that was interrupted leaves a file that nobody
reads.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pyrotask.core.model import Nanoseconds
from pyrotask.core.state import DurableState
from pyrotask.journal.codec import HomeOf, pack, unpack
from pyrotask.journal.disk import sync_descriptor, sync_folder
from pyrotask.journal.folder import Folder, Part
from pyrotask.journal.frames import (
    HEAD_BYTES,
    IMAGE,
    Frame,
    FrameReader,
    Head,
    pack_frame,
    pack_head,
    read_head,
)
from pyrotask.journal.image import Record, records_of, state_of
from pyrotask.journal.problems import JournalDamaged

_RECORDS_A_FRAME = 500
_END = "end"


class Loaded(NamedTuple):
    """What an image says."""

    state: DurableState
    last_at: Nanoseconds
    """The last core time of the events in it."""


def write_image(
    folder: Folder, lineage: str, position: int, state: DurableState, last_at: Nanoseconds
) -> Path:
    """Write an image; on disk on return, whole or not at all."""
    image = folder.image_at(position)
    unfinished = folder.unfinished(image)
    with unfinished.open("wb") as file:
        unfinished.chmod(0o600)  # users' values are in it
        file.write(pack_head(Head(IMAGE, lineage, position)))
        _write_frames(file, itertools.chain(records_of(state), [(_END, last_at)]))
        file.flush()
        sync_descriptor(file.fileno())
    unfinished.replace(image)
    sync_folder(folder.path)
    return image


def read_image(part: Part, lineage: str, home_of: HomeOf, *, without_head: bool = False) -> Loaded:
    """Read an image. ``home_of`` finds the files of its blocks.

    ``without_head``: also if nothing can be read of its head. What is behind has checksums of its own,
    and an end.

    Raises:
        JournalDamaged: it is not whole, or belongs to another journal.
    """
    with part.path.open("rb") as file:
        head = read_head(file.read(HEAD_BYTES))
        if head != (IMAGE, lineage, part.position) and not (without_head and head is None):
            raise JournalDamaged(f"the head of {part.path} is damaged, or it belongs to another journal", 0)
        reading = _Records(file, part.path, home_of)
        return Loaded(state_of(reading), reading.last_at)


class _Records:
    """The records of an image, up to the last one, which says that it is whole."""

    def __init__(self, file: BinaryIO, path: Path, home_of: HomeOf) -> None:
        self._file = file
        self._home_of = home_of
        self._path = path
        self.last_at: Nanoseconds = 0

    def __iter__(self) -> Iterator[Record]:
        frames = FrameReader(self._file, self._path.stat().st_size)
        read = 0
        for frame in frames:
            if frame.first != read + 1:
                break
            read = frame.last
            for record in unpack(frame.body, self._home_of):
                if record[0] == _END:
                    self.last_at = record[1]
                    return
                yield record
        raise JournalDamaged(f"the image {self._path} is damaged at byte {frames.end}", 0)


def _write_frames(file: BinaryIO, records: Iterable[Record]) -> None:
    records, first = iter(records), 1
    while batch := list(itertools.islice(records, _RECORDS_A_FRAME)):
        file.write(pack_frame(Frame(first, len(batch), pack(batch))))
        first += len(batch)
