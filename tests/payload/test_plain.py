"""Plain values: what is one, how it comes back, and with which words others are refused."""

from __future__ import annotations

import collections
import contextlib
import decimal
import enum
import fractions
import zoneinfo
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pyrotask import payload as payloads
from pyrotask.core.model import PICKLE, PLAIN, Payload
from pyrotask.errors import PayloadError, UnknownTask
from pyrotask.payload import (
    decode,
    decode_plain,
    encode,
    encode_pickle,
    encode_plain,
)
from tests.payload.troubles import Bomb, OwnError
from tests.payload.values import HASHABLES, PLAIN_VALUES, nested, raised, shape

if TYPE_CHECKING:
    from collections.abc import Callable


@given(PLAIN_VALUES)
def test_a_plain_value_comes_back_with_every_type_and_bit(value: Any) -> None:
    encoded = encode_plain(value)
    assert encoded.format == PLAIN
    assert len(encoded.buffers) == 1
    assert shape(decode(encoded)) == shape(value)
    assert shape(decode_plain(encoded)) == shape(value)


@given(PLAIN_VALUES)
def test_what_is_plain_is_encoded_as_plain_when_anything_goes(value: Any) -> None:
    assert encode(value) == encode_plain(value)


@given(st.lists(HASHABLES, max_size=6))
def test_equal_sets_are_encoded_equally_in_whatever_order_they_were_built(items: list[Any]) -> None:
    backwards = items[::-1]
    assume(len({repr(shape(item)) for item in items}) == len(set(items)))  # 1 and 1.0 are one element
    assert encode_plain(set(items)) == encode_plain(set(backwards))


@pytest.mark.parametrize("value", [[1], {"a": []}, {1}, bytearray(b"x"), ValueError("x")], ids=repr)
def test_a_mutable_value_is_copied(value: Any) -> None:
    encoded = encode(value)
    assert decode(encoded) is not value
    assert decode(encoded) is not decode(encoded)


AROUND = {
    "list": lambda v: [v],
    "tuple": lambda v: (v,),
    "dict": lambda v: {"a": v},
    "dict with other keys": lambda v: {None: v},
    "exception": ValueError,
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_containers_nest_up_to_the_bound(around: Callable[[Any], Any]) -> None:
    value = nested(payloads.MAX_DEPTH // (2 if around is ValueError else 1), around)
    assert shape(decode(encode_plain(value))) == shape(value)


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_deeper_nesting_is_not_plain(around: Callable[[Any], Any]) -> None:
    with pytest.raises(PayloadError, match="result: it is nested deeper than 100 levels, or contains itself"):
        encode_plain(nested(payloads.MAX_DEPTH + 1, around), "result")


def test_a_value_that_contains_itself_is_not_plain() -> None:
    loop: list[object] = []
    loop += [loop, loop]
    with pytest.raises(PayloadError, match="contains itself"):
        encode_plain(loop)
    copy = decode(encode(loop))
    assert copy[0] is copy


class Colour(enum.IntEnum):
    RED = 1


class Point(collections.namedtuple("Point", "x y")):  # noqa: PYI024
    __slots__ = ()


class OwnText(str):
    __slots__ = ()


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin") if zoneinfo.available_timezones() else None
NOT_PLAIN = [
    (np.float64(1.5), "numpy.float64"),
    (np.arange(3), "numpy.ndarray"),
    (Point(1, 2), "Point"),
    (collections.OrderedDict(a=1), "collections.OrderedDict"),
    (Colour.RED, "Colour"),
    (OwnText("x"), "OwnText"),
    (OwnError("x"), "OwnError"),
    (decimal.Decimal(1), "decimal.Decimal"),
    (fractions.Fraction(1, 2), "fractions.Fraction"),
    (range(3), "range"),
    (..., "ellipsis"),
    (UnknownTask("t_1"), "pyrotask.errors.UnknownTask"),
]


@pytest.mark.parametrize(("value", "name"), NOT_PLAIN, ids=[name for _, name in NOT_PLAIN])
def test_what_is_not_exactly_a_plain_type_is_refused_as_plain_and_pickled_else(value: Any, name: str) -> None:
    with pytest.raises(PayloadError, match=rf"value: \S*{name} is not a plain value"):
        encode_plain(value)
    encoded = encode(value)
    assert encoded.format == PICKLE
    assert type(decode(encoded)) is type(value)
    assert repr(decode(encoded)) == repr(value)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ((1, {"x": range(3)}), "parameters[1]['x']: range"),
        ({(1, range(3)): 2}, "parameters (its key (1, range(0, 3)))[1]: range"),
        ([{range(3)}], "parameters[0] (its element range(0, 3)): range"),
        (ValueError(1, range(3)), "parameters.args[1]: range"),
        (raised(ValueError, [], {"cause": range(3)}), "parameters.cause: range"),
        ([[1, 2], [[], ("a", range(3))]], "parameters[1][1][1]: range"),
    ],
)
def test_a_refusal_says_where_in_the_value_the_stranger_is(value: Any, where: str) -> None:
    with pytest.raises(PayloadError) as refused:
        encode_plain(value, "parameters")
    assert str(refused.value).startswith(where + " is not a plain value")


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (np.float64(1), r"a subclass of float: pass float\(\.\.\.\)"),
        (np.arange(3), r"pass \.tolist\(\)"),
        (Point(1, 2), r"a subclass of tuple: pass tuple\(\.\.\.\)"),
        (object(), "for anything else use a master in the manager's process"),
    ],
    ids=str,
)
def test_a_refusal_says_what_to_do(value: Any, advice: str) -> None:
    with pytest.raises(PayloadError, match=advice):
        encode_plain(value)


def test_a_time_of_a_named_zone_is_not_plain_but_travels_as_pickle() -> None:
    moment = datetime(2026, 7, 1, 12, tzinfo=BERLIN)
    if BERLIN is None:
        pytest.skip("this system has no time zone data")
    with pytest.raises(PayloadError, match=r"\[0\]: datetime.datetime is not .* pass \.astimezone"):
        encode_plain([moment])
    assert decode(encode([moment])) == [moment]


def test_a_memoryview_is_not_plain() -> None:
    with pytest.raises(PayloadError, match="value: memoryview is not a plain value"):
        encode_plain(memoryview(b"abc"))


def test_an_object_that_looks_like_ours_inside_msgpack_is_not_plain() -> None:
    tag = decode_tag_of_a_tuple()
    with pytest.raises(PayloadError, match="ExtType is not a plain value, but a subclass of tuple"):
        encode_plain([tag, 1])


def decode_tag_of_a_tuple() -> Any:
    import msgpack  # noqa: PLC0415

    return msgpack.unpackb(encode_plain((1,)).buffers[0])[0]


def test_a_pickle_is_never_read_as_plain() -> None:
    with pytest.raises(PayloadError, match="not plain .*use pyrotask's own worker"):
        decode_plain(encode_pickle(Bomb(SystemExit(1))))


@given(st.lists(st.binary(max_size=40), max_size=2))
def test_damaged_plain_bytes_are_a_payload_error_or_some_value(buffers: list[bytes]) -> None:
    with contextlib.suppress(PayloadError):
        decode_plain(Payload(PLAIN, tuple(buffers)))


@given(PLAIN_VALUES, st.data())
def test_cut_plain_bytes_are_a_payload_error(value: Any, data: st.DataObject) -> None:
    whole = encode_plain(value).read()[0]
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(PayloadError, match="damaged"):
        decode(Payload(PLAIN, (part,)))
