"""Events to bytes and back."""

from __future__ import annotations

import typing
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyrotask.core import events as e
from pyrotask.core.blocks import Block
from pyrotask.core.model import DEFAULT_OPTIONS, Options, Payload, SessionId, TaskNumber
from pyrotask.journal.codec import NUMBERS, Decoder, encode, pack
from pyrotask.journal.problems import JournalTooNew
from tests.journal.lives import life

PAYLOAD = Payload("plain", (b"x",))
EVENT_TYPES = typing.get_args(e.Event)


def submitted(options: Options = DEFAULT_OPTIONS) -> e.TasksSubmitted:
    return e.TasksSubmitted(1, TaskNumber(0), "a", (PAYLOAD,), options, 0)  # type: ignore[arg-type]


def test_every_event_has_a_number_of_its_own() -> None:
    assert set(NUMBERS) == set(EVENT_TYPES)
    assert len(set(NUMBERS.values())) == len(NUMBERS)


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.__name__)
@settings(max_examples=15)  # for each of the kinds
@given(data=st.data())
def test_every_event_comes_back_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    st.register_type_strategy(Block, st.builds(Block, st.binary()))
    event = data.draw(st.from_type(kind))
    assume("nan" not in repr(event))  # a NaN does not even equal itself
    home = Drawer()
    (back,) = Decoder(home_of=lambda _: home).decode(encode([event], home.put))

    assert back == event
    assert types_of(back) == types_of(event)


class Drawer:
    """A home for blocks."""

    number = 7

    def __init__(self) -> None:
        self.blocks: list[Block] = []

    def put(self, block: Block) -> None:
        block.place(self, len(self.blocks), block.digest)
        self.blocks.append(block)

    def read(self, block: Block) -> bytes:
        return self.blocks[block.offset].read()


def types_of(value: Any) -> Any:
    """The types of a value and of all that is in it: a tuple equals a named tuple."""
    if isinstance(value, tuple):
        return type(value), [types_of(item) for item in value]
    return type(value)


def test_the_events_of_a_life_come_back_in_order() -> None:
    events = [event for command in life(1) for event in command]

    assert Decoder().decode(encode(events)) == events


def test_default_options_take_no_room() -> None:
    others = Options(priority=1)

    assert len(encode([submitted()])) < len(encode([submitted(others)])) - 20


def test_options_that_say_the_same_are_one_object() -> None:
    events = [submitted(Options(priority=1)), submitted(Options(priority=1))]
    first, second = Decoder().decode(encode(events))

    assert isinstance(first, e.TasksSubmitted)
    assert isinstance(second, e.TasksSubmitted)
    assert first.options is second.options


@pytest.mark.parametrize("priority", [2**64, -(10**30)])
def test_whole_numbers_of_any_size_come_back(priority: int) -> None:
    event = submitted(Options(priority=priority))

    assert Decoder().decode(encode([event])) == [event]


def test_texts_that_are_no_unicode_come_back() -> None:
    event = e.DataDeleted("file \udcff")

    assert Decoder().decode(encode([event])) == [event]


def test_a_row_without_the_fields_that_came_later_gets_their_defaults() -> None:
    old_row = (NUMBERS[e.TasksSubmitted], 1, 1, 0, "a", PAYLOAD, None, 0)

    assert Decoder().decode(pack([old_row])) == [submitted()]


def test_rows_about_one_task_are_read_as_those_about_several() -> None:
    task = TaskNumber(7)
    old_rows = [
        (NUMBERS[e.TasksLeased], 1, 5, 7, None, 3),
        (NUMBERS[e.TasksSucceeded], 1, 6, 7, PAYLOAD),
        (NUMBERS[e.ResultsDelivered], 1, 7),
        (NUMBERS[e.ResultsDelivered], 1, 7, 2),
        (NUMBERS[e.TasksForgotten], 1, 7),
    ]

    assert Decoder().decode(pack(old_rows)) == [
        e.TasksLeased(5, (task,), None, (3,)),
        e.TasksSucceeded(6, (task,), (PAYLOAD,)),
        e.ResultsDelivered((task,)),
        e.ResultsDelivered((task,), SessionId(2)),
        e.TasksForgotten((task,)),
    ]


def test_rows_of_older_versions_are_brought_up_step_by_step() -> None:
    number = NUMBERS[e.DataDeleted]
    upcasters = {
        (number, 1): lambda fields: [fields[0], "of version 2"],
        (number, 2): lambda fields: [f"{fields[0]}, {fields[1]}"],
    }
    decoder = Decoder(upcasters, {e.DataDeleted: 3})

    assert decoder.decode(pack([(number, 1, "a label")])) == [e.DataDeleted("a label, of version 2")]
    assert decoder.decode(pack([(number, 3, "a label")])) == [e.DataDeleted("a label")]


@pytest.mark.parametrize("row", [(NUMBERS[e.DataDeleted], 99, "x"), (4711, 1)], ids=["version", "type"])
def test_what_a_later_version_wrote_is_refused_with_what_to_do(row: tuple[object, ...]) -> None:
    with pytest.raises(JournalTooNew, match="pip install -U pyrotask"):
        Decoder().decode(pack([row]))
