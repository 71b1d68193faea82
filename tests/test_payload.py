"""What travels, as what it arrives, and what is refused with which words."""

from __future__ import annotations

import builtins
import collections
import contextlib
import decimal
import enum
import fractions
import importlib
import math
import os
import pickle
import struct
import sys
import threading
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from Pyro5.serializers import serializers

from pyrotask import payload as payloads
from pyrotask.core.model import PICKLE, PLAIN, Failure, Payload
from pyrotask.errors import PayloadError, UnknownTask
from pyrotask.payload import (
    decode,
    decode_error,
    decode_plain,
    encode,
    encode_error,
    encode_pickle,
    encode_plain,
    encode_plain_error,
    from_wire,
    to_wire,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PYRO = ["serpent", "json", "marshal", "msgpack"]

# Plain values ----------------------------------------------------------------------------

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


def nested(levels: int, around: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = around(value)
    return value


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


class OwnError(ValueError):
    pass


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
        (object(), "for anything else use pyrotask's own client"),
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


# Built-in exceptions are plain ------------------------------------------------------------


def builtin_exceptions() -> list[type[BaseException]]:
    kinds = {
        kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)
    }
    return sorted(kinds, key=lambda kind: kind.__name__)


ARGS: dict[type[BaseException], tuple[object, ...]] = {
    UnicodeDecodeError: ("utf-8", b"\xff", 0, 1, "bad"),
    UnicodeEncodeError: ("utf-8", "\ud800", 0, 1, "bad"),
    UnicodeTranslateError: ("x", 0, 1, "bad"),
    BaseExceptionGroup: ("two", [KeyError("x"), KeyboardInterrupt()]),
    ExceptionGroup: ("two", [KeyError("x"), ValueError(1)]),
}


@pytest.mark.parametrize("kind", builtin_exceptions())
def test_every_built_in_exception_is_plain(kind: type[BaseException]) -> None:
    exc = kind(*ARGS.get(kind, ("text",)))
    copy = decode_plain(encode_plain(exc))
    assert type(copy) is kind
    assert repr(copy) == repr(exc)


def test_an_exception_keeps_its_attributes_notes_and_file_name() -> None:
    exc = FileNotFoundError(2, "No such file", "data.txt")
    exc.remote_type = "ours.Missing"  # type: ignore[attr-defined]
    exc.add_note("look in /data")
    copy = decode_plain(encode_plain(exc))
    assert (copy.filename, copy.remote_type, copy.__notes__) == (
        "data.txt",
        "ours.Missing",
        ["look in /data"],
    )


def test_an_exception_travels_without_its_traceback_and_cause() -> None:
    copy = decode_plain(encode_plain(caught(divide_by_zero)))
    assert (copy.__traceback__, copy.__cause__, copy.__context__) == (None, None, None)


def test_a_built_in_exception_of_a_newer_python_arrives_as_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encode_plain(ValueError("x"))
    newer = encoded._replace(buffers=(encoded.buffers[0].replace(b"ValueError", b"NovelError"),))
    copy = decode(newer)
    assert (type(copy), copy.remote_type, str(copy)) == (RuntimeError, "NovelError", "NovelError('x',)")


# Pickles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f8", "c16", "i2"])
def test_a_large_array_travels_beside_the_pickle(dtype: str) -> None:
    array = np.arange(100_000).astype(dtype).reshape(100, 1000)
    encoded = encode({"a": array, "b": (array[:50],)})
    assert [len(buffer) for buffer in encoded.buffers[1:]] == [array.nbytes, array.nbytes // 2]
    assert len(encoded.buffers[0]) < 1000
    np.testing.assert_array_equal(decode(encoded)["a"], array)
    np.testing.assert_array_equal(decode(encoded)["b"][0], array[:50])


@pytest.mark.parametrize("array", [np.arange(10), np.arange(100_000)[::2]], ids=["small", "not contiguous"])
def test_other_arrays_travel_in_the_pickle(array: Any) -> None:
    encoded = encode(array)
    assert len(encoded.buffers) == 1
    np.testing.assert_array_equal(decode(encoded), array)


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_array_is_a_copy_that_can_be_changed(size: int) -> None:
    array = np.zeros(size)
    encoded = encode(array)
    array[:] = 1
    first, second = decode(encoded), decode(encoded)
    first[:] = 2
    assert second.sum() == 0


def test_a_read_only_array_arrives_read_only() -> None:
    array = np.zeros(100_000)
    array.flags.writeable = False
    assert not decode(encode(array)).flags.writeable


def test_a_writable_buffer_is_used_without_copying_it() -> None:
    encoded = encode(np.zeros(100_000))
    received = bytearray(encoded.buffers[1])
    array = decode(Payload(PICKLE, (encoded.buffers[0], received)))  # type: ignore[arg-type]
    array[0] = 1
    assert received[:8] == struct.pack("d", 1)


def test_a_lambda_and_a_closure_travel_by_value() -> None:
    offset = 10
    add, square = decode(encode((lambda x: x + offset, lambda x: x * x)))
    assert (add(1), square(3)) == (11, 9)


def test_a_class_of_the_main_script_travels_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("class Body:\n    def __init__(self, mass): self.mass = mass\n", namespace)
    with monkeypatch.context() as script:
        script.setattr(sys.modules["__main__"], "Body", namespace["Body"], raising=False)
        assert b"Body" in pickle.dumps(namespace["Body"](3))  # by name: it works here, nowhere else
        encoded = encode(namespace["Body"](3))
    assert decode(encoded).mass == 3


def test_a_function_of_an_importable_module_travels_by_name() -> None:
    assert decode(encode(os.path.join)) is os.path.join
    assert b"cloudpickle" not in encode(os.path.join).buffers[0]


class Bad:
    """Raises what it is told when it is pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class Silent(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


UNPICKLABLE: dict[str, Callable[[], Any]] = {
    "_thread.lock": threading.Lock,
    "generator": lambda: (i for i in [1]),
    "list": lambda: nested(100_000, lambda v: [v]),
    "Bad ValueError": lambda: Bad(ValueError("no")),
    "Bad RecursionError": lambda: Bad(RecursionError()),
    "Bad SystemExit": lambda: Bad(SystemExit(1)),
    "Bad GeneratorExit": lambda: Bad(GeneratorExit()),
    "Bad and silent": lambda: Bad(Silent()),
}


@pytest.mark.parametrize("name", UNPICKLABLE)
def test_what_cannot_be_pickled_is_a_payload_error_that_names_the_type(name: str) -> None:
    with pytest.raises(PayloadError, match=rf"type \S*{name.partition(' ')[0]} cannot be pickled: \w+"):
        encode(UNPICKLABLE[name]())


def test_an_interrupt_while_pickling_is_the_users() -> None:
    with pytest.raises(KeyboardInterrupt):
        encode(Bad(KeyboardInterrupt()))


def test_a_module_that_is_missing_here_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orbit_code.py").write_text("class Orbit: pass\n")
    with monkeypatch.context() as there:
        there.syspath_prepend(tmp_path)
        encoded = encode(importlib.import_module("orbit_code").Orbit())
        there.delitem(sys.modules, "orbit_code")
    monkeypatch.delitem(sys.modules, "orbit_code", raising=False)
    with pytest.raises(
        PayloadError, match=r"module 'orbit_code'.*Each worker and client.*-c 'import orbit_code'"
    ):
        decode(encoded)


class Bomb:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return explode, (self.error,)


def explode(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), RecursionError()], ids=repr)
def test_what_cannot_be_unpickled_is_a_payload_error_with_the_reason(error: BaseException) -> None:
    with pytest.raises(PayloadError, match=f"cannot be unpickled: {type(error).__name__}"):
        decode(encode_pickle(Bomb(error)))


@pytest.mark.parametrize("buffers", [(), (b"",), (b"\x80\x05garbage",), (b"\x80\x05\x97.",)], ids=repr)
def test_a_damaged_pickle_is_a_payload_error(buffers: tuple[bytes, ...]) -> None:
    with pytest.raises(PayloadError, match="cannot be unpickled"):
        decode(Payload(PICKLE, buffers))


def test_a_format_of_a_newer_version_is_named() -> None:
    with pytest.raises(PayloadError, match="format 'arrow' is unknown .* pip install -U pyrotask"):
        decode(Payload("arrow", (b"",)))


def test_a_pickle_is_never_read_as_plain() -> None:
    with pytest.raises(PayloadError, match="not plain .*use pyrotask's own client"):
        decode_plain(encode_pickle(Bomb(SystemExit(1))))


@given(st.lists(st.binary(max_size=40), max_size=2))
def test_damaged_plain_bytes_are_a_payload_error_or_some_value(buffers: list[bytes]) -> None:
    with contextlib.suppress(PayloadError):
        decode_plain(Payload(PLAIN, tuple(buffers)))


@given(PLAIN_VALUES, st.data())
def test_cut_plain_bytes_are_a_payload_error(value: Any, data: st.DataObject) -> None:
    whole = encode_plain(value).buffers[0]
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(PayloadError, match="damaged"):
        decode(Payload(PLAIN, (part,)))


# Pyro's serializers -----------------------------------------------------------------------


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


# Errors -----------------------------------------------------------------------------------


def caught(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as exc:  # noqa: BLE001
        return exc
    raise AssertionError("it did not raise")


def divide_by_zero() -> float:
    try:
        return 1 / 0
    except ZeroDivisionError as error:
        raise ValueError("bad step", 7) from error


def test_a_built_in_exception_is_told_as_plain_with_its_traceback() -> None:
    failure = encode_error(caught(divide_by_zero))
    assert failure.error.format == PLAIN
    assert repr(decode_error(failure)) == "ValueError('bad step', 7)"
    assert failure.type_names == ("ValueError", "Exception")
    assert failure.message == "ValueError: ('bad step', 7)"
    assert "ZeroDivisionError" in failure.traceback
    assert failure.traceback.endswith("ValueError: ('bad step', 7)\n")


def test_the_names_of_all_bases_are_told_up_to_exception() -> None:
    names = ("UnknownTask", "Refused", "PyrotaskError", "KeyError", "LookupError", "Exception")
    assert encode_error(UnknownTask("t_1")).type_names == names


@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_exceptions_that_end_a_program_are_told_as_well(exc: BaseException) -> None:
    failure = encode_error(exc)
    assert repr(decode_error(failure)) == repr(exc)
    assert failure.type_names == (type(exc).__name__, "BaseException")


def test_an_own_exception_travels_as_itself_when_it_can_be_read_back() -> None:
    failure = encode_error(OwnError("x", 2))
    assert failure.error.format == PICKLE
    error = decode_error(failure)
    assert (type(error), error.args) == (OwnError, ("x", 2))


class Strict(Exception):
    """Pickles, but does not unpickle: it is rebuilt from its args, of which there is one."""

    def __init__(self, station: str, level: int) -> None:
        super().__init__(f"{station} at {level}")


class Pretender(Exception):
    """Unpickles as something that is no exception."""

    def __reduce__(self) -> Any:
        return str, ("x",)


def holding(thing: object) -> Exception:
    exc = OwnError("busy")
    exc.thing = thing  # type: ignore[attr-defined]
    return exc


TROUBLE: dict[str, Callable[[], BaseException]] = {
    "Strict": lambda: Strict("b2", 4),
    "Pretender": lambda: Pretender("x"),
    "OwnError": lambda: holding(threading.Lock()),
    "ValueError": lambda: raised(ValueError, [], {"lock": threading.Lock()}),
    "Silent": Silent,
}


@pytest.mark.parametrize("name", TROUBLE)
def test_an_exception_that_cannot_travel_sends_a_stand_in(name: str) -> None:
    exc = TROUBLE[name]()
    failure = encode_error(exc)
    error = decode_plain(failure.error)
    assert isinstance(error, RuntimeError)
    assert vars(error)["remote_type"].endswith(name)
    assert name in str(error)
    assert failure.type_names[0] == name
    assert name in failure.traceback


def test_an_exception_that_contains_itself_sends_a_stand_in() -> None:
    exc = ValueError()
    exc.args = (exc,)
    assert decode_error(encode_error(exc)).remote_type == "ValueError"


def test_a_traceback_that_cannot_be_shown_is_no_obstacle() -> None:
    exc = OwnError("x")
    exc.__notes__ = Bad(ValueError())  # type: ignore[assignment]
    assert "OwnError" in encode_error(exc).traceback


def test_texts_are_bounded_and_can_be_written_anywhere() -> None:
    failure = encode_error(Strict("\ud800" + "x" * 10**6, 1))
    assert failure.traceback.encode()
    assert failure.message.encode()
    assert len(failure.traceback) < 2 * payloads.MAX_TRACEBACK
    assert len(failure.message) < 2 * payloads.MAX_MESSAGE
    assert len(str(decode_error(failure))) < 2 * payloads.MAX_MESSAGE


def test_an_exception_from_a_plain_client_is_always_plain() -> None:
    failure = encode_plain_error(caught(divide_by_zero), "the text")
    assert repr(decode_plain(failure.error)) == "ValueError('bad step', 7)"
    assert failure.traceback == "the text"
    assert failure.type_names == ("ValueError", "Exception")


def test_a_traceback_from_a_plain_client_is_bounded_and_can_be_written_anywhere() -> None:
    text = encode_plain_error("it failed", "\ud800" + "x" * 10**6).traceback
    assert text.encode()
    assert len(text) < 2 * payloads.MAX_TRACEBACK


@pytest.mark.parametrize("error", ["it failed", 3, {"code": 3}], ids=repr)
def test_a_plain_client_may_store_any_plain_value_as_exception(error: object) -> None:
    failure = encode_plain_error(error)
    assert decode_plain(failure.error) == error
    assert failure.message == str(error)
    assert failure.type_names == (type(error).__name__,)


def test_what_is_not_plain_from_a_plain_client_gets_a_stand_in() -> None:
    error = decode_plain(encode_plain_error(struct.error("short")).error)
    assert (type(error), str(error), error.remote_type) == (RuntimeError, "error('short')", "struct.error")


def test_a_plain_client_is_told_of_a_pickled_exception_by_a_stand_in() -> None:
    failure = encode_error(caught(lambda: explode(OwnError("x"))))
    error = decode_error(failure, plain_only=True)
    assert (type(error), error.remote_type) == (RuntimeError, "OwnError")
    assert str(error).endswith("OwnError: x")


def test_an_exception_that_cannot_be_made_here_is_told_by_a_stand_in() -> None:
    error = decode_error(Failure(Payload(PICKLE, (b"damaged",)), "", ("OrbitError", "Exception")))
    assert (type(error), str(error), error.remote_type) == (RuntimeError, "OrbitError", "OrbitError")
