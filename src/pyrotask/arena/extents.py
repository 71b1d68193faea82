"""Which parts of a range are free. Pure: nothing here knows what the range is of."""

from __future__ import annotations

from bisect import bisect_left


class Extents:
    """The free parts of the range from ``start`` to ``end``.

    Attributes:
        free_bytes: all of them together.
    """

    def __init__(self, start: int, end: int) -> None:
        self.free_bytes = end - start
        self._starts = [start]
        self._ends = [end]

    def take(self, nbytes: int) -> int | None:
        """Take so many from the first part that has them, and say where they begin; None: there is none.

        The first: so what is in use stays at the beginning, where the memory is warm.
        """
        for index, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            if end - start >= nbytes:
                if end - start == nbytes:
                    del self._starts[index], self._ends[index]
                else:
                    self._starts[index] = start + nbytes
                self.free_bytes -= nbytes
                return start
        return None

    def give_back(self, start: int, nbytes: int) -> None:
        """These, which were taken, are free again."""
        end = start + nbytes
        self.free_bytes += nbytes
        index = bisect_left(self._starts, start)
        touches_next = index < len(self._starts) and self._starts[index] == end
        touches_last = index > 0 and self._ends[index - 1] == start
        if touches_next and touches_last:
            self._ends[index - 1] = self._ends[index]
            del self._starts[index], self._ends[index]
        elif touches_next:
            self._starts[index] = start
        elif touches_last:
            self._ends[index - 1] = end
        else:
            self._starts.insert(index, start)
            self._ends.insert(index, end)
