"""The supervisor's eye on its children's trays: no long task keeps others waiting behind it.

A child leases short tasks in batches. When one of them turns out long, what is left in the
child's tray goes back to the broker. This has to be looked at now and then, since such a child
tells nobody; so it is done while children have batches, and not otherwise: a child that gets one
and is not watched rings.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pyrotask.worker.offspring import Offspring

LOOK_S = 0.025
"""How often is looked, while children have batches."""

PATIENCE_NS = 50_000_000
"""How long the task that a child runs may keep others waiting in its tray."""

IDLE_LOOKS = 80
"""After how many looks at an empty tray it is not watched any more."""


class Trays:
    """See the module's text. Used by one thread.

    Args:
        give_back: called with a child in whose tray tasks have waited for too long.
    """

    def __init__(self, give_back: Callable[[Offspring], None]) -> None:
        self._give_back = give_back
        self._looks_left: dict[Offspring, int] = {}
        """The watched children."""
        self._look_at = 0.0

    @property
    def look_at(self) -> float | None:
        """When to look next, by the monotonic clock; None: there is nothing to look at."""
        return self._look_at if self._looks_left else None

    def heed(self, child: Offspring) -> None:
        """The child has rung: watch its tray, if there is anything in it."""
        if not child.tray.is_empty():
            self._watch(child)

    def forget(self, child: Offspring) -> None:
        """The child has ended."""
        self._looks_left.pop(child, None)

    def look(self) -> None:
        """Look at the trays, if it is time to."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for child in list(self._looks_left):
            if child.tray.is_empty():
                self._note_empty(child)
            else:
                self._looks_left[child] = IDLE_LOOKS
                if child.keeps_others_waiting(time.monotonic_ns(), PATIENCE_NS):
                    self._give_back(child)

    def _note_empty(self, child: Offspring) -> None:
        self._looks_left[child] -= 1
        if not self._looks_left[child]:
            del self._looks_left[child]
            child.slate.is_watched = False
            self.heed(child)  # if it was filled at this moment, nobody rings

    def _watch(self, child: Offspring) -> None:
        if not self._looks_left:
            self._look_at = time.monotonic() + LOOK_S
        self._looks_left[child] = IDLE_LOOKS
        child.slate.is_watched = True
