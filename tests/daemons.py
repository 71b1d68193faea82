"""Pyro's own daemon, in a thread."""

from __future__ import annotations

import threading
from typing import Any

from tests.waiting import PATIENCE_S


def serve_in_thread(daemon: Any) -> threading.Thread:
    """Start its request loop, and wait until it runs: one that is shut down before never ends in order."""
    is_running = threading.Event()

    def note() -> bool:
        is_running.set()
        return True

    thread = threading.Thread(target=daemon.requestLoop, args=(note,), daemon=True)
    thread.start()
    assert is_running.wait(PATIENCE_S)
    return thread
