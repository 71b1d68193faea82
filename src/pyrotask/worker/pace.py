"""How many tasks a child asks for at once: as many as it can do in some milliseconds.

A message to the broker and back costs a fraction of a millisecond, which is much for a task
that takes microseconds, and nothing for one that takes a second. So short tasks are leased in
batches, and long ones singly. The first lease is of one task; a batch is at most twice as large
as the one before; and one long task is enough to begin anew.

The broker is told what was measured, tag by tag: it knows what is next in line.
"""

from __future__ import annotations

from pyrotask.worker import tray

BATCH_S = 0.005
"""How long the tasks of a batch should take together: much longer than a message does, and too
short for anybody to mind that an answer comes with those of its batch."""


Measurement = tuple[str, int, float]
"""A tag, how many tasks of it were run, and how many seconds that took in all."""


class Pace:
    """The measured pace of a child. Not thread-safe."""

    def __init__(self) -> None:
        self._count = 1
        self._seconds_each: float | None = None
        self._ran: dict[str, list[int]] = {}
        """Since the last `report`, by tag: how many tasks, and how many nanoseconds in all."""

    @property
    def count(self) -> int:
        """How many tasks to ask for now."""
        return self._count

    def ran(self, tag: str, took_ns: int) -> None:
        """A task of that tag took so long."""
        ran = self._ran.setdefault(tag, [0, 0])
        ran[0] += 1
        ran[1] += took_ns

    def report(self) -> list[Measurement]:
        """What was measured since the last report. `count` follows it."""
        if not self._ran:
            return []
        measured = [(tag, tasks, max(1, took_ns) / 1e9) for tag, (tasks, took_ns) in self._ran.items()]
        self._ran.clear()
        self._adapt(sum(tasks for _, tasks, _ in measured), sum(seconds for *_, seconds in measured))
        return measured

    def _adapt(self, tasks: int, seconds: float) -> None:
        each, before = seconds / tasks, self._seconds_each
        self._seconds_each = each if before is None or each > before else (each + before) / 2
        fitting = int(BATCH_S / max(self._seconds_each, 1e-9))
        self._count = max(1, min(fitting, 2 * self._count, tray.MOST))
