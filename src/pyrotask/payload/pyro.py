"""The edge to Pyro's serializers: what each carries, and what each did to a value."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from types import NoneType
from typing import Any

from pyrotask.errors import PayloadError
from pyrotask.payload.places import EXCEPTIONS, LEAVES, SEQUENCES, Path, Place, nodes, too_deep, where
from pyrotask.payload.texts import type_name

MAX_DIGITS = 4300
"""Python prints and parses no int of more digits, unless it is told to."""


def from_wire(value: Any, serializer: str = "serpent") -> Any:
    """Undo what a Pyro serializer did to bytes; may return ``value`` itself.

    serpent turns bytes into ``{'data': ..., 'encoding': 'base64'}``: such dicts, exactly
    these, become bytes again, at any depth. A memoryview becomes bytes.
    """
    try:
        return _revive(value, from_base64=serializer == "serpent")
    except RecursionError:
        raise PayloadError(too_deep("value")) from None


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
        raise PayloadError(too_deep(what)) from None
    if refusal is not None:
        path, reason = refusal
        raise PayloadError(
            f"{where(what, path)}: {reason} with Pyro's {serializer} serializer. Change the value, "
            "set another serializer in Pyro5.config.SERIALIZER, or collect it in the manager's own process"
        )
    return value


def _revive(value: Any, *, from_base64: bool) -> Any:
    kind = type(value)
    if kind is dict:
        if from_base64 and value.keys() == {"data", "encoding"} and value["encoding"] == "base64":
            raw = _from_base64(value["data"])
            if raw is not None:
                return raw
        if LEAVES.issuperset(map(type, value.values())):
            return value
        return {key: _revive(item, from_base64=from_base64) for key, item in value.items()}
    if kind in SEQUENCES:
        if LEAVES.issuperset(map(type, value)):
            return value
        return kind([_revive(item, from_base64=from_base64) for item in value])
    return bytes(value) if kind is memoryview else value


def _from_base64(text: object) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if type(text) is str else None
    except ValueError:
        return None


@dataclass(frozen=True)
class _Wire:
    """What one of Pyro's serializers carries, as found out by trying (see the tests)."""

    values: frozenset[type]
    free: frozenset[type]
    """Leaves that it carries whatever their value, outside of keys, sets and exceptions."""
    only: Mapping[Place, frozenset[type]] = field(default_factory=dict)
    """Where it carries fewer types than ``values``."""
    limits: tuple[Callable[[Any, Place], str | None], ...] = ()
    """What it does not carry of types that it carries: each returns why not."""

    def refusal(self, item: Any, place: Place) -> str | None:
        """Return why the item alone (not what is in it) cannot travel at that place."""
        kind = type(item)
        sort = BaseException if kind in EXCEPTIONS else kind
        if sort not in self.only.get(place, self.values):
            return f"{type_name(kind)} cannot travel {place.value}"
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
    if kind in SEQUENCES:
        return free.issuperset(map(type, value)) or all(_surely_carried(item, free) for item in value)
    if kind is dict:
        if "__class__" in value or not all(type(key) is str and key.isascii() for key in value):
            return False
        return all(_surely_carried(item, free) for item in value.values())
    return False


def _first_refusal(value: Any, wire: _Wire) -> tuple[Path, str] | None:
    for item, place, path in nodes(value, Place.VALUE, None):
        reason = wire.refusal(item, place)
        if reason is not None:
            return path, reason
    return None


_TOO_MANY_DIGITS = 10**MAX_DIGITS


def _digits(item: Any, _place: Place) -> str | None:
    if type(item) is int and abs(item) >= _TOO_MANY_DIGITS:
        return f"an int of more than {MAX_DIGITS} digits"
    return None


def _class_dicts(item: Any, _place: Place) -> str | None:
    if type(item) is dict and "__class__" in item:
        return "a dict with a key '__class__', which Pyro takes for an object,"
    return None


def _class_dicts_outside_exceptions(item: Any, place: Place) -> str | None:
    # What is in an exception is not looked at again by the readers of these serializers.
    return None if place is Place.EXCEPTION else _class_dicts(item, place)


def _surrogates(item: Any, _place: Place) -> str | None:
    if type(item) is str and not item.isascii():
        try:
            item.encode()
        except UnicodeEncodeError:
            return "a str with lone surrogates"
    return None


def _not_a_number(item: Any, place: Place) -> str | None:
    # serpent writes nan as a dict, and its reader revives those of float, outside of exceptions.
    if type(item) is float and place is not Place.VALUE and math.isnan(item):
        return "nan"
    if type(item) is complex and (math.isnan(item.real) or math.isnan(item.imag)):
        return "a complex nan"
    return None


def _timestamps(item: Any, _place: Place) -> str | None:
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
    key, element, part, exception = Place.KEY, Place.ELEMENT, Place.PART, Place.EXCEPTION
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
