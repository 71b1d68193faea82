"""Waiting for what a test cannot be told of."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0
"""Longer than anything takes that does not hang."""


def until(holds: Callable[[], object]) -> None:
    """Block until it is true. Only for what has no event of its own: looks again and again."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_at, f"it never came true: {holds}"
        time.sleep(0.005)
