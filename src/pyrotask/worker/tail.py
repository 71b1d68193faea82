"""What a child writes to its stderr: passed on at once, and its end kept for the story.

Nothing is held back or changed on the way. A thread for each child does it.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time
from typing import IO

KEPT_BYTES = 2000
"""How much of its end is kept: the last lines of a traceback, or what the C library had to say."""

SETTLE_S = 5.0
"""The longest wait for the last lines of a child: a busy machine may let their reader wait."""

STDERR = 2


class Tail:
    """The last lines that come through a pipe.

    Args:
        pipe: the reading end; closed here, once it has ended.
        to: the descriptor that everything is passed on to.

    Raises:
        RuntimeError: the system has no thread for it; the pipe is closed.
    """

    def __init__(self, pipe: IO[bytes], to: int = STDERR) -> None:
        self._pipe = pipe
        self._to = to
        self._kept = b""
        self._thread = threading.Thread(target=self._run, name="pyrotask-stderr", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the system has no thread for us
            pipe.close()
            raise

    @property
    def text(self) -> str:
        """The last lines; empty if there was nothing. A cut line begins with an ellipsis."""
        text = self._kept.decode("utf-8", "replace").strip()
        return f"... {text}" if len(self._kept) == KEPT_BYTES else text

    def settle(self, silence_s: float) -> None:
        """Wait until all is read that the child has written. Blocks for `SETTLE_S` at most.

        That is so when the pipe has ended; or, where others than the child hold it open, when nothing
        has been in it for that long.
        """
        give_up_at = time.monotonic() + SETTLE_S
        while self._thread.is_alive() and time.monotonic() < give_up_at:
            self._thread.join(silence_s)
            if not self._has_more():
                return

    def _has_more(self) -> bool:
        """Whether something is to be read, be it the end."""
        with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            return bool(selector.select(0))
        return False  # it is closed: all was read

    def _run(self) -> None:
        with self._pipe as pipe:
            while data := os.read(pipe.fileno(), 65536):
                self._kept = (self._kept + data)[-KEPT_BYTES:]
                with contextlib.suppress(OSError):  # nobody listens: that is no reason to end
                    while data:
                        data = data[os.write(self._to, data) :]
