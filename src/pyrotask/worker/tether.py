"""Nobody outlives whoever started it: a process ends when its parent does, however that ends.

There are two ropes. A pipe, whose other end only the parent holds: it reads as ended when the
parent is gone, on every system, and a thread waits for that. And on Linux, the kernel kills
the process when the thread that started it ends: that also reaches a process that holds the
GIL, or is stopped.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

ORPHANED = 70
"""The exit code of a process that ended because its parent did; nobody is there to read it."""

_PR_SET_PDEATHSIG = 1


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends, where the kernel can do that.

    ``parent_pid`` is who started us: if that is not our parent any more, we end at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.name == "posix" and os.getppid() != parent_pid:
        os._exit(ORPHANED)


def watch(descriptor: int, ended: Callable[[], object]) -> None:
    """Call ``ended`` in a thread of its own once the pipe has no writer any more."""

    def read() -> None:
        if hasattr(signal, "pthread_sigmask"):  # signals are for the main thread, which may wait for them
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            try:
                if not os.read(descriptor, 4096):
                    break
            except OSError:
                break
        ended()

    threading.Thread(target=read, name="pyrotask-tether", daemon=True).start()


def end_now() -> None:
    """End this process at once, whatever its other threads do."""
    os._exit(ORPHANED)
