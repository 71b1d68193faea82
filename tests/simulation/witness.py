"""What is noted of a world while it goes on, and the laws that it is held against.

The clients tell what they were told; the broker's events are seen as they happen. Nothing here
asks the machine what it believes: its books are what is on trial.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyrotask.core import events as e

if TYPE_CHECKING:
    from tests.simulation.loop import Loop


MOST_LINES = 500
"""Of a story that is told: more are of a world that hangs."""


class LawBrokenError(AssertionError):
    """Something happened that we promise never happens."""


class Witness:
    """The notes of one world."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.is_strict = True
        """Nothing that was acknowledged may be missing: no power failure took what a weak policy allows."""
        self._story: list[tuple[int, str, tuple[Any, ...]]] = []
        self._seen: dict[tuple[Any, ...], object] = {}
        self._holders: dict[int, tuple[int | None, int]] = {}
        self.deaths: Counter[str] = Counter()
        """By piece of work: how often its worker died, or could not be heard, while it ran."""
        self._succeeded: set[int] = set()
        self._answered: set[int] = set()
        """Those of these whose value was acknowledged to a worker that handed it in."""

    def tell(self, text: str, *details: Any) -> None:
        """Add a line to the story."""
        self._story.append((self._loop.now, text, details))

    def story(self) -> str:
        """The lines, for people: the last ones, if there are many."""
        left_out = len(self._story) - MOST_LINES
        lines = [f"... {left_out} lines before"] if left_out > 0 else []
        for at, text, details in self._story[-MOST_LINES:]:
            lines.append(f"{at / 1e9 - 1000:9.4f}  {text}  {' '.join(map(repr, details))}")
        return "\n".join(lines)

    # --- numbers ------------------------------------------------------------------------

    def saw(self, kind: str, number: Any, what: object) -> None:
        """Somebody was given a number: it must never have stood for anything else."""
        before = self._seen.setdefault((kind, number), what)
        if before != what:
            raise LawBrokenError(f"{kind} {number} is used again: it was {before!r}, and now is {what!r}")

    # --- leases -------------------------------------------------------------------------

    def note(self, call: tuple[Any, ...], reply: object, events: Sequence[e.Event]) -> None:
        """A call was done, and these events came of it."""
        self.tell("broker:", call, reply, events)
        for event in events:
            if isinstance(event, e.TasksLeased):
                self._leased(event)
            elif isinstance(event, e.TasksSucceeded):
                for task in event.tasks:
                    self._holders.pop(task, None)
                self._succeeded.update(event.tasks)
            elif isinstance(event, (e.TaskRaised, e.TaskReleased)):
                self._ended_by_hand(event, call)
                self._holders.pop(event.task, None)
            elif isinstance(event, e.TaskRetried):
                self._succeeded.discard(event.task)
                self._answered.discard(event.task)
            elif isinstance(event, _ENDS_OF_LEASES):
                self._holders.pop(event.task, None)

    def crashed(self) -> None:
        """The broker died; what its events said need not be so."""
        self._holders.clear()
        self._succeeded.clear()

    def acknowledged(self, task: int) -> None:
        """A worker was told that its value was taken; perhaps it came too late to count."""
        if task in self._succeeded:
            self._answered.add(task)

    def _leased(self, event: e.TasksLeased) -> None:
        for task, attempt in zip(event.tasks, event.attempts, strict=True):
            if self.is_strict and task in self._answered:
                raise LawBrokenError(f"task {task} runs again, though its value was acknowledged")
            if task in self._holders:
                raise LawBrokenError(f"task {task} has two holders")
            self._holders[task] = (event.process, attempt)

    def _ended_by_hand(self, event: e.TaskRaised | e.TaskReleased, call: tuple[Any, ...]) -> None:
        holder = self._holders.get(event.task)
        if not call or call[0] != "exchange" or holder is None:
            return
        attempts = [result[1] for result in call[2] if result[0] == event.task and result[2] != "value"]
        if holder[1] not in attempts or holder[0] != call[1]:
            raise LawBrokenError(
                f"an end of task {event.task} was taken from process {call[1]}, attempts {attempts}; "
                f"process {holder[0]} held it, as attempt {holder[1]}"
            )


_ENDS_OF_LEASES = (
    e.TaskCrashed,
    e.TaskLost,
    e.TimeLimitReached,
    e.TaskCancelled,
)
