"""What is read and written without serpent is what serpent reads and writes."""

import math
import re
from typing import Any

import pytest
import serpent
from hypothesis import example, given
from hypothesis import strategies as st
from Pyro5.serializers import serializers

from pyrotask.remote import serpent_texts
from pyrotask.remote.serpent_texts import SHORT_BYTES, read_call, write

PYRO = serializers["serpent"]

SHORT_TEXTS = st.text("ab 1_,()[]{}#'\"\\\n\0é☃", max_size=6) | st.text(max_size=6)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-9, 9)
    | st.floats()
    | SHORT_TEXTS
    | st.binary(max_size=4)
)
VALUES = st.recursive(
    LEAVES,
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.lists(inside, max_size=4).map(tuple)
        | st.dictionaries(SHORT_TEXTS, inside, max_size=2)
    ),
    max_leaves=8,
)
PLAIN_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**17) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('ab 1_,()[]{}#"', max_size=6),
    lambda inside: st.lists(inside, max_size=3) | st.lists(inside, max_size=3).map(tuple),
    max_leaves=5,
)  # fmt: skip
PIECES = st.sampled_from(
    ["'a'", "'", '"', ",", "(", ")", "[", "]", "{}", "1", "0", "-", "+", ".", "e", "e-5", "1.5", "_", "None",
     "True", "nan", "j", " ", "\n", "#", "\\", "'b'", "(1,)", "()", "1e999", "00"]
)  # fmt: skip


def call_of(*args: object) -> bytes:
    data: bytes = PYRO.dumpsCall("Pyrotask.x", "addTaskRequest", args, {})
    return data


def told_apart(value: object) -> str:
    """The value as a text that tells 1 from 1.0 and True, 0.0 from -0.0, and a list from a tuple."""
    return repr(value)


@given(st.lists(VALUES | PLAIN_VALUES, max_size=3))
def test_what_is_read_of_a_call_is_what_serpent_reads(args: list[Any]) -> None:
    data = call_of(*args)
    call = read_call(data)
    assert call is None or told_apart(call) == told_apart(serpent.loads(data))


@given(st.lists(PIECES, max_size=8).map("".join))
@example("1e999,")
@example("-0,-0.0")
@example("0.5e-5,")
def test_a_damaged_call_is_read_as_serpent_reads_it_or_left_to_serpent(args: str) -> None:
    data = f"# serpent utf-8 python3.2\n('object','method',({args}),{{}})".encode()
    call = read_call(data)
    assert call is None or told_apart(call) == told_apart(serpent.loads(data))


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("sqrt", (2.0,)),
        ("1234-5", (17,)),
        ("sqrt_17", -1.5e-300),
        ("sqrt_17", [1, 2.5, None, True, "a, (b)"], ()),
        ("sqrt", ((1, 2), [3], "x")),
    ],
)
def test_an_ordinary_call_is_not_left_to_serpent(args: tuple[Any, ...]) -> None:
    assert read_call(call_of(*args)) == ("Pyrotask.x", "addTaskRequest", args, {})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"('object','method',(),{})",
        call_of() + b"\n",
        call_of() + b"#",
        call_of().replace(b"{}", b"{'timeout':1}"),
        call_of("é"),
        call_of("it's"),
        call_of("a\\b"),
        call_of(10**18),
        call_of(math.inf),
        call_of(b"data"),
        call_of("x" * SHORT_BYTES),
        call_of(((((1,),),),)),
    ],
)
def test_what_could_be_meant_otherwise_or_takes_long_is_left_to_serpent(data: bytes) -> None:
    assert read_call(data) is None


@pytest.mark.parametrize(
    "args",
    [
        "(3)",
        "1,2,(3)",
        "[(1)]",
        "[1,(2)]",
        "(1,2,(3))",
        "((1),)",
        "[1,2,(3,4]",
        "-0",
        "1.",
        "1e",
        "[1,]",
        "[",
    ],
)
def test_what_is_nearly_a_row_is_left_to_serpent(args: str) -> None:
    assert read_call(f"# serpent utf-8 python3.2\n('object','method',({args}),{{}})".encode()) is None


def test_the_pattern_asks_for_nothing_that_some_pythons_do_wrong() -> None:
    # Python 3.11 before 3.11.5 goes on at a wrong place after a group that was repeated for good.
    assert not re.search(r"(?:\)[*+?]|\?)\+|\(\?>", serpent_texts._CALL.pattern)


@pytest.mark.parametrize("unit", ["(", "((", "[", "1,", "(1,", "'a',", "(1),", "-", "1e", "'"])
def test_no_short_message_takes_long_to_be_left_to_serpent(unit: str) -> None:
    # The next character says each time which way to go, so no other way leads far: were it otherwise, this
    # would not end.
    filled = f"# serpent utf-8 python3.2\n('object','method',({unit * (4000 // len(unit))}".encode()
    assert read_call(filled) is None


@given(VALUES | PLAIN_VALUES)
@example((0.0, -0.0, math.inf, -math.inf))
@example(())
@example([()])
@example(math.nan)
def test_what_is_written_is_what_serpent_writes(value: object) -> None:
    written = write(value)
    assert written is None or written == PYRO.dumps(value)


@pytest.mark.parametrize("value", [None, 17, "sqrt_17", ("sqrt_17", 1.5), ("sqrt_17", "sqrt", (2.0, [1]))])
def test_an_ordinary_reply_is_not_left_to_serpent(value: object) -> None:
    assert write(value) == PYRO.dumps(value)


def test_a_list_that_contains_itself_is_left_to_serpent() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert write(endless) is None


def test_a_number_of_too_many_digits_is_refused_in_the_words_of_serpent() -> None:
    number = 10**5000
    with pytest.raises(ValueError, match="digits") as told:
        PYRO.dumps(number)
    with pytest.raises(ValueError, match=re.escape(str(told.value))):
        write(number)


def test_subclasses_of_plain_types_are_left_to_serpent() -> None:
    class Name(str):
        __slots__ = ()

    assert write(Name("sqrt")) is None
    assert write((Name("sqrt"), 1)) is None
