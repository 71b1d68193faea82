"""The memory in which a child notes what it has begun, and which its supervisor reads.

It is shared by the two, and outlives the child: what stands in it when the child is dead is
how it died. `Slate` is that memory; nearly everything in it is written by the child.
The child never waits and never calls anybody to write it, so it costs some microseconds a task.

Tasks stand in a ring of slots, from the oldest that was not acknowledged to the newest; two
numbers, written after a slot is complete, say from where to where. So at whatever moment the
child is killed, no half of a record is read.
"""

from __future__ import annotations

import enum
import mmap
import os
import struct
from typing import NamedTuple

from pyrotask.worker.nameless import nameless_file

SLOTS = 256
"""The most tasks that a child can have begun and not handed in."""

_TEXT_BYTES = 4000
_TAG_BYTES = 96
_LINEAGE_BYTES = 64


class Goodbye(enum.IntEnum):
    """The last word of a child; NONE if it died without one."""

    NONE = 0
    DRAINED = 1
    """It was told to end, and has handed everything in."""
    TERMINATED = 2
    """The task manager was terminated."""
    CANNOT_WORK = 3
    """It could not be set up; `Slate.text` says why."""


_RUNNING, _FINISHED = 1, 2


class Begun(NamedTuple):
    """A task that a child has begun, and that was not acknowledged by the broker."""

    task: int
    attempt: int
    begun_at_ns: int
    """Of the monotonic clock, which is the same in all processes of a machine."""
    limit_ns: int | None
    tag: str
    is_running: bool
    """False: its result is in the child's hands."""

    @property
    def story(self) -> str:
        """What to call it."""
        return f"{self.tag}_{self.task}, attempt {self.attempt}"


class Number(NamedTuple):
    """The number of a process or node, and the broker's lineage that it belongs to."""

    lineage: str
    number: int


_NUMBER = struct.Struct(f"<qq{_LINEAGE_BYTES}s")  # valid, number, lineage
_LONG = struct.Struct("<q")
_RANGE = struct.Struct("<qq")  # how many tasks were acknowledged, how many were begun, in all
_SLOT = struct.Struct(f"<qqqqq{_TAG_BYTES}s")  # state, task, attempt, begun_at, limit, tag

_NODE_AT = 0
_PROCESS_AT = _NODE_AT + _NUMBER.size
_GOODBYE_AT = _PROCESS_AT + _NUMBER.size
_TEXT_AT = _GOODBYE_AT + _LONG.size
_RANGE_AT = _TEXT_AT + _LONG.size + _TEXT_BYTES
_WATCHED_AT = _RANGE_AT + _RANGE.size
_DRAINING_AT = _WATCHED_AT + _LONG.size
_SLOTS_AT = _DRAINING_AT + _LONG.size
_SIZE = _SLOTS_AT + SLOTS * _SLOT.size


class Slate:
    """A child's notes. One process writes, another one reads; see the module's text.

    Args:
        descriptor: an open file, of `create`, as inherited; None: make a new one.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _new_file() if descriptor is None else descriptor
        """The file, to be inherited by the child."""
        os.set_inheritable(self.descriptor, False)
        self._memory = mmap.mmap(self.descriptor, _SIZE)
        self._acknowledged = self._begun = 0
        """As in the range; known to the child only."""

    def close_descriptor(self) -> None:
        """Close the file; the memory stays. Call it once the child has been started."""
        os.close(self.descriptor)

    # --- written by the supervisor ------------------------------------------------------------

    @property
    def node(self) -> Number | None:
        """The supervisor's own number, to register under."""
        return self._number(_NODE_AT)

    @node.setter
    def node(self, node: Number | None) -> None:
        self._set_number(_NODE_AT, node)

    @property
    def is_watched(self) -> bool:
        """The supervisor looks now and then whether a long task keeps others waiting in the tray."""
        return bool(_LONG.unpack_from(self._memory, _WATCHED_AT)[0])

    @is_watched.setter
    def is_watched(self, is_watched: bool) -> None:
        _LONG.pack_into(self._memory, _WATCHED_AT, is_watched)

    @property
    def is_draining(self) -> bool:
        """The child is to finish what it runs, and to end."""
        return bool(_LONG.unpack_from(self._memory, _DRAINING_AT)[0])

    @is_draining.setter
    def is_draining(self, is_draining: bool) -> None:
        _LONG.pack_into(self._memory, _DRAINING_AT, is_draining)

    # --- written by the child -----------------------------------------------------------------

    @property
    def process(self) -> Number | None:
        """The child's process number, once it has registered."""
        return self._number(_PROCESS_AT)

    @process.setter
    def process(self, process: Number | None) -> None:
        self._set_number(_PROCESS_AT, process)

    @property
    def goodbye(self) -> Goodbye:
        """The child's last word."""
        return Goodbye(_LONG.unpack_from(self._memory, _GOODBYE_AT)[0])

    @property
    def text(self) -> str:
        """What belongs to the last word."""
        (size,) = _LONG.unpack_from(self._memory, _TEXT_AT)
        start = _TEXT_AT + _LONG.size
        return self._memory[start : start + size].decode("utf-8", "replace")

    def say_goodbye(self, goodbye: Goodbye, text: str = "") -> None:
        """The child is about to end."""
        encoded = text.encode("utf-8", "replace")[:_TEXT_BYTES]
        start = _TEXT_AT + _LONG.size
        self._memory[start : start + len(encoded)] = encoded
        _LONG.pack_into(self._memory, _TEXT_AT, len(encoded))
        _LONG.pack_into(self._memory, _GOODBYE_AT, goodbye)

    def begin(self, task: int, attempt: int, tag: str, begun_at_ns: int, limit_ns: int | None = None) -> None:
        """The child is about to run the task. There is room for `SLOTS` of them."""
        short = tag.encode("utf-8", "replace")[:_TAG_BYTES]
        limit = -1 if limit_ns is None else limit_ns
        _SLOT.pack_into(
            self._memory, _slot_at(self._begun), _RUNNING, task, attempt, begun_at_ns, limit, short
        )
        self._begun += 1
        _LONG.pack_into(self._memory, _RANGE_AT + _LONG.size, self._begun)

    def finish(self) -> None:
        """What was begun last has ended: its result is at hand."""
        _LONG.pack_into(self._memory, _slot_at(self._begun - 1), _FINISHED)

    def acknowledge(self, count: int) -> None:
        """The results of the ``count`` oldest tasks were acknowledged."""
        self._acknowledged += count
        _LONG.pack_into(self._memory, _RANGE_AT, self._acknowledged)

    def clear(self) -> None:
        """All results were acknowledged."""
        self.acknowledge(self._begun - self._acknowledged)

    # --- read by the supervisor ---------------------------------------------------------------

    def begun(self) -> list[Begun]:
        """What the child has begun, the oldest first."""
        return [self._read(number) for number in range(*self._range())]

    @property
    def last(self) -> Begun | None:
        """What the child has begun last, if that was not acknowledged."""
        acknowledged, begun = self._range()
        return self._read(begun - 1) if begun > acknowledged else None

    @property
    def running(self) -> Begun | None:
        """What the child runs at this moment."""
        last = self.last
        return last if last is not None and last.is_running else None

    def _range(self) -> tuple[int, int]:
        acknowledged, begun = _RANGE.unpack_from(self._memory, _RANGE_AT)
        return acknowledged, begun

    def _read(self, number: int) -> Begun:
        state, task, attempt, begun_at, limit, tag = _SLOT.unpack_from(self._memory, _slot_at(number))
        name = tag.rstrip(b"\0").decode("utf-8", "replace")
        return Begun(task, attempt, begun_at, None if limit < 0 else limit, name, state == _RUNNING)

    # --- the layout ---------------------------------------------------------------------------

    def _number(self, at: int) -> Number | None:
        # The other process may write it at this moment: what was read twice is whole.
        found, again = None, _NUMBER.unpack_from(self._memory, at)
        while found != again:
            found, again = again, _NUMBER.unpack_from(self._memory, at)
        valid, number, lineage = again
        return Number(lineage.rstrip(b"\0").decode(), number) if valid else None

    def _set_number(self, at: int, number: Number | None) -> None:
        _LONG.pack_into(self._memory, at, 0)
        if number is not None:
            _NUMBER.pack_into(self._memory, at, 0, number.number, number.lineage.encode()[:_LINEAGE_BYTES])
            _LONG.pack_into(self._memory, at, 1)


def _slot_at(number: int) -> int:
    return _SLOTS_AT + number % SLOTS * _SLOT.size


def _new_file() -> int:
    descriptor = nameless_file("slate")
    os.truncate(descriptor, _SIZE)
    return descriptor
