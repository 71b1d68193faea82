"""Object <-> `Payload`: how values travel, and what each kind of client can read.

There are two formats. *plain* is one canonical encoding of plain Python values, which every
kind of client can be served with, and which is safe to read. *pickle* carries nearly
everything, but reading it runs code, so only our own clients and workers do. This is the
only file that imports pickle or cloudpickle.

A value is plain if it is None, or its type is **exactly** bool, int, float, complex, str,
bytes, bytearray, tuple, list, set, frozenset, dict, datetime, date, time (with no tzinfo or
a ``datetime.timezone``), timedelta, or a built-in exception, and everything in it is plain.
Subclasses (``np.float64``, named tuples, enums, ``OrderedDict``) are not: they would come
out as something else. Plain values are trees: what is in a value twice comes out as two.

Plain is msgpack. What msgpack has no type for is an array whose first element is a *tag*, an
empty extension: a tuple is ``[tag 0, *items]``. **The codes are in journals: add, never change.**

All functions are thread-safe, keep nothing, and copy: what was encoded shares nothing
mutable with what is decoded. What cannot be done is a `PayloadError`, whatever the value's
own code raised; only ``KeyboardInterrupt`` passes through.
"""

from __future__ import annotations

import base64
import builtins
import enum
import math
import pickle
import struct
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from types import FunctionType, NoneType
from typing import Any, cast

import msgpack

from pyrotask.core.model import PICKLE, PLAIN, Failure, Payload
from pyrotask.errors import PayloadError

PLAIN_TYPES = "None, bool, int, float, complex, str, bytes, tuple, list, set, dict, date and time types"

MAX_DEPTH = 100
"""How deep plain containers may nest: each of Pyro's serializers still carries it (serpent's
reader ends at 200 parentheses), and a value that contains itself is found out."""

OUT_OF_BAND_BYTES = 16 * 1024
"""From this size on a buffer (an array's data) travels beside the pickle, not in it."""

MAX_TRACEBACK = 20_000
"""The most characters that are kept of a traceback: recursions and chains can be endless."""

MAX_MESSAGE = 2_000
"""The most characters that are kept of an exception's text: some hold a whole array."""

MAX_DIGITS = 4300
"""Python prints and parses no int of more digits, unless it is told to."""


# Encoding -------------------------------------------------------------------------------


def encode(value: object) -> Payload:
    """Encode any value: plain where that carries it exactly, else pickle.

    Raises PayloadError when neither can.
    """
    try:
        return _pack(value)
    except _NotPlain:
        return encode_pickle(value)


def encode_plain(value: object, what: str = "value") -> Payload:
    """Encode a plain value; the PayloadError for any other says where and what is not plain.

    ``what`` is what messages call the value: ``parameters[1]['x']: numpy.ndarray is ...``.
    """
    try:
        return _pack(value)
    except _NotPlain as reason:
        raise PayloadError(_blame(value, what, reason)) from None


def encode_pickle(value: object) -> Payload:
    """Encode nearly any value; large contiguous buffers become buffers of their own.

    Functions and classes travel by name where the other side can import them. Those of
    ``__main__``, lambdas and closures travel by value, with cloudpickle.
    Raises PayloadError with the reason when the value cannot be pickled.
    """
    try:
        payload = _dump(pickle.dumps, value)
        # The name is in the stream of each pickle that refers to the module. A value that
        # merely holds this text is carried by cloudpickle as well.
        if b"__main__" not in payload.buffers[0]:
            return payload
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001, S110 - cloudpickle may carry it, or has the better reason
        pass
    try:
        import cloudpickle  # noqa: PLC0415 - it takes 30 ms, and few processes need it

        return _dump(cloudpickle.dumps, value)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PayloadError(
            f"a value of type {_type_name(type(value))} cannot be pickled: {_describe(error)}. "
            "Locks, sockets, open files and generators cannot travel: make them inside the task, "
            "or leave them out in the class's __getstate__"
        ) from error


def encode_error(exc: BaseException) -> Failure:
    """Describe a live exception for the broker. Raises nothing, whatever the exception does.

    The error is encoded so that it surely can be decoded: plain, or a pickle that was tried.
    Else it is a `RuntimeError` of the same text, with the class's name as ``remote_type``.
    """
    return Failure(_error_payload(exc), _traceback_text(exc), _type_names(type(exc)), _describe(exc))


def encode_plain_error(error: object, traceback_text: str = "") -> Failure:
    """Describe what a plain client hands in as exception: any object, and a text.

    Always plain: what is not becomes a `RuntimeError` stand-in, as in `encode_error`.
    """
    try:
        payload = _pack(error)
    except _NotPlain:
        payload = _pack(_stand_in(error))
    if isinstance(error, BaseException):
        return Failure(payload, traceback_text, _type_names(type(error)), _describe(error))
    message = error if type(error) is str else _repr(error)
    return Failure(payload, traceback_text, (type(error).__name__,), _shortened(message, MAX_MESSAGE))


# Decoding -------------------------------------------------------------------------------


def decode(payload: Payload) -> Any:
    """Return a new object from a payload of any format; **reading a pickle runs its code**.

    A writable buffer (a bytearray) is given away by the caller: the object may live in it.
    Read-only ones (bytes) are copied where the object is to be writable.
    Raises PayloadError with the reason when the object cannot be made here.
    """
    if payload.format == PLAIN:
        return _unpack(payload)
    if payload.format != PICKLE:
        raise PayloadError(
            f"payload format {payload.format!r} is unknown to this version of pyrotask; "
            "update it to the version that the sender uses: pip install -U pyrotask"
        )
    try:
        data, *buffers = payload.buffers
        return pickle.loads(data, buffers=map(_writable, buffers))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PayloadError(_why_not_loaded(error, payload)) from error


def decode_plain(payload: Payload) -> Any:
    """Return a new object from a plain payload; never runs code from the payload.

    Raises PayloadError for a pickle, with what to use instead.
    """
    if payload.format == PLAIN:
        return _unpack(payload)
    raise PayloadError(
        f"this value is not plain (its format is {payload.format!r}), and a plain Pyro proxy can only be "
        f"given plain values: use pyrotask's own client or worker for it, or send it as {PLAIN_TYPES}"
    )


def decode_error(failure: Failure, *, plain_only: bool = False) -> Any:
    """Return what a failed task raised, or a `RuntimeError` stand-in with ``remote_type``.

    The stand-in is for an exception that cannot be made here, or is a pickle and
    ``plain_only`` (for plain clients) is set. Raises nothing.
    """
    try:
        return decode_plain(failure.error) if plain_only else decode(failure.error)
    except PayloadError:
        name = failure.type_names[0] if failure.type_names else "Exception"
        return _stand_in_named(failure.message or name, name)


# The edge to Pyro's serializers ----------------------------------------------------------


def from_wire(value: Any, serializer: str = "serpent") -> Any:
    """Undo what a Pyro serializer did to bytes; may return ``value`` itself.

    serpent turns bytes into ``{'data': ..., 'encoding': 'base64'}``: such dicts, exactly
    these, become bytes again, at any depth. A memoryview becomes bytes.
    """
    try:
        return _revive(value, from_base64=serializer == "serpent")
    except RecursionError:
        raise PayloadError(_too_deep("value")) from None


def to_wire(value: Any, serializer: str, what: str = "value") -> Any:
    """Return ``value`` if Pyro's serializer of that name carries it, else raise PayloadError.

    Without this check some values raise in Pyro, some arrive as something else, and some
    (marked !) break the *receiver's connection*. What Pyro is documented to change passes:

    =========================  ================  ==============  =========  ==============
    plain value                serpent           json            marshal    msgpack
    =========================  ================  ==============  =========  ==============
    None, bool, float          same              same            same       same
    int                        <= 4300 digits    <= 4300 digits  same       <= 4300 digits
    str                        same              no surrogates   same       no surrogates
    complex                    no nan !          refused         same       same
    bytes, bytearray           base64 dict       refused         bytes      bytes
    tuple                      same              list            same       list
    list                       same              same            same       same
    set                        same; () if empty list            same       list
    frozenset                  as set            refused         same       refused
    elements of sets           as dict keys !    any             any        any
    dict keys                  bool, str, tuple, str             any        str, bytes !
                               numbers but nan !
    dict key ``"__class__"``   refused !         refused !       refused !  refused !
    datetime                   ISO text          ISO text        refused    naive only !
    date                       ISO text          ISO text        refused    same
    time                       ISO text          refused         refused    refused
    timedelta                  seconds           refused         refused    refused
    exception                  same              same            refused    same
    ... with bytes, nan in it  refused !         no bytes        refused    same
    ... with exceptions in it  refused !         refused !       refused    same
    =========================  ================  ==============  =========  ==============
    """
    wire = _WIRES.get(serializer)
    if wire is None:
        raise PayloadError(f"Pyro serializer {serializer!r} is unknown; use one of {', '.join(_WIRES)}")
    try:
        refusal = None if _surely_carried(value, wire.free) else _first_refusal(value, wire)
    except RecursionError:
        raise PayloadError(_too_deep(what)) from None
    if refusal is not None:
        path, reason = refusal
        raise PayloadError(
            f"{_where(what, path)}: {reason} with Pyro's {serializer} serializer. Change the value, "
            "set another serializer in Pyro5.config.SERIALIZER, or use pyrotask's own client"
        )
    return value


# The plain format: from values to what msgpack has ---------------------------------------


class _NotPlain(Exception):
    """Plain does not carry the value; its text is the reason, if it is not the type."""


_LEAVES = frozenset({NoneType, bool, int, float, str, bytes})
_SEQUENCES = frozenset({tuple, list})
_EXCEPTIONS: dict[type, str] = {
    kind: kind.__name__
    for kind in vars(builtins).values()
    if type(kind) is type and issubclass(kind, BaseException)
}

_TUPLE, _SET, _FROZENSET, _DICT, _BYTEARRAY, _DATETIME, _DATE, _TIME, _TIMEDELTA, _EXCEPTION = (
    msgpack.ExtType(code, b"") for code in range(10)
)
_INT_CODE, _COMPLEX_CODE = 32, 33
_MICROSECOND = timedelta(microseconds=1)


def _pack(value: object) -> Payload:
    try:
        return Payload(PLAIN, (_packed(_lower(value, MAX_DEPTH)),))
    except RecursionError:
        raise _NotPlain("it is nested too deep for what is left of Python's stack") from None
    except (ValueError, OverflowError, MemoryError) as error:  # msgpack ends at 4 GiB for a part
        raise _NotPlain(f"msgpack refuses it ({error})") from error


def _packed(lowered: object) -> bytes:
    # A Packer per call: a shared one is not thread-safe, and a small buffer makes it cheap.
    packer = msgpack.Packer(default=_lower_int, unicode_errors="surrogatepass", buf_size=512)
    return cast("bytes", packer.pack(lowered))


def _lower(value: Any, levels: int) -> object:
    """Return the value in terms of msgpack; ``levels`` is how many containers may still nest."""
    kind = type(value)
    if kind in _LEAVES:
        return value
    lower = _LOWER.get(kind)
    if lower is None:
        raise _NotPlain
    if levels == 0:
        raise _NotPlain(f"it is nested deeper than {MAX_DEPTH} levels, or contains itself")
    return lower(value, levels - 1)


def _lower_tuple(value: tuple[Any, ...], levels: int) -> object:
    if _LEAVES.issuperset(map(type, value)):
        return [_TUPLE, *value]
    return [_TUPLE, *[_lower(item, levels) for item in value]]


def _lower_list(value: list[Any], levels: int) -> object:
    if _LEAVES.issuperset(map(type, value)):
        return value
    return [_lower(item, levels) for item in value]


def _lower_dict(value: dict[Any, Any], levels: int) -> object:
    if _LEAVES.issuperset(map(type, value)):
        if _LEAVES.issuperset(map(type, value.values())):
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
        raise _NotPlain
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
    **dict.fromkeys(_EXCEPTIONS, _lower_exception),
}


# The plain format: from what msgpack has to values ---------------------------------------


def _unpack(payload: Payload) -> Any:
    try:
        (data,) = payload.buffers
        return msgpack.unpackb(
            data, ext_hook=_raise_extension, list_hook=_raise_list, strict_map_key=False,
            unicode_errors="surrogatepass",
        )  # fmt: skip
    except Exception as error:
        raise PayloadError(
            f"a plain payload of {payload.nbytes} bytes cannot be read: {_describe(error)}; "
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
    if kind not in _EXCEPTIONS:  # one that a newer Python has
        return _stand_in_named(f"{name}{args}", name)
    exc = kind(*args)
    if attributes:
        exc.__setstate__(attributes)
    return exc


_BUILD = (
    _build_tuple, _build_set, _build_frozenset, _build_dict, _build_bytearray, _build_datetime, _build_date,
    _build_time, _build_timedelta, _build_exception,
)  # fmt: skip


# Pickles ----------------------------------------------------------------------------------


def _dump(dumps: Callable[..., bytes], value: object) -> Payload:
    buffers: list[bytes] = []

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        with buffer.raw() as raw:
            if raw.nbytes < OUT_OF_BAND_BYTES:
                return True
            buffers.append(bytes(raw))  # a copy: the caller may change the array right after
        return False

    data = dumps(value, protocol=5, buffer_callback=keep_in_band)
    return Payload(PICKLE, (data, *buffers))


def _writable(buffer: bytes) -> bytes | bytearray:
    # An array in read-only memory could not be changed in place. (What was read-only when it
    # was pickled stays so: the pickle itself says it.)
    return bytearray(buffer) if memoryview(buffer).readonly else buffer


def _why_not_loaded(error: BaseException, payload: Payload) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return (
            f"the value needs the module {error.name!r}, which cannot be imported here. Each worker and "
            "client must be able to import it: install it, or set PYTHONPATH, until this works: "
            f"{sys.executable} -c 'import {error.name}'"
        )
    hint = "the code that it refers to must be the same on both sides"
    if payload.buffers and b"cloudpickle" in payload.buffers[0]:
        hint += ", and so must the version of Python, since it holds a function or class by value"
    return f"the value cannot be unpickled: {_describe(error)}; {hint}"


# Exceptions -------------------------------------------------------------------------------


def _error_payload(exc: BaseException) -> Payload:
    try:
        payload = encode(exc)
        copy = decode(payload)
        if isinstance(copy, BaseException) and _text(copy) is not None:
            return payload
    except PayloadError:
        pass
    return _pack(_stand_in(exc))


def _stand_in(error: object) -> RuntimeError:
    return _stand_in_named(_repr(error), _type_name(type(error)))


def _stand_in_named(text: str, remote_type: str) -> RuntimeError:
    stand_in = RuntimeError(text)
    stand_in.remote_type = remote_type  # type: ignore[attr-defined]
    return stand_in


def _type_names(kind: type) -> tuple[str, ...]:
    """Return the names of an exception class and its bases, up to Exception."""
    names = []
    for base in kind.__mro__:
        names.append(base.__name__)
        if base in {Exception, BaseException}:
            break
    return tuple(names)


def _traceback_text(exc: BaseException) -> str:
    try:
        lines = traceback.format_exception(exc)
    except Exception as error:  # noqa: BLE001 - e.g. __notes__ that is no list, by a user's hand
        return f"{_type_name(type(exc))} (its traceback cannot be shown: {_type_name(type(error))})\n"
    return _shortened("".join(lines), MAX_TRACEBACK)


# Texts ------------------------------------------------------------------------------------


def _type_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _describe(error: BaseException) -> str:
    """Return what the last line of a traceback says: the type's name, and the text."""
    text = _text(error)
    if text is None:
        text = "(its text cannot be shown)"
    return _type_name(type(error)) + (f": {text}" if text else "")


def _text(error: BaseException) -> str | None:
    try:
        return _shortened(str.__str__(str(error)), MAX_MESSAGE)
    except Exception:  # noqa: BLE001 - a user's __str__
        return None


def _repr(value: object) -> str:
    try:
        text = str.__str__(repr(value))
    except Exception as error:  # noqa: BLE001 - a user's __repr__
        text = f"<{_type_name(type(value))} whose repr raises {_type_name(type(error))}>"
    return _shortened(text, MAX_MESSAGE)


def _shortened(text: str, limit: int) -> str:
    """Return the text without surrogates, and without its middle if it is too long."""
    if len(text) > limit:
        text = f"{text[: limit // 2]}\n... {len(text) - limit} characters ...\n{text[-limit // 2 :]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# Looking into a plain value ---------------------------------------------------------------


class _Place(enum.Enum):
    """Where in a value something stands, as far as Pyro's serializers treat it differently."""

    VALUE = "as a value"
    KEY = "as a dict key"
    ELEMENT = "as an element of a set"
    PART = "in a tuple that is a dict key or in a set"
    EXCEPTION = "in an exception"


_Path = tuple[Any, str, object] | None
"""The way to a part of a value, from its end: (the way to what it is in, template, key)."""


def _nodes(value: Any, place: _Place, path: _Path) -> Iterator[tuple[Any, _Place, _Path]]:
    """Yield the value and everything in it, in the order in which `_lower` visits it."""
    yield value, place, path
    kind = type(value)
    if kind in _SEQUENCES:
        below = _Place.PART if place in {_Place.KEY, _Place.ELEMENT} else place
        for index, item in enumerate(value):
            yield from _nodes(item, below, (path, "[{}]", index))
    elif kind is dict:
        for key, item in value.items():
            yield from _nodes(key, _Place.KEY, (path, " (its key {})", key))
            yield from _nodes(item, place, (path, "[{}]", key))
    elif kind is set or kind is frozenset:
        for item in value:
            yield from _nodes(item, _Place.ELEMENT, (path, " (its element {})", item))
    elif kind in _EXCEPTIONS:
        for name, item in vars(value).items():
            yield from _nodes(item, _Place.EXCEPTION, (path, "{}", _Attribute(name)))
        for index, item in enumerate(value.args):
            yield from _nodes(item, _Place.EXCEPTION, (path, ".args[{}]", index))


class _Attribute(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return f".{self}"


def _too_deep(what: str) -> str:
    return f"{what}: it is nested too deep: only {MAX_DEPTH} levels can travel as a plain value; flatten it"


def _where(what: str, path: _Path) -> str:
    steps = []
    while path is not None:
        path, template, key = path
        steps.append(template.format(_repr(key)[:80]))
    return what + "".join(reversed(steps))


def _blame(value: object, what: str, reason: _NotPlain) -> str:
    """Say which part of a value is not plain, and what to do."""
    if reason.args:
        return f"{what}: {reason}, and cannot travel as a plain value"
    for item, _, path in _nodes(value, _Place.VALUE, None):
        kind = type(item)
        if kind in _LEAVES or (kind in _LOWER and not _has_foreign_zone(item)):
            continue
        return (
            f"{_where(what, path)}: {_type_name(kind)} is not a plain value{_advice(item)}. "
            f"Plain Pyro proxies can pass {PLAIN_TYPES}; "
            "for anything else use pyrotask's own client and worker, which pickle"
        )
    return f"{what}: {_type_name(type(value))} holds something that is not a plain value"


def _has_foreign_zone(item: Any) -> bool:
    return type(item) in {datetime, time} and item.tzinfo is not None and type(item.tzinfo) is not timezone


def _advice(item: Any) -> str:
    if _has_foreign_zone(item):
        return " with this tzinfo: pass .astimezone(datetime.timezone.utc)"
    for base in type(item).__mro__:
        if base in _LEAVES or base in _LOWER:
            return f", but a subclass of {base.__name__}: pass {base.__name__}(...)"
    return ": pass .tolist()" if hasattr(type(item), "tolist") else ""


# What Pyro's serializers carry ------------------------------------------------------------


@dataclass(frozen=True)
class _Wire:
    """What one of Pyro's serializers carries, as found out by trying (see the tests)."""

    values: frozenset[type]
    free: frozenset[type]
    """Leaves that it carries whatever their value, outside of keys, sets and exceptions."""
    only: Mapping[_Place, frozenset[type]] = field(default_factory=dict)
    """Where it carries fewer types than ``values``."""
    limits: tuple[Callable[[Any, _Place], str | None], ...] = ()
    """What it does not carry of types that it carries: each returns why not."""

    def refusal(self, item: Any, place: _Place) -> str | None:
        """Return why the item alone (not what is in it) cannot travel at that place."""
        kind = type(item)
        sort = BaseException if kind in _EXCEPTIONS else kind
        if sort not in self.only.get(place, self.values):
            return f"{_type_name(kind)} cannot travel {place.value}"
        for limit in self.limits:
            reason = limit(item, place)
            if reason is not None:
                return f"{reason} cannot travel {place.value}"
        return None


def _surely_carried(value: Any, free: frozenset[type]) -> bool:
    """Say yes to most of what is carried, quickly; no means: look closer."""
    kind = type(value)
    if kind in free:
        return True
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    if kind is str:
        return bool(value.isascii())
    if kind in _SEQUENCES:
        return free.issuperset(map(type, value)) or all(_surely_carried(item, free) for item in value)
    if kind is dict:
        if "__class__" in value or not all(type(key) is str and key.isascii() for key in value):
            return False
        return all(_surely_carried(item, free) for item in value.values())
    return False


def _first_refusal(value: Any, wire: _Wire) -> tuple[_Path, str] | None:
    for item, place, path in _nodes(value, _Place.VALUE, None):
        reason = wire.refusal(item, place)
        if reason is not None:
            return path, reason
    return None


_TOO_MANY_DIGITS = 10**MAX_DIGITS


def _digits(item: Any, _place: _Place) -> str | None:
    if type(item) is int and abs(item) >= _TOO_MANY_DIGITS:
        return f"an int of more than {MAX_DIGITS} digits"
    return None


def _class_dicts(item: Any, _place: _Place) -> str | None:
    if type(item) is dict and "__class__" in item:
        return "a dict with a key '__class__', which Pyro takes for an object,"
    return None


def _class_dicts_outside_exceptions(item: Any, place: _Place) -> str | None:
    # What is in an exception is not looked at again by the readers of these serializers.
    return None if place is _Place.EXCEPTION else _class_dicts(item, place)


def _surrogates(item: Any, _place: _Place) -> str | None:
    if type(item) is str and not item.isascii():
        try:
            item.encode()
        except UnicodeEncodeError:
            return "a str with lone surrogates"
    return None


def _not_a_number(item: Any, place: _Place) -> str | None:
    # serpent writes nan as a dict, and its reader revives those of float, outside of exceptions.
    if type(item) is float and place is not _Place.VALUE and math.isnan(item):
        return "nan"
    if type(item) is complex and (math.isnan(item.real) or math.isnan(item.imag)):
        return "a complex nan"
    return None


def _timestamps(item: Any, _place: _Place) -> str | None:
    # msgpack sends the seconds since 1970 in local time.
    if type(item) is datetime:
        try:
            if item.tzinfo is None and datetime.fromtimestamp(item.timestamp()) == item:  # noqa: DTZ006
                return None
        except (ValueError, OverflowError, OSError):
            pass
        return "a datetime with a time zone or out of the range of timestamps"
    return None


def _wires() -> dict[str, _Wire]:
    leaves = frozenset({NoneType, bool, int, float, str})
    raw = frozenset({bytes, bytearray})
    dates = frozenset({datetime, date, time, timedelta})
    error = frozenset({BaseException})
    simple = leaves | {tuple, list, dict, set}
    everything = simple | raw | dates | error | {complex, frozenset}
    in_json = simple | {datetime, date}
    in_msgpack = in_json | raw | {complex}
    hashable = frozenset({bool, int, float, complex, str, tuple})
    key, element, part, exception = _Place.KEY, _Place.ELEMENT, _Place.PART, _Place.EXCEPTION
    return {
        "serpent": _Wire(
            everything,
            free=frozenset({NoneType, bool, float, str, bytes}),
            only={
                key: hashable,
                element: hashable,
                part: hashable | dates | {NoneType},
                exception: everything - raw - error,
            },
            limits=(_digits, _not_a_number, _class_dicts_outside_exceptions),
        ),
        "json": _Wire(
            in_json | error,
            free=frozenset({NoneType, bool, float}),
            only={key: frozenset({str}), element: in_json, part: in_json, exception: in_json},
            limits=(_digits, _surrogates, _class_dicts_outside_exceptions),
        ),
        "marshal": _Wire(
            everything - dates - error,
            free=frozenset({NoneType, bool, int, float, str, bytes}),
            limits=(_class_dicts,),
        ),
        "msgpack": _Wire(
            in_msgpack | error,
            free=frozenset({NoneType, bool, float, bytes}),
            only={key: frozenset({str, bytes})},
            limits=(_digits, _surrogates, _timestamps, _class_dicts),
        ),
    }


_WIRES = _wires()


def _revive(value: Any, *, from_base64: bool) -> Any:
    kind = type(value)
    if kind is dict:
        if from_base64 and value.keys() == {"data", "encoding"} and value["encoding"] == "base64":
            raw = _from_base64(value["data"])
            if raw is not None:
                return raw
        if _LEAVES.issuperset(map(type, value.values())):
            return value
        return {key: _revive(item, from_base64=from_base64) for key, item in value.items()}
    if kind in _SEQUENCES:
        if _LEAVES.issuperset(map(type, value)):
            return value
        return kind([_revive(item, from_base64=from_base64) for item in value])
    return bytes(value) if kind is memoryview else value


def _from_base64(text: object) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if type(text) is str else None
    except ValueError:
        return None
