"""Virtual time and chance: what happens when, and who acts.

A *story* is a generator that an `Actor` lives: it yields how many seconds to sleep, or a `Wait`,
and gets the result back (or an error, raised in it). Nothing here knows a real clock; the same
seed gives the same world, down to the last event.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from heapq import heappop, heappush
from random import Random
from typing import Any

from pyrotask.core.model import SECOND, Nanoseconds

Resume = Callable[[Any, Exception | None], None]
Wait = Callable[[Resume], None]
"""Something to wait for: it is told how to go on, and does so once, or never."""
Story = Generator[Any, Any, Any]


class Loop:
    """The order of things."""

    def __init__(self, seed: object) -> None:
        self.random = Random(str(seed))
        self.now: Nanoseconds = 1_000 * SECOND
        self._heap: list[tuple[Nanoseconds, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Do that so much later."""
        self.at(self.now + int(seconds * SECOND), call)

    def at(self, instant: Nanoseconds, call: Callable[[], None]) -> None:
        """Do that then."""
        self._count += 1
        heappush(self._heap, (instant, self._count, call))

    def run(self, until: Nanoseconds, is_over: Callable[[], bool] | None = None) -> None:
        """Let things happen, up to that instant."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, call = heappop(heap)
            call()
            if is_over is not None and is_over():
                return
        self.now = max(self.now, until)

    def chance(self, probability: float) -> bool:
        """Whether something happens that happens so often."""
        return self.random.random() < probability

    def between(self, low: float, high: float) -> float:
        """Some duration."""
        return low + (high - low) * self.random.random()


class Actor:
    """Somebody who lives a story, and can be stopped, continued and killed like a process."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.is_alive = False
        self.is_stopped = False
        self._story: Story | None = None
        self._turn = 0
        self._is_acting = False
        self._held_back: Callable[[], None] | None = None

    def live(self, story: Story) -> None:
        """Begin."""
        self.is_alive, self._story = True, story
        self._turn += 1
        self.loop.after(0.0, partial(self._go_on, self._turn, None, None))

    def kill(self) -> None:
        """End at once, wherever it is."""
        if self.is_alive:
            self.is_alive = self.is_stopped = False
            self._held_back = None
            self._turn += 1
            if self._story is not None and not self._is_acting:  # else `_go_on` closes it
                self._story.close()

    def stop(self) -> None:
        """Do nothing until `continue_`."""
        self.is_stopped = True

    def continue_(self) -> None:
        """Go on, with what has happened meanwhile."""
        self.is_stopped = False
        held_back, self._held_back = self._held_back, None
        if held_back is not None:
            held_back()

    def _go_on(self, turn: int, value: Any, error: Exception | None) -> None:
        if turn != self._turn or not self.is_alive:
            return
        if self.is_stopped:
            self._held_back = partial(self._go_on, turn, value, error)
            return
        assert self._story is not None
        self._turn += 1
        self._is_acting = True
        try:
            wait = self._story.send(value) if error is None else self._story.throw(error)
        except StopIteration:
            self.is_alive = False
            return
        finally:
            self._is_acting = False
        if turn + 1 != self._turn:  # it has killed itself
            self._story.close()
        elif isinstance(wait, float):
            self.loop.after(wait, partial(self._go_on, self._turn, None, None))
        else:
            wait(partial(self._go_on, self._turn))
