"""The folder of an Executor's own broker: it goes with the Executor, or is swept when that was killed.

The process that made it holds a lock in it, which the system gives back however the process ends. So the
next one can tell what nobody will remove any more, whatever has become of process numbers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from pyrotask.journal.lock import FolderLock
from pyrotask.journal.problems import JournalHeld
from pyrotask.remote.private_files import check_private_directory

PREFIX = "pyrotask-"
LOCK = "executor.lock"
"""What has no such file is not touched: the name of a folder proves nothing."""


class OwnFolder:
    """A new folder that only this user can read, below the system's folder for temporary files.

    Folders of dead processes are removed on the way.
    """

    def __init__(self) -> None:
        sweep(Path(tempfile.gettempdir()))
        self.path, self._lock = _new_folder()

    @property
    def is_safe(self) -> bool:
        """Whether nobody can put another folder in its place: the one above may be of a user who could."""
        try:
            check_private_directory(self.path)
        except PermissionError:
            return False
        return True

    def remove(self) -> None:
        """Remove it with all that is in it. Idempotent."""
        _remove(self.path, self._lock)


def sweep(parent: Path) -> None:
    """Remove the folders in there that were an Executor's of this user, and whose process is dead."""
    try:
        folders = list(parent.glob(f"{PREFIX}*"))
    except OSError:
        return
    for folder in folders:
        if _is_ours(folder):
            # Held: its process lives. Any other error: it is gone meanwhile, or cannot be removed.
            with contextlib.suppress(JournalHeld, OSError):
                _remove(folder, FolderLock(folder / LOCK))


def _new_folder() -> tuple[Path, FolderLock | None]:
    while True:
        # Not a TemporaryDirectory: that would be removed at the end of a forked child, too.
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            lock = FolderLock(path / LOCK)
        except JournalHeld:  # by somebody who sweeps, and was quicker
            continue
        except OSError:  # a file system without locks: then nobody can tell, and nobody sweeps it
            (path / LOCK).unlink(missing_ok=True)
            return path, None
        if (path / LOCK).exists():
            return path, lock
        lock.close()


def _remove(path: Path, lock: FolderLock | None) -> None:
    """While it is locked: so nobody takes it for his own. Windows removes no open file: so once more."""
    shutil.rmtree(path, ignore_errors=True)
    if lock is not None:
        lock.close()
        shutil.rmtree(path, ignore_errors=True)


def _is_ours(folder: Path) -> bool:
    try:
        found, lock = folder.lstat(), (folder / LOCK).lstat()
    except OSError:
        return False
    is_mine = not hasattr(os, "getuid") or found.st_uid == lock.st_uid == os.getuid()
    return is_mine and stat.S_ISDIR(found.st_mode) and stat.S_ISREG(lock.st_mode)
