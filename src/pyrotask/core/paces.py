"""How long tasks take, by tag, as those who ran them have measured it; and how many go out together.

To hand a task out, and take its answer, takes the manager a fraction of a millisecond. To a task
that takes microseconds that is much; so of such tasks one worker gets several at once, and the
others that wait sleep on. One that takes longer is worth a worker of its own, and so is one of
which nothing is known.

All of this is volatile, and it decides nothing but how many tasks go out together. It is an
estimate: it follows a longer task at once, and shorter ones by and by, since one long task in a
batch keeps the others waiting, and one short task alone harms nobody.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from pyrotask.core.model import SECOND, Nanoseconds

if TYPE_CHECKING:
    from collections.abc import Iterable

TOGETHER_NS: Nanoseconds = SECOND // 1000
"""How long those may take together that one worker gets while others wait for tasks: some times what it
takes to hand out one, and no time for whoever waits for the answers."""

LONG_NS: Nanoseconds = SECOND // 200
"""A task that takes longer than this goes to a worker alone."""

MOST_TAGS = 1_000
"""Tags that are remembered: those that were measured last."""

_EASING = 8
"""Measurements that it takes, about, to believe in shorter tasks."""


class Paces:
    """The estimates. See the module's text."""

    def __init__(self) -> None:
        self._each_ns: OrderedDict[str, Nanoseconds] = OrderedDict()

    def __len__(self) -> int:
        return len(self._each_ns)

    def note(self, tag: str, tasks: int, took_ns: Nanoseconds) -> None:
        """A worker has run so many tasks of that tag, which took it so long in all."""
        each, before = took_ns // tasks, self._each_ns.get(tag)
        if before is not None and each < before:
            each = before + (each - before) // _EASING
        self._each_ns[tag] = each
        self._each_ns.move_to_end(tag)
        if len(self._each_ns) > MOST_TAGS:
            self._each_ns.popitem(last=False)

    def note_all(self, measured: Iterable[tuple[str, int, Nanoseconds]]) -> None:
        """Several of these."""
        for tag, tasks, took_ns in measured:
            self.note(tag, tasks, took_ns)

    def of(self, tag: str) -> Nanoseconds | None:
        """How long a task of that tag is thought to take; None: nothing is known."""
        return self._each_ns.get(tag)
