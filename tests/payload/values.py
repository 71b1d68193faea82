"""What the tests of payloads share: plain values of every kind, and what is told about them."""

from __future__ import annotations

import math
import struct
from datetime import datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

OFFSETS = st.timedeltas(timedelta(hours=-23), timedelta(hours=23))
ZONES = st.none() | st.builds(timezone, OFFSETS) | st.builds(timezone, OFFSETS, st.text(min_size=1))
TEXT = st.text(st.characters(exclude_categories=()))  # with lone surrogates
HUGE = st.integers(60, 20_000).map(lambda bits: 3 - 2**bits)
HASHABLE_LEAVES = (
    st.none() | st.booleans() | st.integers() | HUGE | st.floats()
    | st.complex_numbers() | TEXT | st.binary() | st.dates() | st.timedeltas()
    | st.datetimes(timezones=ZONES) | st.times(timezones=ZONES)
)  # fmt: skip
HASHABLES = st.recursive(
    HASHABLE_LEAVES,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
EXCEPTION_TYPES = st.sampled_from(
    [ValueError, KeyError, Exception, RuntimeError, SystemExit, StopIteration, UserWarning]
)


def raised(kind: type[BaseException], args: list[object], attributes: dict[str, object]) -> BaseException:
    exc = kind(*args)
    vars(exc).update(attributes)
    return exc


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["remote_type", "task_id", "x"])
    return (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(HASHABLES | st.text(max_size=3), inner, max_size=4)
        | st.sets(HASHABLES, max_size=4)
        | st.builds(
            raised, EXCEPTION_TYPES, st.lists(inner, max_size=2), st.dictionaries(names, inner, max_size=2)
        )
    )


PLAIN_VALUES = st.recursive(HASHABLES | st.binary().map(bytearray), containers, max_leaves=12)


def shape(value: Any) -> object:
    """Describe a value so that equal descriptions mean the same types and bits all through."""
    kind = type(value)
    match value:
        case float():
            return kind, struct.pack("d", value) if not math.isnan(value) else "nan"
        case complex():
            return kind, shape(value.real), shape(value.imag)
        case tuple() | list():
            return kind, [shape(item) for item in value]
        case dict():
            return kind, [(shape(key), shape(item)) for key, item in value.items()]
        case set() | frozenset():
            return kind, sorted(map(repr, map(shape, value)))
        case BaseException():
            return kind, shape(value.args), shape(vars(value))
        case datetime() | time():
            return kind, value.isoformat(), value.fold, repr(value.tzinfo)
        case int():
            return kind, hex(value)  # pytest could not print one of 6000 digits
        case _:
            return kind, value


def nested(levels: int, around: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = around(value)
    return value
