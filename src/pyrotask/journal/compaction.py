"""Keeping the files short: has images made by a helper process, and deletes what they cover.

An image is due when the logs behind the last one have grown to its size, and to eight
megabytes at least. So a journal is at most some times as large as what it has to say, and
each event is folded once, plus the image once for as many bytes again. After a failure, the logs
have to grow by as much again, twice as much after the second one, and so on; a warning is given
once, until it succeeds.

A helper ends with its broker. So that brokers who live shorter than a helper needs leave no longer and longer
journal behind, one that is long overdue is compacted when it is opened (`is_overdue`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyrotask
from pyrotask.journal.disk import sync_folder
from pyrotask.journal.folder import Folder

log = logging.getLogger("pyrotask.journal")

DUE_BYTES = 8 << 20
"""Logs shorter than that are not worth a process. They are replayed in a second."""


HELPER = "pyrotask.journal.helper"

OVERDUE = 8
"""So many times what is due, it is done at the next opening: that has just read as much."""

MOST_LOGS = 500
"""The same for the logs, of which each run leaves one."""

MOST_DOUBLINGS = 6
"""After more failures, the pauses grow no longer: the journal's folder would, too."""


class Compaction:
    """Runs at most one helper at a time. Of the flusher's thread, except for `wait`.

    Args:
        folder: of the journal.
        done: called when a helper has ended, in a thread of its own.
        due_bytes: see `DUE_BYTES`.
    """

    def __init__(self, folder: Folder, done: Callable[[], None], due_bytes: int = DUE_BYTES) -> None:
        self._folder = folder
        self._done = done
        self._due_bytes = due_bytes
        self._thread: threading.Thread | None = None
        self._has_ended = False
        self._failures = 0
        """Since the last success."""
        self._is_stopping = False
        self._helper: subprocess.Popen[bytes] | None = None
        self._image_bytes = self._size_of_image()

    @property
    def is_running(self) -> bool:
        """Whether a helper is at work."""
        return self._thread is not None

    def is_due(self, log_bytes: int) -> bool:
        """Whether an image should be made, when the logs have grown by so much since the last try."""
        due_bytes = max(self._due_bytes, self._image_bytes) << min(max(0, self._failures - 1), MOST_DOUBLINGS)
        return self._thread is None and log_bytes >= due_bytes

    def start(self, position: int) -> None:
        """Have an image made at that position, which is on disk. Does not block."""
        self._has_ended = False
        thread = threading.Thread(
            target=self._run, args=(position,), name="pyrotask-journal-compaction", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the interpreter ends, and starts no thread any more
            return
        self._thread = thread

    def collect(self) -> bool:
        """Take notice that a helper has ended; whether one has."""
        if not self._has_ended:
            return False
        self._has_ended = False
        self._thread = None
        self._image_bytes = self._size_of_image()
        return True

    def stop(self) -> None:
        """End the helper, if there is one, and wait for it. What it made so far is lost."""
        self._is_stopping = True
        if self._helper is not None:
            self._helper.terminate()
        if self._thread is not None:
            self._thread.join()

    def _run(self, position: int) -> None:
        try:
            self._make_image(position)
            self._failures = 0
        except Exception as error:  # noqa: BLE001 - the journal is whole without an image, only longer
            # Whatever ended it: on a full disk, commits wait for the room that its file takes.
            with contextlib.suppress(OSError):
                self._folder.remove_unfinished()
            if not self._is_stopping:
                self._failures += 1
                tell = log.error if self._failures == 1 else log.info
                tell("the journal %s could not be compacted: %s", self._folder.path, error)
        finally:
            self._has_ended = True
            self._done()

    def _make_image(self, position: int) -> None:
        # -P: a file in the user's folder must not be taken for a module of that name.
        command = [sys.executable, "-P", "-m", HELPER, str(self._folder.path), str(position)]
        with subprocess.Popen(  # noqa: S603 - our own module, on our own folder
            command,
            env=_environment(),
            stdin=subprocess.PIPE,  # it ends when this is closed, as by our own death
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as helper:
            self._helper = helper
            if self._is_stopping:
                helper.terminate()
            assert helper.stderr is not None
            told = helper.stderr.read()
        if helper.returncode != 0:
            raise RuntimeError(told.decode(errors="replace").strip() or f"exit code {helper.returncode}")
        remove_covered(self._folder)

    def _size_of_image(self) -> int:
        images = self._folder.images()
        return images[-1].path.stat().st_size if images else 0


def _environment() -> dict[str, str]:
    """Let the helper find this very package, wherever it was imported from."""
    root = str(Path(pyrotask.__file__).parent.parent)
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": root + (os.pathsep + others if others else "")}


def is_overdue(folder: Folder, due_bytes: int = DUE_BYTES) -> bool:
    """Whether helpers had time enough, and none has made an image."""
    log_bytes = [part.path.stat().st_size for part in folder.logs()]
    image_bytes = [part.path.stat().st_size for part in folder.images()]
    due_bytes = max([due_bytes, *image_bytes])
    return len(log_bytes) > MOST_LOGS or sum(log_bytes) > OVERDUE * due_bytes


def remove_covered(folder: Folder) -> None:
    """Delete what the newest image covers."""
    covered = folder.covered()
    for path in covered:
        path.unlink(missing_ok=True)
    if covered:
        sync_folder(folder.path)
