"""The plain format: values <-> msgpack, exactly, and without running anybody's code.

What msgpack has no type for is an array whose first element is a *tag*, an empty extension:
a tuple is ``[tag 0, *items]``. **The codes are in journals: add, never change.**
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from types import FunctionType
from typing import Any, cast

import msgpack

from pyrotask.core.model import PLAIN, Payload
from pyrotask.errors import PayloadError
from pyrotask.payload.places import EXCEPTIONS, LEAVES, MAX_DEPTH, PLAIN_TYPES, Place, nodes, where
from pyrotask.payload.texts import describe, type_name


def encode_plain(value: object, what: str = "value") -> Payload:
    """Encode a plain value; the PayloadError for any other says where and what is not plain.

    ``what`` is what messages call the value: ``parameters[1]['x']: numpy.ndarray is ...``.
    """
    try:
        return pack(value)
    except NotPlain as reason:
        raise PayloadError(_blame(value, what, reason)) from None


def decode_plain(payload: Payload) -> Any:
    """Return a new object from a plain payload; never runs code from the payload.

    Raises PayloadError for a pickle, with what to use instead.
    """
    if payload.format == PLAIN:
        return unpack(payload)
    raise PayloadError(
        f"this value is not plain (its format is {payload.format!r}), and a plain Pyro proxy can only be "
        f"given plain values: use pyrotask's own worker, or a master in the manager's process, for it, or "
        f"send it as {PLAIN_TYPES}"
    )


class NotPlain(Exception):
    """Plain does not carry the value; its text is the reason, if it is not the type."""


# From values to what msgpack has -----------------------------------------------------------

_TUPLE, _SET, _FROZENSET, _DICT, _BYTEARRAY, _DATETIME, _DATE, _TIME, _TIMEDELTA, _EXCEPTION = (
    msgpack.ExtType(code, b"") for code in range(10)
)
_INT_CODE, _COMPLEX_CODE = 32, 33
_MICROSECOND = timedelta(microseconds=1)


def pack(value: object) -> Payload:
    """Encode a plain value; raise NotPlain for any other."""
    try:
        return Payload(PLAIN, (_packed(_lower(value, MAX_DEPTH)),))
    except RecursionError:
        raise NotPlain("it is nested too deep for what is left of Python's stack") from None
    except (ValueError, OverflowError, MemoryError) as error:  # msgpack ends at 4 GiB for a part
        raise NotPlain(f"msgpack refuses it ({error})") from error


def _packed(lowered: object) -> bytes:
    # A Packer per call: a shared one is not thread-safe, and a small buffer makes it cheap.
    packer = msgpack.Packer(default=_lower_int, unicode_errors="surrogatepass", buf_size=512)
    return cast("bytes", packer.pack(lowered))


def _lower(value: Any, levels: int) -> object:
    """Return the value in terms of msgpack; ``levels`` is how many containers may still nest."""
    kind = type(value)
    if kind in LEAVES:
        return value
    lower = _LOWER.get(kind)
    if lower is None:
        raise NotPlain
    if levels == 0:
        raise NotPlain(f"it is nested deeper than {MAX_DEPTH} levels, or contains itself")
    return lower(value, levels - 1)


def _lower_tuple(value: tuple[Any, ...], levels: int) -> object:
    if LEAVES.issuperset(map(type, value)):
        return [_TUPLE, *value]
    return [_TUPLE, *[_lower(item, levels) for item in value]]


def _lower_list(value: list[Any], levels: int) -> object:
    if LEAVES.issuperset(map(type, value)):
        return value
    return [_lower(item, levels) for item in value]


def _lower_dict(value: dict[Any, Any], levels: int) -> object:
    if LEAVES.issuperset(map(type, value)):
        if LEAVES.issuperset(map(type, value.values())):
            return value
        return {key: _lower(item, levels) for key, item in value.items()}
    flat: list[object] = [_DICT]
    for key, item in value.items():
        flat += _lower(key, levels), _lower(item, levels)
    return flat


def _lower_set(value: set[Any] | frozenset[Any], levels: int) -> object:
    # Sorted, since equal sets of two processes iterate in different orders.
    tag = _SET if type(value) is set else _FROZENSET
    return [tag, *sorted([_lower(item, levels) for item in value], key=_packed)]


def _lower_int(value: object) -> object:
    # msgpack asks for what it cannot pack: an int of more than 64 bits.
    if type(value) is not int:
        raise ValueError("the value was changed by another thread while it was encoded")
    size = value.bit_length() // 8 + 1
    return msgpack.ExtType(_INT_CODE, value.to_bytes(size, "big", signed=True))


def _lower_datetime(value: datetime, _levels: int) -> object:
    parts = value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond
    return [_DATETIME, *parts, value.fold, *_lower_zone(value)]


def _lower_time(value: time, _levels: int) -> object:
    return [_TIME, value.hour, value.minute, value.second, value.microsecond, value.fold, *_lower_zone(value)]


def _lower_zone(value: datetime | time) -> tuple[object, ...]:
    """Return () for naive, else the offset in microseconds, and the zone's name if it has one."""
    zone = value.tzinfo
    if zone is None:
        return ()
    if type(zone) is not timezone:
        raise NotPlain
    offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
    return (offset // _MICROSECOND, *name)


def _lower_exception(exc: BaseException, levels: int) -> object:
    # The built-in class's own method, so no user's code; it knows of OSError's file name.
    _, args, *state = cast("tuple[Any, ...]", type(exc).__reduce__(exc))
    attributes = _lower(state[0], levels) if state and state[0] else None
    return [_EXCEPTION, type(exc).__name__, _lower(args, levels), attributes]


_LOWER: dict[type, Callable[[Any, int], object]] = {
    tuple: _lower_tuple,
    list: _lower_list,
    dict: _lower_dict,
    set: _lower_set,
    frozenset: _lower_set,
    bytearray: lambda value, _: [_BYTEARRAY, value],
    complex: lambda value, _: msgpack.ExtType(_COMPLEX_CODE, struct.pack("<dd", value.real, value.imag)),
    datetime: _lower_datetime,
    date: lambda value, _: [_DATE, value.year, value.month, value.day],
    time: _lower_time,
    timedelta: lambda value, _: [_TIMEDELTA, value.days, value.seconds, value.microseconds],
    **dict.fromkeys(EXCEPTIONS, _lower_exception),
}


# From what msgpack has to values -----------------------------------------------------------


def unpack(payload: Payload) -> Any:
    """Decode a plain payload; raise PayloadError when it is damaged."""
    buffers = payload.read()
    try:
        (data,) = buffers
        return msgpack.unpackb(
            data, ext_hook=_raise_extension, list_hook=_raise_list, strict_map_key=False,
            unicode_errors="surrogatepass",
        )  # fmt: skip
    except Exception as error:
        raise PayloadError(
            f"a plain payload of {payload.nbytes} bytes cannot be read: {describe(error)}; "
            "it is damaged, or from a newer version of pyrotask"
        ) from error


def _raise_extension(code: int, data: bytes) -> object:
    # A tag is given as its builder, a function, which no plain value can be.
    if not data:
        return _BUILD[code]
    if code == _INT_CODE:
        return int.from_bytes(data, "big", signed=True)
    if code == _COMPLEX_CODE:
        return complex(*struct.unpack("<dd", data))
    raise ValueError(f"extension {code} is unknown")


def _raise_list(items: list[Any]) -> object:
    if items and type(items[0]) is FunctionType:
        build = items[0]
        del items[0]
        return build(items)
    return items


def _build_tuple(items: list[Any]) -> object:
    return tuple(items)


def _build_set(items: list[Any]) -> object:
    return set(items)


def _build_frozenset(items: list[Any]) -> object:
    return frozenset(items)


def _build_dict(items: list[Any]) -> object:
    return dict(zip(items[::2], items[1::2], strict=True))


def _build_bytearray(items: list[Any]) -> object:
    return bytearray(items[0])


def _build_datetime(items: list[Any]) -> object:
    year, month, day, hour, minute, second, microsecond, fold, *zone = items
    return datetime(year, month, day, hour, minute, second, microsecond, _build_zone(zone), fold=fold)


def _build_date(items: list[Any]) -> object:
    return date(*items)


def _build_time(items: list[Any]) -> object:
    hour, minute, second, microsecond, fold, *zone = items
    return time(hour, minute, second, microsecond, _build_zone(zone), fold=fold)


def _build_timedelta(items: list[Any]) -> object:
    return timedelta(*items)


def _build_zone(items: list[Any]) -> timezone | None:
    return timezone(items[0] * _MICROSECOND, *items[1:]) if items else None


def _build_exception(items: list[Any]) -> object:
    name, args, attributes = items
    kind = getattr(builtins, name, None)
    if kind not in EXCEPTIONS:  # one that a newer Python has
        return stand_in_named(f"{name}{args}", name)
    exc = kind(*args)
    if attributes:
        exc.__setstate__(attributes)
    return exc


_BUILD = (
    _build_tuple, _build_set, _build_frozenset, _build_dict, _build_bytearray, _build_datetime, _build_date,
    _build_time, _build_timedelta, _build_exception,
)  # fmt: skip


def stand_in_named(text: str, remote_type: str) -> RuntimeError:
    """Make the exception that stands for one that cannot travel."""
    stand_in = RuntimeError(text)
    stand_in.remote_type = remote_type  # type: ignore[attr-defined]
    return stand_in


# Why a value is not plain ------------------------------------------------------------------


def _blame(value: object, what: str, reason: NotPlain) -> str:
    """Say which part of a value is not plain, and what to do."""
    if reason.args:
        return f"{what}: {reason}, and cannot travel as a plain value"
    for item, _, path in nodes(value, Place.VALUE, None):
        kind = type(item)
        if kind in LEAVES or (kind in _LOWER and not _has_foreign_zone(item)):
            continue
        return (
            f"{where(what, path)}: {type_name(kind)} is not a plain value{_advice(item)}. "
            f"Plain Pyro proxies can pass {PLAIN_TYPES}; "
            "for anything else use a master in the manager's process, and pyrotask's workers, which pickle"
        )
    return f"{what}: {type_name(type(value))} holds something that is not a plain value"


def _has_foreign_zone(item: Any) -> bool:
    return type(item) in {datetime, time} and item.tzinfo is not None and type(item.tzinfo) is not timezone


def _advice(item: Any) -> str:
    if _has_foreign_zone(item):
        return " with this tzinfo: pass .astimezone(datetime.timezone.utc)"
    for base in type(item).__mro__:
        if base in LEAVES or base in _LOWER:
            return f", but a subclass of {base.__name__}: pass {base.__name__}(...)"
    return ": pass .tolist()" if hasattr(type(item), "tolist") else ""
