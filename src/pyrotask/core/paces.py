"""How long tasks take, by tag, as those who ran them have measured it; and how many go out together.

To hand a task out, and take its answer, takes the manager a fraction of a millisecond. To a task
that takes microseconds that is much; so of such tasks one worker gets several at once, and the
others that wait sleep on. One that takes longer is worth a worker of its own, and so is one of
which nothing is known.

All of this is volatile, and it decides nothing but how many tasks go out together. It is an
estimate, and follows what is measured step by step: on a busy machine any task takes long now and
then. It follows longer tasks sooner than shorter ones, since a long one in a batch keeps the others
waiting; and when that has happened, its tag counts as long at once.
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

_RISE = 2
"""How many times longer a tag counts after one measurement, at most."""

_EASING = 8
"""The part of the way to a shorter one that is gone after one measurement."""


class Paces:
    """The estimates. See the module's text."""

    def __init__(self) -> None:
        self._each_ns: OrderedDict[str, Nanoseconds] = OrderedDict()

    def __len__(self) -> int:
        return len(self._each_ns)

    def note(self, tag: str, tasks: int, took_ns: Nanoseconds) -> None:
        """A worker has run so many tasks of that tag, which took it so long in all."""
        each, before = took_ns // tasks, self._each_ns.get(tag)
        if before is not None:
            each = min(each, _RISE * before) if each > before else before + (each - before) // _EASING
        self._set(tag, max(1, each))

    def note_long(self, tag: str) -> None:
        """A task of that tag has kept others waiting, or has waited itself."""
        self._set(tag, 2 * LONG_NS)

    def _set(self, tag: str, each_ns: Nanoseconds) -> None:
        self._each_ns[tag] = each_ns
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
