"""The tasks that a child has leased and not begun: whoever takes one out of the tray has it.

The tray is a pipe with a record for each of these tasks. The child takes one out before it
begins it. When what it runs turns out long, its supervisor takes out all that is left, and
gives that back to the broker, for others to run. So no task is ever both begun and given back,
whatever the child is doing at that moment.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
from collections.abc import Iterable

MOST = 128
"""The most tasks in a tray: 2 kB, which a pipe takes at once or not at all."""

Lease = tuple[int, int]
"""Task and attempt."""

_RECORD = struct.Struct("<qq")


class Tray:
    """See the module's text. No call blocks.

    Args:
        reading, writing: the two ends of the pipe, as inherited; None: make a new one.
    """

    def __init__(self, reading: int | None = None, writing: int | None = None) -> None:
        if reading is None or writing is None:
            reading, writing = os.pipe()
        self.reading, self.writing = reading, writing
        for end in (reading, writing):
            os.set_blocking(end, False)
            os.set_inheritable(end, False)

    def put(self, leases: Iterable[Lease]) -> None:
        """Put these in, at most `MOST`, behind those that are there."""
        records = b"".join([_RECORD.pack(*lease) for lease in leases])
        if records:
            os.write(self.writing, records)

    def take(self) -> Lease | None:
        """Take out the next one; None: there is none (any more)."""
        try:
            record = os.read(self.reading, _RECORD.size)
        except BlockingIOError:
            return None
        task, attempt = _RECORD.unpack(record)
        return task, attempt

    def take_all(self) -> list[Lease]:
        """Take out all that is left."""
        records = b""
        with contextlib.suppress(BlockingIOError):
            records = os.read(self.reading, MOST * _RECORD.size)
        return [(task, attempt) for task, attempt in _RECORD.iter_unpack(records)]

    def is_empty(self) -> bool:
        """Whether there is nothing in it at this moment."""
        poll = select.poll()  # other than select, it takes descriptors of any number
        poll.register(self.reading, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close both ends, in this process."""
        os.close(self.reading)
        os.close(self.writing)
