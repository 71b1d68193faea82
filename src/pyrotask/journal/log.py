"""The log that is being written: the newest events, one frame a commit.

Zeros are laid out ahead of what is written, so that a sync has no change of the file's size
to write as well, which halves its time, and so that some room is there when the disk is full.
"""

from __future__ import annotations

from pathlib import Path

from pyrotask.journal.disk import WritableFile, is_full, sync_folder
from pyrotask.journal.folder import Folder
from pyrotask.journal.frames import HEAD_BYTES, LOG, Frame, Head, pack_frame, pack_head

LAID_OUT_BYTES = 1 << 20
"""Zeros written at once: enough that it is done rarely, little enough to take a millisecond."""


class Log:
    """Appends to the newest log, and begins the next. Of one thread at a time.

    A call that raises because the disk is full (`disk.is_full`) has changed nothing, and may
    be repeated. After any other `OSError`, stop.

    Attributes:
        position: of the last event written.
        size: of this log, in bytes, without what is laid out.
    """

    def __init__(self, folder: Folder, lineage: str, position: int, *, synced: bool) -> None:
        """``position``: of the last event there is. ``synced``: whether `append` syncs."""
        self._folder = folder
        self._lineage = lineage
        self._synced = synced
        self.position = position
        self.size = 0
        self._laid_out = 0
        self._file = self._begin()

    @property
    def is_empty(self) -> bool:
        """Whether this log has no event."""
        return self.size == HEAD_BYTES

    @property
    def needs_to_grow(self) -> bool:
        """Whether the next small commit may not fit into what is laid out."""
        return self.size + LAID_OUT_BYTES // 4 > self._laid_out

    def append(self, count: int, body: bytes) -> None:
        """Write a commit of ``count`` events. On disk on return, if synced."""
        frame = pack_frame(Frame(self.position + 1, count, body))
        if self.size + len(frame) > self._laid_out and len(frame) < LAID_OUT_BYTES:
            self._lay_out()
        self._file.write(frame, self.size)
        self.size += len(frame)
        self._laid_out = max(self._laid_out, self.size)
        self.position += count

    def sync(self) -> None:
        """Wait until the disk has all that was appended."""
        self._file.sync()

    def rotate(self) -> None:
        """End this log, and begin the next. All that was appended is on disk on return."""
        # The old one first: the next one's first position says that the old one is complete.
        self._file.sync()
        ended, size = self._file, self.size
        self._file = self._begin()
        _end(ended, size)

    def close(self) -> None:
        """End this log. All that was appended is on disk on return."""
        _end(self._file, self.size)
        if self.is_empty:
            self._file.path.unlink()

    def abandon(self) -> None:
        """Leave this log as it is."""
        self._file.close()

    def _begin(self) -> WritableFile:
        path = self._folder.log_from(self.position + 1)
        file = WritableFile(path, synced=self._synced)
        try:
            file.write(pack_head(Head(LOG, self._lineage, self.position + 1)), 0)
            file.sync()
            sync_folder(self._folder.path)
        except OSError as error:
            file.close()
            path.unlink(missing_ok=True)
            raise OSError(*error.args) from error  # also a failed sync: nobody relies on this file yet
        self.size = self._laid_out = HEAD_BYTES
        return file

    def _lay_out(self) -> None:
        try:
            self._file.write(bytes(LAID_OUT_BYTES), self._laid_out)
        except OSError as error:
            if not is_full(error):
                raise
            # The commit itself may still fit; if it does not, its own write says so.
        else:
            self._laid_out += LAID_OUT_BYTES


def end_log(path: Path, size: int) -> None:
    """Cut what stands behind the last commit of a log that nobody writes. On disk on return."""
    _end(WritableFile(path, synced=False), size)


def _end(file: WritableFile, size: int) -> None:
    try:
        file.truncate(size)
        file.sync()
    finally:
        file.close()
