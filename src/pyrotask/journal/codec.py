"""Events to bytes and back.

A commit is one msgpack array with one row for each of its events: the number of its type, its
version, and its fields. Enums stand as their values, sets as sorted arrays, named tuples as
arrays, default options as nil, blocks as the places where they are. How a row is read follows from
the annotations of the event's class, so that a new event needs one line here: its number.

**An event is for ever.** Numbers are never used again. A field that is added at the end, with
a default, changes nothing here: old rows are shorter, and the default fills them up. Any
other change is a new version: raise it in `VERSIONS`, and add to `UPCASTERS` the function that
makes the fields of the version before into those of the new one.
"""

from __future__ import annotations

import enum
import functools
import struct
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from pyrotask.core import events as e
from pyrotask.core.blocks import OLD_DIGEST_BYTES, Block, Buffer, Home
from pyrotask.core.model import DEFAULT_OPTIONS, FORMATS, Options, Payload
from pyrotask.journal.problems import JournalTooNew

NUMBERS: dict[type[e.Event], int] = {
    e.BrokerStarted: 1,
    e.Terminated: 2,
    e.TasksSubmitted: 3,
    e.TaskDue: 4,
    e.InputsReady: 5,
    e.TasksLeased: 6,
    e.TaskReleased: 7,
    e.TaskCrashed: 8,
    e.TaskLost: 9,
    e.TaskRaised: 10,
    e.TimeLimitReached: 11,
    e.TasksSucceeded: 12,
    e.TaskFailed: 13,
    e.TaskCancelled: 14,
    e.TaskRetried: 15,
    e.LateAnswer: 16,
    e.ResultsDelivered: 17,
    e.DeliveryUndone: 18,
    e.DeliveryAcknowledged: 19,
    e.TasksForgotten: 20,
    e.ProcessRegistered: 21,
    e.ProcessUnregistered: 22,
    e.ProcessLost: 23,
    e.NodeRegistered: 24,
    e.NodeUnregistered: 25,
    e.SessionOpened: 26,
    e.SessionEnded: 27,
    e.DataStored: 28,
    e.DataDeleted: 29,
    e.TaskSubscribed: 30,
    e.TaskUnsubscribed: 31,
    e.CallAnswered: 32,
    e.NumbersReserved: 33,
}

VERSIONS: dict[type[e.Event], int] = {
    # Version 1 of these was about one task.
    e.TasksSubmitted: 2,
    e.TasksLeased: 2,
    e.TasksSucceeded: 2,
    e.ResultsDelivered: 2,
    e.TasksForgotten: 2,
}
"""The version of each event's row, where it is not 1."""

_HEADS: dict[type[e.Event], tuple[object, ...]] = {
    cls: (number, VERSIONS.get(cls, 1)) for cls, number in NUMBERS.items()
}

Upcaster = Callable[[list[Any]], list[Any]]


def _of_one(*indexes: int) -> Upcaster:
    """Make the fields at these places, which were about one task, into those about several."""

    def upcast(fields: list[Any]) -> list[Any]:
        return [(field,) if index in indexes else field for index, field in enumerate(fields)]

    return upcast


UPCASTERS: dict[tuple[int, int], Upcaster] = {
    (NUMBERS[e.TasksSubmitted], 1): _of_one(3),  # its payload
    (NUMBERS[e.TasksLeased], 1): _of_one(1, 3),  # task, attempt
    (NUMBERS[e.TasksSucceeded], 1): _of_one(1, 2),  # task, value
    (NUMBERS[e.ResultsDelivered], 1): _of_one(0),
    (NUMBERS[e.TasksForgotten], 1): _of_one(0),
}
"""By type number and version: makes the fields of that version into those of the next."""

SYNCED_AT_ONCE: frozenset[type[e.Event]] = frozenset({e.BrokerStarted, e.NumbersReserved})
"""On disk before they count as durable, whatever the policy: others build on these numbers."""

_BIG_INT = 1  # the extension type of whole numbers that msgpack has no room for
_OLD_BLOCK, _BLOCK = 2, 3  # and those of blocks, by the length of their digest
_BLOCK_PLACE = struct.Struct("<QQQ")  # the number of its file, offset, length; then comes the digest
_KEPT = 4096
"""Different values kept to be shared: more are rare, and would be a leak."""
_OPTIONS_INDEX = e.TasksSubmitted._fields.index("options")

Reader = Callable[[Any], Any]
HomeOf = Callable[[int], Home]
"""Finds the file of blocks with that number."""


class NumberedHome(Home, typing.Protocol):
    """A file that a journal keeps blocks in."""

    @property
    def number(self) -> int:
        """What it is known by."""


def pack(rows: Sequence[object]) -> bytes:
    """Encode plain values and the core's own: named tuples, enums, sets."""
    return typing.cast("bytes", msgpack.packb(rows, default=_plain, unicode_errors="surrogatepass"))


def unpack(body: bytes, home_of: HomeOf | None = None) -> Any:
    """Decode what `pack` made; arrays are tuples, and the core's values are plain ones.

    ``home_of`` finds the files of blocks; None: there are none.
    """
    hook = functools.partial(_extended, home_of)
    return msgpack.unpackb(
        body, use_list=False, strict_map_key=False, ext_hook=hook, unicode_errors="surrogatepass"
    )


def blocks_in(body: bytes, home_of: HomeOf) -> list[Block]:
    """The blocks of a commit."""
    found: list[Block] = []

    def hook(number: int, data: bytes) -> object:
        value = _extended(home_of, number, data)
        if isinstance(value, Block):
            found.append(value)
        return value

    msgpack.unpackb(body, ext_hook=hook, strict_map_key=False, unicode_errors="surrogatepass")
    return found


def encode(events: Iterable[e.Event], place: Callable[[Block], None] | None = None) -> bytes:
    """Encode the events of one commit.

    ``place`` is called with each block, before it is encoded, to give it a place. One that has
    none is encoded with its bytes.
    """
    rows = [_row(event, _HEADS[type(event)]) for event in events]
    if place is None:
        return pack(rows)

    def placed(value: object) -> object:
        if type(value) is Block:
            place(value)
        return _plain(value)

    return typing.cast("bytes", msgpack.packb(rows, default=placed, unicode_errors="surrogatepass"))


class Decoder:
    """Decodes commits, with one object for all options that say the same.

    Args:
        upcasters: the steps from older versions, for a test of its own; None: all of ours.
        versions: the versions of today; None: ours.
        home_of: finds the files of blocks; None: there are none.
    """

    def __init__(
        self,
        upcasters: Mapping[tuple[int, int], Upcaster] | None = None,
        versions: Mapping[type[e.Event], int] | None = None,
        home_of: HomeOf | None = None,
    ) -> None:
        self._home_of = home_of
        self._upcasters = UPCASTERS if upcasters is None else upcasters
        versions = VERSIONS if versions is None else versions
        interned = {Options: interning(Options, DEFAULT_OPTIONS), Payload: payload_of}
        self._types = {
            number: _Known(versions.get(cls, 1), _maker(cls, interned)) for cls, number in NUMBERS.items()
        }

    def decode(self, body: bytes) -> list[e.Event]:
        """Decode the events of one commit.

        Raises:
            JournalTooNew: there is an event, or a version of one, that is not known here.
        """
        return [self._event(row) for row in unpack(body, self._home_of)]

    def _event(self, row: tuple[Any, ...]) -> e.Event:
        number, version, *fields = row
        known = self._types.get(number)
        if known is None or version > known.version:
            raise JournalTooNew(
                f"there is an event of type {number}, version {version}, which this version of pyrotask does "
                "not know: a later one wrote this journal. Install that one (pip install -U pyrotask)"
            )
        if version < known.version:
            fields = self._upcast(number, version, known.version, fields)
        return known.make(fields)

    def _upcast(self, number: int, version: int, newest: int, fields: list[Any]) -> list[Any]:
        for old in range(version, newest):
            fields = self._upcasters[number, old](fields)
        return fields


class _Known(NamedTuple):
    """An event's type, as it is today."""

    version: int
    make: Callable[[list[Any]], e.Event]


def _row(event: e.Event, head: tuple[object, ...]) -> tuple[object, ...]:
    if type(event) is e.TasksSubmitted and event.options == DEFAULT_OPTIONS:
        return (*head, *event[:_OPTIONS_INDEX], None, *event[_OPTIONS_INDEX + 1 :])
    return head + event


def _plain(value: object) -> object:
    """Say how msgpack shall write what it does not know."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, Block):
        return _block_to_wire(value)
    if isinstance(value, int):
        return msgpack.ExtType(_BIG_INT, b"%d" % value)
    raise TypeError(f"a journal cannot hold {value!r}, of type {type(value).__name__}")


def _block_to_wire(block: Block) -> object:
    if block.home is None:
        return block.read()
    home = typing.cast("NumberedHome", block.home)
    digest = block.digest
    kind = _OLD_BLOCK if len(digest) == OLD_DIGEST_BYTES else _BLOCK
    return msgpack.ExtType(kind, _BLOCK_PLACE.pack(home.number, block.offset, block.nbytes) + digest)


def _extended(home_of: HomeOf | None, number: int, data: bytes) -> object:
    if number in {_BLOCK, _OLD_BLOCK} and home_of is not None:
        file, offset, nbytes = _BLOCK_PLACE.unpack_from(data)
        return Block.at(home_of(file), offset, nbytes, data[_BLOCK_PLACE.size :])
    if number != _BIG_INT:
        raise JournalTooNew(f"there is a value of the unknown type {number}: install a later pyrotask")
    return int(data)


# --- reading, by the annotations -----------------------------------------------------------


def fields_of(cls: type, special: Mapping[Any, Reader] | None = None) -> list[tuple[int, Reader]]:
    """Say which fields of a named tuple are not read as they stand: their indexes, and how."""
    hints = _hints_of(cls)
    names: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
    readers = [(index, reader_of(hints[name], special or {})) for index, name in enumerate(names)]
    return [(index, reader) for index, reader in readers if reader is not None]


@functools.cache  # evaluating them is most of what a decoder costs to make
def _hints_of(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def reader_of(hint: Any, special: Mapping[Any, Reader]) -> Reader | None:
    """Make the function that makes a value of that type from what msgpack gives; None: it is one."""
    hint = _without_new_types(hint)
    if hint in special:
        return special[hint]
    if hint == Buffer:
        return None
    origin = typing.get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        return _reader_of_optional(hint, special)
    if origin is frozenset:
        return frozenset
    if origin is tuple:
        return _reader_of_tuple(typing.get_args(hint), special)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint
    if isinstance(hint, type) and hasattr(hint, "_fields"):
        return _reader_of_named_tuple(hint, special)
    return None


def _without_new_types(hint: Any) -> Any:
    while isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    return hint


def _reader_of_optional(hint: Any, special: Mapping[Any, Reader]) -> Reader | None:
    others = [arm for arm in typing.get_args(hint) if arm is not types.NoneType]
    if len(others) != 1:
        raise TypeError(f"{hint} cannot be told apart on disk: use one type, or one and None")
    read = reader_of(others[0], special)
    return None if read is None else lambda value: None if value is None else read(value)


def _reader_of_tuple(arms: tuple[Any, ...], special: Mapping[Any, Reader]) -> Reader | None:
    if arms[-1:] == (Ellipsis,):
        read = reader_of(arms[0], special)
        return None if read is None else lambda values: tuple([read(value) for value in values])
    readers = [reader_of(arm, special) or _as_it_is for arm in arms]
    if all(read is _as_it_is for read in readers):
        return None
    return lambda values: tuple([read(value) for read, value in zip(readers, values, strict=True)])


def _reader_of_named_tuple(cls: type, special: Mapping[Any, Reader]) -> Reader:
    make = _maker(cls, special)
    return lambda values: make(list(values))


def _maker(cls: type, special: Mapping[Any, Reader]) -> Callable[[list[Any]], Any]:
    """Make the function that makes a named tuple of its fields, fewer of them in old rows."""
    readers = fields_of(cls, special)
    width = len(cls._fields)  # type: ignore[attr-defined]
    new = tuple.__new__  # as `cls(*fields)`, in a third of the time

    def make(fields: list[Any]) -> Any:
        for index, read in readers:
            if index < len(fields):
                fields[index] = read(fields[index])
        return new(cls, fields) if len(fields) == width else cls(*fields)

    return make


def _as_it_is(value: Any) -> Any:
    return value


def payload_of(fields: tuple[Any, ...]) -> Payload:
    """A reader that gives the same object for the same format."""
    kind, buffers = fields
    return tuple.__new__(Payload, (FORMATS.get(kind, kind), buffers))  # as Payload(...), in half of the time


def interning(cls: type, default: object) -> Reader:
    """Make a reader that gives the same object for the same fields, and ``default`` for nil."""
    read = _reader_of_named_tuple(cls, {})
    known: dict[tuple[Any, ...], object] = {}

    def read_interned(fields: tuple[Any, ...] | None) -> object:
        if fields is None:
            return default
        value = known.get(fields)
        if value is None:
            if len(known) >= _KEPT:
                known.clear()
            value = known[fields] = read(fields)
        return value

    return read_interned
