"""One writer: the lock that a broker holds while its journal is open.

The system gives it back when the process ends, however it ends, so a lock is never stale. A
forked child would inherit it, and keep it for as long as it lives: so that one lets go at once.
What the file says is for the message to the second broker only.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import sys
import weakref
from pathlib import Path

from pyrotask.journal.problems import JournalHeld

_BINARY = getattr(os, "O_BINARY", 0)
_UNLOCKED_TEXT_BYTES = 1024


class FolderLock:
    """Holds the lock of a journal until `close`.

    Raises:
        JournalHeld: somebody else does; the message says who.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o600)
        try:
            _take(self._fd)
        except (BlockingIOError, PermissionError) as error:  # the latter is Windows' word for it
            holder = _holder(self._fd)
            os.close(self._fd)
            raise JournalHeld(
                f"the journal {path.parent} is in use by {holder}. One broker writes to a journal: end that "
                "process (Ctrl-C or SIGTERM), or give this one a journal of its own"
            ) from error
        except OSError as error:  # as where a network file system has no locks
            os.close(self._fd)
            error.filename = str(path)
            raise
        with contextlib.suppress(OSError):  # on a full disk, it is a lock all the same
            _tell_holder(self._fd)

        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=functools.partial(_close, weakref.ref(self)))

    def close(self) -> None:
        """Give it back. Idempotent."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)


def _close(lock: weakref.ref[FolderLock]) -> None:
    if (held := lock()) is not None:
        held.close()


def _tell_holder(descriptor: int) -> None:
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode()
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, text)


def _holder(descriptor: int) -> str:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        told = json.loads(os.read(descriptor, _UNLOCKED_TEXT_BYTES))
        return f"process {told['pid']} on {told['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process, which has not said who it is"


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        # A byte far behind the text, since Windows lets nobody read what is locked.
        os.lseek(descriptor, _UNLOCKED_TEXT_BYTES, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
