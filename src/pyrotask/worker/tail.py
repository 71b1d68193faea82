"""What a child writes to its stderr: passed on at once, and its end kept for the story.

Nothing is held back or changed on the way. A thread for each child does it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import IO

KEPT_BYTES = 2000
"""How much of its end is kept: the last lines of a traceback, or what the C library had to say."""

STDERR = 2


class Tail:
    """The last lines that come through a pipe.

    Args:
        pipe: the reading end; closed here, once it has ended.
        to: the descriptor that everything is passed on to.
    """

    def __init__(self, pipe: IO[bytes], to: int = STDERR) -> None:
        self._pipe = pipe
        self._to = to
        self._kept = b""
        self._thread = threading.Thread(target=self._run, name="pyrotask-stderr", daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """The last lines; empty if there was nothing. A cut line begins with an ellipsis."""
        text = self._kept.decode("utf-8", "replace").strip()
        return f"... {text}" if len(self._kept) == KEPT_BYTES else text

    def settle(self, timeout_s: float) -> None:
        """Wait until the pipe has ended, which others than the child may hold open. Blocks so long."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        with self._pipe as pipe:
            while data := os.read(pipe.fileno(), 65536):
                self._kept = (self._kept + data)[-KEPT_BYTES:]
                with contextlib.suppress(OSError):  # nobody listens: that is no reason to end
                    while data:
                        data = data[os.write(self._to, data) :]
