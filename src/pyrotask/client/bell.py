"""What wakes a thread that waits for a socket at the same time."""

from __future__ import annotations

import contextlib
import select
import socket

MANY = 4096


class Bell:
    """Rung by any thread, and heard by the one that waits; what was rung just before is heard, too.

    Nobody hears it before it is opened, and once it is closed. Ringing is harmless at any time.
    """

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None

    def open(self) -> None:
        """Make it ready for who is going to wait."""
        self._ends = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)

    def ring(self) -> None:
        """Wake who waits. Never blocks."""
        if self._ends is not None:
            with contextlib.suppress(OSError):  # it is full, so it was rung; or closed just now
                self._ends[0].send(b"!")

    def wait(self, other: int, timeout_s: float) -> bool:
        """Wait until it rings, or the other descriptor (-1: none) can be read, or the time is over.

        Returns whether the other one can be read.
        """
        assert self._ends is not None
        hearing = self._ends[1]
        ready = _readable([hearing.fileno(), *([] if other < 0 else [other])], timeout_s)
        if hearing.fileno() in ready:
            with contextlib.suppress(OSError):
                hearing.recv(MANY)
        return other in ready

    def close(self) -> None:
        """Free it. Idempotent; not while somebody waits."""
        for end in self._ends or ():
            end.close()


def _readable(descriptors: list[int], timeout_s: float) -> list[int]:
    """Those that can be read, or at least that is no use waiting for."""
    if not hasattr(select, "poll"):  # Windows
        try:
            return select.select(descriptors, [], [], timeout_s)[0]
        except OSError:  # another thread has just closed the other one
            return descriptors
    poll = select.poll()  # other than select, it takes descriptors of any number
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(timeout_s * 1000)]
