"""Versions: which interface two sides speak with each other, and whose Python can read whose objects.

Each side speaks a range of versions of the bulk protocol, and says so: the broker in `hello`,
a client in Pyro's handshake. Both use the newest that both know. So one of them can be
upgraded before the other, as long as the ranges meet.

Python is another matter: plain values are the same for every Python, a function that was sent
by value is bytecode, which another minor version cannot run.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, NamedTuple

import pyrotask


class WireRange(NamedTuple):
    """The versions of the bulk protocol that somebody speaks."""

    oldest: int
    newest: int

    def __str__(self) -> str:
        return f"{self.oldest} to {self.newest}" if self.oldest < self.newest else str(self.newest)

    def common(self, other: WireRange) -> int | None:
        """The newest version that both speak; None: there is none."""
        newest = min(self.newest, other.newest)
        return newest if newest >= max(self.oldest, other.oldest) else None


WIRES = WireRange(oldest=1, newest=2)
"""The versions of the bulk protocol that we speak.

A map in a reply may gain keys, and a call may gain optional arguments, in the same version: readers
pass over what they do not know. New calls, and anything else, are a new version. Of each version
that is spoken here, a conversation is kept in the tests, and held again.

    2   ``beat`` tells, too, what is in vain. New: ``give_back``, ``explain``, ``peek``, ``sessions``,
        ``submit_and_collect``.
    1   the first
"""


TOLD_HOW_LONG_TASKS_TOOK = 2
"""From this version on, `exchange` tells the broker so."""

TAKES_ON_AND_WAITS = 2
"""From this version on, one call does for a submit and the wait for its answer."""


def wire_of(told: Mapping[str, Any]) -> int:
    """The version to speak with somebody who has told this; who tells none speaks the oldest."""
    theirs = range_told(told)
    return (None if theirs is None else WIRES.common(theirs)) or WIRES.oldest


def range_told(told: Mapping[str, Any]) -> WireRange | None:
    """The range that somebody has told; None: nothing of the kind. One number alone is a range of one."""
    newest = told.get("wire")
    oldest = told.get("oldest_wire", newest)
    if not (type(newest) is int and type(oldest) is int):
        return None
    return WireRange(oldest, newest)


def python_warning(broker: str, theirs: str, ours: str | None = None) -> str | None:
    """What works, and what does not, between our Python and the broker's; None: they are the same.

    Whose Python the broker has matters to no task by itself. But it is the one that masters and
    workers can compare theirs with, and who agrees with it agrees with all others who do.

    Args:
        broker: its label or address.
        theirs: its Python's version, ``"3.12.4"``.
        ours: None: this process's.
    """
    own = ours or platform.python_version()
    if _minor(own) == _minor(theirs):
        return None
    other = _minor(theirs)
    return (
        f"this is Python {own}, and the broker {broker!r} runs {theirs}. Plain values travel between them, "
        "and functions and classes that both can import; what is sent by value (lambdas, what stands in "
        "the main script) cannot be read by another Python 3.x, and such tasks fail. Use one Python for "
        f"masters, workers and broker: here, type `python{other} -m venv pyrotask-{other} && "
        f"pyrotask-{other}/bin/pip install pyrotask=={pyrotask.__version__}`, and start it from there"
    )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
