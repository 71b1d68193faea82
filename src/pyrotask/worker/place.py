"""Where a worker's children run, one after the other; and when the next one is not started any more."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrotask.worker.offspring import Offspring

FAILURES_IN_A_ROW = 3
"""How often a child may fail to get to work before the supervisor gives up, if no other one works: a file
server may hang for a moment, and a missing module stays missing."""

FIRST_DELAY_S = 0.25
"""Before a child that did not get to work is started again; the next delays are twice as long."""

LONGEST_DELAY_S = 30.0
"""Before it is tried once more, however often it was in vain."""

SHORT_LIFE_S = 2.0
"""A child that ends this soon, with no task begun, did not get to work."""


@dataclass(slots=True)
class Place:
    """A place for one child."""

    child: Offspring | None = None
    has_registered: bool = False
    """It has, and that was told."""
    start_at: float = 0.0
    """When the next one may be started."""
    failures: int = 0
    """How often in a row a child did not get to work."""
    refusals: int = 0
    """How often in a row the system had no process for us."""

    @property
    def is_due(self) -> bool:
        """Whether a child is to be started."""
        return self.child is None and time.monotonic() >= self.start_at

    @property
    def is_starting(self) -> bool:
        """Whether there is a child that has not got to work."""
        return self.child is not None and not self.has_registered

    def started(self, child: Offspring) -> None:
        """A child runs here."""
        self.child, self.has_registered, self.refusals = child, False, 0

    def not_started(self) -> float:
        """The system gave us no process: it is to be asked again. Returns in how many seconds."""
        self.refusals += 1
        return self._wait_after(self.refusals)

    def child_died(self, child: Offspring, *, worked: bool) -> str | None:
        """The next one is started at once, or later if this one did not get to work.

        ``worked``: it has begun a task. Returns the reason, if it failed so often that the next will, too.
        """
        if worked or (child.process is not None and child.age_s > SHORT_LIFE_S):
            self.failures = 0
            return None
        self.failures += 1
        self._wait_after(self.failures)
        if self.failures < FAILURES_IN_A_ROW:
            return None
        return child.slate.text or (
            f"a child process ended before it got to work, {self.failures} times in a row: "
            f"{child.story()}; what it printed stands above"
        )

    def _wait_after(self, times: int) -> float:
        """It was in vain so often. Returns in how many seconds it is tried again."""
        # Not to the power of what may have grown for days: that is no number any more.
        delay_s = min(FIRST_DELAY_S * 2.0 ** min(times - 1, 100), LONGEST_DELAY_S)
        self.start_at = time.monotonic() + delay_s
        return delay_s
