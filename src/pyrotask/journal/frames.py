"""How a file of a journal looks inside: a head, then frames.

The **head** says what the file is, which journal it belongs to, and a position. A **frame** is
some items in one body, with the position of the first, their number, and a checksum over all
that. The frames of a log hold events, one frame a commit; the frames of an image hold records.

A frame is whole or it is not there: a body that was cut, zeros that were laid out for what
comes, and a flipped bit all look the same here, as the end of what can be read. Whether that
end is too early is for others to say (`recovery`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from pyrotask.journal.problems import JournalTooNew
from pyrotask.journal.watching import watcher

LOG = b"pyrotask-log"
IMAGE = b"pyrotask-img"
FORMAT = 1
"""The version of heads and frames. What is in the bodies has versions of its own."""

_HEAD = struct.Struct("<12sI16sQ")
_FRAME = struct.Struct("<IQQ")  # without its checksum, which comes first
_CHECKSUM = struct.Struct("<I")
HEAD_BYTES = _HEAD.size + _CHECKSUM.size
FRAME_HEAD_BYTES = _CHECKSUM.size + _FRAME.size


class Head(NamedTuple):
    """The head of a file."""

    kind: bytes
    lineage: str
    position: int
    """Of a log: of its first event. Of an image: of the last event in it."""


class Frame(NamedTuple):
    """Some items."""

    first: int
    """The position of the first item."""
    items: int
    """How many."""
    body: bytes

    @property
    def last(self) -> int:
        """The position of the last item."""
        return self.first + self.items - 1


def pack_head(head: Head) -> bytes:
    """Encode a head."""
    return _with_checksum(_HEAD.pack(head.kind, FORMAT, head.lineage.encode("ascii"), head.position))


def pack_frame(frame: Frame) -> bytes:
    """Encode a frame."""
    return _with_checksum(_FRAME.pack(frame.items, frame.first, len(frame.body)) + frame.body)


def read_head(data: bytes) -> Head | None:
    """Decode a head; None: it is none, or a damaged one.

    Raises:
        JournalTooNew: its format is not known here.
    """
    rest = _checked(data[:HEAD_BYTES])
    if rest is None or len(rest) != _HEAD.size:
        return None
    kind, version, lineage, position = _HEAD.unpack(rest)
    if version > FORMAT:
        raise JournalTooNew(
            f"the journal's files have format {version}, and this version of pyrotask knows those up to "
            f"{FORMAT}: a later one wrote it. Install that one (pip install -U pyrotask)"
        )
    return Head(kind, lineage.rstrip(b"\0").decode("ascii", "replace"), position)


class FrameReader:
    """Reads frames, from where the file stands, up to the first that is not whole.

    Iterate over it once; then `end` is the place behind the last whole frame.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._tell_read = watcher()
        self.end = file.tell()

    def __iter__(self) -> Iterator[Frame]:
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        head = self._file.read(FRAME_HEAD_BYTES)
        if len(head) < FRAME_HEAD_BYTES:
            return None
        items, first, length = _FRAME.unpack_from(head, _CHECKSUM.size)
        # A damaged length must not make us ask for memory that there is not.
        if items == 0 or length > self._size - self.end - FRAME_HEAD_BYTES:
            return None
        body = self._file.read(length)
        checksum = zlib.crc32(body, zlib.crc32(head[_CHECKSUM.size :]))
        if len(body) < length or checksum != _CHECKSUM.unpack_from(head)[0]:
            return None
        self.end += FRAME_HEAD_BYTES + length
        if self._tell_read is not None:
            self._tell_read(FRAME_HEAD_BYTES + length)
        return Frame(first, items, body)


def _with_checksum(data: bytes) -> bytes:
    return _CHECKSUM.pack(zlib.crc32(data)) + data


def _checked(data: bytes) -> bytes | None:
    if len(data) < _CHECKSUM.size:
        return None
    rest = data[_CHECKSUM.size :]
    return rest if zlib.crc32(rest) == _CHECKSUM.unpack_from(data)[0] else None
