"""The results that a child has in hand, until the broker has acknowledged them.

They are handed in together, but none waits for long: an outbox says when it is *due*. What no
message can carry is replaced by an error of its task that says so.
"""

from __future__ import annotations

from pyrotask.config import MIB
from pyrotask.worker import running, tray
from pyrotask.worker.begun import Slate

HOLD_NS = 10_000_000
"""How long a result may wait for those of its batch."""

PORTION_BYTES = 256 * 1024
"""Above that, results are sent at once: a larger message would gain nothing."""

TRIES = 3
"""How often a result is sent whose sending breaks the connection: another message size may
hold at the broker. A result below 1 MiB fits everywhere, and is sent for ever."""

ENVELOPE_BYTES = 4096
"""What a message has besides its payloads."""


class Outbox:
    """See the module's text.

    One thread adds; another one may send, as long as only one sends at a time: `portion`, and
    then `acknowledged`, `broke` or `refused`.

    Args:
        slate: is told what was acknowledged.
        most_bytes: how large a message may be.
    """

    def __init__(self, slate: Slate, most_bytes: int) -> None:
        self._slate = slate
        self._most_bytes = most_bytes
        self._results: list[running.Result] = []
        self._bytes_added = self._bytes_gone = 0
        """Since ever, by whoever adds and by whoever sends: a sum that both change would come out wrong."""
        self._oldest_at_ns = 0
        self._tries = 0
        self._singly = False
        """The broker has refused a portion: which of its results is not known yet."""
        self._is_replaced = False
        """The oldest was refused, and is an error that says so by now."""

    def __len__(self) -> int:
        return len(self._results)

    def add(self, result: running.Result, now_ns: int) -> None:
        """Another task has ended."""
        if not self._results:
            self._oldest_at_ns = now_ns
        self._results.append(result)
        self._bytes_added += running.size_of(result)

    @property
    def _bytes(self) -> int:
        return self._bytes_added - self._bytes_gone

    @property
    def is_one_portion(self) -> bool:
        """Whether all that is there can be sent at once."""
        return (self._bytes <= PORTION_BYTES and not self._singly and len(self._results) <= tray.MOST) or len(
            self._results
        ) == 1

    def is_due(self, now_ns: int) -> bool:
        """Whether what is there should be sent now."""
        count = len(self._results)
        return count > 0 and (
            now_ns - self._oldest_at_ns >= HOLD_NS or self._bytes >= PORTION_BYTES or count >= tray.MOST
        )

    def held(self) -> list[list[int]]:
        """Each task and attempt whose result is here."""
        return [result[:2] for result in self._results]

    def portion(self) -> list[running.Result]:
        """What to send next: some of the oldest, at least one."""
        self._tries += 1
        portion: list[running.Result] = []
        room = PORTION_BYTES
        for result in self._results[: 1 if self._singly else tray.MOST]:
            room -= running.size_of(result)
            if portion and room < 0:
                break
            portion.append(self._sendable(result))
        return portion

    def acknowledged(self, count: int) -> None:
        """The broker has looked at the ``count`` oldest."""
        self._bytes_gone += sum(map(running.size_of, self._results[:count]))
        del self._results[:count]
        self._slate.acknowledge(count)
        self._tries, self._is_replaced = 0, False
        self._singly = self._singly and bool(self._results)

    def refused(self, count: int, why: str) -> bool:
        """The broker has refused a portion of ``count``. False: nothing can be done about it."""
        self._tries = 0
        if count > 1:
            self._singly = True
            return True
        if count == 0 or self._is_replaced:
            return False
        self._is_replaced = True
        instead = running.not_handed_in(self._results[0], why)
        self._bytes_gone += running.size_of(self._results[0]) - running.size_of(instead)
        self._results[0] = instead
        return True

    def clear(self) -> None:
        """Drop all: their numbers mean nothing any more."""
        self.acknowledged(len(self._results))

    def _sendable(self, result: running.Result) -> running.Result:
        """The result, or instead of one that no message can carry, an error that says so."""
        size = running.size_of(result)
        if size > self._most_bytes - ENVELOPE_BYTES or (self._tries > TRIES and size > MIB):
            return running.too_large(result, size, self._most_bytes)
        return result
