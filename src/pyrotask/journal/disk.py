"""The few things that journals ask of a disk, with what each system has for them.

What is here either is done when it returns, or raises `OSError`. After a failed sync nobody
knows what is on the disk, and asking again does not help: the caller must stop, also if it failed
for want of room (`SyncFailed`). `is_full` tells the one error after which it may go on.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

_SYNCED_WRITES = getattr(os, "O_DSYNC", 0) if sys.platform == "linux" else 0
# macOS: fsync gives the data to the drive, which may keep it in its cache.
_FULL_SYNC = 51 if sys.platform == "darwin" else None
_BINARY = getattr(os, "O_BINARY", 0)
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class SyncFailed(OSError):
    """A sync failed. The system may forget what it could not write, and the next sync says nothing of it."""


class WritableFile:
    """A file that is written at given places.

    Args:
        path: made, when there is none.
        synced: whether each write is on the disk when it returns; else only after `sync`.
    """

    def __init__(self, path: Path, *, synced: bool) -> None:
        self.path = path
        # One call for write and sync: each call costs this thread its turn in the interpreter.
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY | (_SYNCED_WRITES if synced else 0), 0o600)
        self._sync_after_write = synced and not _SYNCED_WRITES

    def write(self, data: bytes | memoryview, offset: int) -> None:
        """Write all of it. After an error, any part of it may have been written."""
        os.lseek(self._fd, offset, os.SEEK_SET)
        left = memoryview(data)
        while left:
            left = left[os.write(self._fd, left) :]
        if self._sync_after_write:
            self.sync()

    def sync(self) -> None:
        """Wait until the disk has all that was written."""
        sync_descriptor(self._fd)

    def truncate(self, size: int) -> None:
        """Cut it there."""
        os.truncate(self._fd, size)

    def close(self) -> None:
        """Let go. Nothing is synced. Idempotent, also after an error: another file may have its number."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)


def read_at(path: Path, offset: int, nbytes: int) -> bytes:
    """Read so many bytes from there; fewer, if there are no more."""
    descriptor = os.open(path, os.O_RDONLY | _BINARY)
    try:
        os.lseek(descriptor, offset, os.SEEK_SET)
        data = os.read(descriptor, nbytes)
        while len(data) < nbytes and (more := os.read(descriptor, nbytes - len(data))):
            data += more  # only of gigabytes
    finally:
        os.close(descriptor)
    return data


def sync_descriptor(descriptor: int) -> None:
    """Wait until the disk has all that was written to the file.

    Raises:
        SyncFailed: it will never say so.
    """
    try:
        if _FULL_SYNC is None or not _full_sync(descriptor, _FULL_SYNC):
            getattr(os, "fdatasync", os.fsync)(descriptor)
    except OSError as error:
        raise SyncFailed(*error.args) from error


def _full_sync(descriptor: int, command: int) -> bool:
    """False: that file system has no such thing, as those on a network."""
    import fcntl  # noqa: PLC0415 - not everywhere

    try:
        fcntl.fcntl(descriptor, command)
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.EINVAL, errno.ENOTTY}:
            raise
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in the folder."""
    if sys.platform == "win32":
        return  # there is no such call; NTFS journals names by itself
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise SyncFailed(*error.args) from error
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """How much this user may still write there."""
    return shutil.disk_usage(folder).free


def is_full(error: OSError) -> bool:
    """Whether there was just no room for a write: all that was written before is as it was."""
    return error.errno in _FULL and not isinstance(error, SyncFailed)
