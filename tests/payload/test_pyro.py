"""What Pyro's serializers make of a value, and what we make of that."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from Pyro5.serializers import serializers

from pyrotask import payload as payloads
from pyrotask.errors import PayloadError
from pyrotask.payload import (
    decode,
    decode_plain,
    encode_plain,
    from_wire,
    to_wire,
)
from tests.payload.values import PLAIN_VALUES, nested, raised, shape

if TYPE_CHECKING:
    from collections.abc import Callable

PYRO = ["serpent", "json", "marshal", "msgpack"]


def by_pyro(value: Any, name: str) -> Any:
    """Return a value as it arrives in an answer like that of getAnyResult."""
    return serializers[name].loads(serializers[name].dumps(("task_1", value)))[1]


@pytest.mark.parametrize("raw", [b"", b"\x00\xff", bytearray(b"ab")], ids=repr)
def test_bytes_that_serpent_disguised_are_bytes_again(raw: bytes) -> None:
    sent = {"a": [(1, raw)], "b": raw}
    assert from_wire(by_pyro(sent, "serpent")) == {"a": [(1, bytes(raw))], "b": bytes(raw)}


@pytest.mark.parametrize(
    "value",
    [
        {"data": "YQ==", "encoding": "base64", "name": "x"},
        {"data": "YQ==", "encoding": "utf-8"},
        {"data": "not base64!", "encoding": "base64"},
        {"data": "\u00e9", "encoding": "base64"},
        {"data": 5, "encoding": "base64"},
    ],
    ids=str,
)
def test_other_dicts_are_left_alone(value: Any) -> None:
    assert from_wire([value]) == [value]


def test_a_dict_that_looks_like_serpents_bytes_is_a_dict_with_other_serializers() -> None:
    value = {"data": "YQ==", "encoding": "base64"}
    assert from_wire(value, "json") == value


def test_a_memoryview_from_the_wire_is_bytes() -> None:
    assert from_wire((memoryview(b"ab"), 1), "msgpack") == (b"ab", 1)


def test_a_value_from_the_wire_that_is_nested_beyond_the_stack_is_a_payload_error() -> None:
    with pytest.raises(PayloadError, match="nested too deep"):
        from_wire(nested(100_000, lambda v: [v]))


def test_a_serializer_that_pyro_does_not_have_is_named() -> None:
    with pytest.raises(PayloadError, match="'pickle' is unknown; use one of serpent, json, marshal, msgpack"):
        to_wire(1, "pickle")


NOON = datetime(2026, 7, 1, 12, 30, 0, 5)  # noqa: DTZ001
NOON_UTC = NOON.replace(tzinfo=UTC)
FAR = datetime.max  # noqa: DTZ901
REFUSED = object()
SAME = object()
CARRIED: list[tuple[Any, Any, Any, Any, Any]] = [
    # value, then what arrives with: serpent, json, marshal, msgpack
    (None, SAME, SAME, SAME, SAME),
    (2**64, SAME, SAME, SAME, SAME),
    (10**5000, REFUSED, REFUSED, SAME, REFUSED),
    (math.nan, SAME, SAME, SAME, SAME),
    (-math.inf, SAME, SAME, SAME, SAME),
    (1 + 2j, SAME, REFUSED, SAME, SAME),
    (complex(math.nan, 0), REFUSED, REFUSED, SAME, SAME),
    ("caf\u00e9\x00\u2028", SAME, SAME, SAME, SAME),
    ("\ud800", SAME, REFUSED, SAME, REFUSED),
    (b"\x00", {"data": "AA==", "encoding": "base64"}, REFUSED, SAME, SAME),
    (bytearray(b"\x00"), {"data": "AA==", "encoding": "base64"}, REFUSED, b"\x00", b"\x00"),
    ((1, [2, ()]), SAME, [1, [2, []]], SAME, [1, [2, []]]),
    ({1}, SAME, [1], SAME, [1]),
    (set(), (), [], SAME, []),
    (frozenset({1}), {1}, REFUSED, SAME, REFUSED),
    ({None}, REFUSED, [None], SAME, [None]),
    ({b"x"}, REFUSED, REFUSED, SAME, [b"x"]),
    ({math.nan}, REFUSED, [math.nan], SAME, [math.nan]),
    ({frozenset({1})}, REFUSED, REFUSED, SAME, REFUSED),
    ({1: 2}, SAME, REFUSED, SAME, REFUSED),
    ({None: 2}, REFUSED, REFUSED, SAME, REFUSED),
    ({b"x": 2}, REFUSED, REFUSED, SAME, SAME),
    ({math.nan: 2}, REFUSED, REFUSED, SAME, REFUSED),
    ({("a", None): 2}, SAME, REFUSED, SAME, REFUSED),
    ({("a", b"x"): 2}, REFUSED, REFUSED, SAME, REFUSED),
    ({"\ud800": 2}, SAME, REFUSED, SAME, REFUSED),
    ({"__class__": "x"}, REFUSED, REFUSED, REFUSED, REFUSED),
    ({"__class__": "float", "value": "nan"}, REFUSED, REFUSED, REFUSED, REFUSED),
    (NOON, "2026-07-01T12:30:00.000005", "2026-07-01T12:30:00.000005", REFUSED, SAME),
    (NOON_UTC, "2026-07-01T12:30:00.000005+00:00", "2026-07-01T12:30:00.000005+00:00", REFUSED, REFUSED),
    (FAR, "9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999", REFUSED, REFUSED),
    (date(2026, 7, 1), "2026-07-01", "2026-07-01", REFUSED, SAME),
    (time(1, 2), "01:02:00", REFUSED, REFUSED, REFUSED),
    (timedelta(1), 86400.0, REFUSED, REFUSED, REFUSED),
    (ValueError("x", 1), SAME, SAME, REFUSED, SAME),
    (raised(ValueError, [1], {"remote_type": "a.B"}), SAME, SAME, REFUSED, SAME),
    (ValueError(b"x"), REFUSED, REFUSED, REFUSED, SAME),
    (ValueError(math.nan), REFUSED, SAME, REFUSED, SAME),
    (ValueError(KeyError(1)), REFUSED, REFUSED, REFUSED, SAME),
    (ExceptionGroup("g", [KeyError(1)]), REFUSED, REFUSED, REFUSED, SAME),
    (object(), REFUSED, REFUSED, REFUSED, REFUSED),
]
CELLS = [(row[0], name, cell) for row in CARRIED for name, cell in zip(PYRO, row[1:], strict=True)]


@pytest.mark.parametrize(("value", "name", "arrives"), CELLS, ids=lambda cell: str(shape(cell))[:40])
def test_pyros_serializers_carry_what_the_table_says(value: Any, name: str, arrives: Any) -> None:
    if arrives is REFUSED:
        with pytest.raises(
            PayloadError, match=f"result\\[0\\].* cannot travel .* with Pyro's {name} serializer"
        ):
            to_wire([value], name, "result")
    else:
        assert shape(by_pyro(to_wire([value], name), name)) == shape([value if arrives is SAME else arrives])


@pytest.mark.parametrize("name", PYRO)
@pytest.mark.parametrize("around", [lambda v: [v], lambda v: {"a": v}], ids=["list", "dict"])
def test_the_deepest_plain_value_passes_through_every_serializer(
    name: str, around: Callable[[Any], Any]
) -> None:
    value = nested(payloads.MAX_DEPTH, around)
    assert by_pyro(to_wire(decode(encode_plain(value)), name), name) == value


@pytest.mark.parametrize("name", PYRO)
@given(value=PLAIN_VALUES)
def test_whatever_is_let_through_reaches_the_client(name: str, value: Any) -> None:
    try:
        let_through = to_wire(value, name)
    except PayloadError:
        return
    by_pyro(let_through, name)  # else the client's connection would break


@pytest.mark.parametrize("name", PYRO)
@given(value=PLAIN_VALUES)
def test_what_a_proxy_could_send_goes_back_to_it_unchanged(name: str, value: Any) -> None:
    try:
        sent = by_pyro(value, name)
    except Exception:  # noqa: BLE001 - Pyro itself does not carry this one
        assume(condition=False)
    received = from_wire(sent, name)
    kept = decode_plain(encode_plain(received))
    returned = from_wire(by_pyro(to_wire(kept, name), name), name)
    assert shape(returned) == shape(received)
