"""What a supervisor tells those who watch it: its children at a moment, and what happens to them."""

from __future__ import annotations

from typing import NamedTuple


class ChildInfo(NamedTuple):
    """A child at this moment."""

    pid: int
    process: int | None
    """Its number at the broker, once it has registered."""
    state: str
    """``"starting"``, ``"idle"``, ``"running TASK, attempt N"`` or ``"stopped"``."""


class Event(NamedTuple):
    """Something that has happened to a child, or to the supervisor as a whole."""

    kind: str
    """``"started"``, ``"registered"``, ``"stopped"``, ``"continued"``, ``"ended"``,
    ``"time limit"``, ``"in vain"``; of the supervisor: ``"node registered"``, ``"not started"``,
    ``"draining"``, ``"broker lost"``, ``"broker found"``."""
    pid: int | None = None
    process: int | None = None
    detail: str = ""
    """For ``"ended"``: ``"killed by signal 9 (SIGKILL) while running sqrt_17, attempt 2"``."""
    tasks: tuple[str, ...] = ()
    """For ``"ended"``: the ids of the tasks that the child had begun and not handed in."""
    in_order: bool = True
    """For ``"ended"``: False if the child was to go on."""
