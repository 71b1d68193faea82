"""What a client may name, and what the broker says to the rest."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from pyrotask.arena import Opening, Reader, Reference, StaleReference, Visitor
from pyrotask.arena.layout import DATA_AT, GENERATION, MAGIC, PAGE_BYTES, generation_at
from pyrotask.arena.memfd import IS_POSSIBLE, NAME, NoSegment, make, open_segment
from pyrotask.core.blocks import Block
from pyrotask.core.events import DataStored
from pyrotask.core.model import PICKLE, Payload
from pyrotask.journal import open_journal
from tests.arena.open_segments import opened_since, segments_open
from tests.arena.sides import Sides

pytestmark = pytest.mark.skipif(not IS_POSSIBLE, reason="this system has no files in memory")


@pytest.fixture
def sides() -> Sides:
    return Sides(4)


@pytest.mark.parametrize(
    "change",
    [
        {"identity": b"?" * 16},
        {"generation": 1},
        {"slot": 7},
        {"nbytes": 4 * PAGE_BYTES + 1},
        {"offset": DATA_AT + 4 * PAGE_BYTES},
    ],
    ids=str,
)
def test_a_reference_to_what_was_not_shared_is_refused(sides: Sides, change: dict[str, int]) -> None:
    own, reference = sides.sent(b"x" * PAGE_BYTES)
    assert own is not None
    assert reference is not None
    with pytest.raises(StaleReference):
        sides.shelf.block(reference._replace(**change))  # type: ignore[arg-type]


def test_a_place_is_what_it_was_when_it_was_named_first(sides: Sides) -> None:
    own, reference = sides.sent(b"x" * PAGE_BYTES)
    assert own is not None
    assert reference is not None
    block = sides.shelf.block(reference)
    with pytest.raises(StaleReference):
        sides.shelf.block(reference._replace(nbytes=PAGE_BYTES - 1))
    assert sides.shelf.block(reference).read() == block.read()


def test_places_that_overlap_are_refused_before_they_are_more_than_the_segment(sides: Sides) -> None:
    _, reference = sides.sent(b"x" * (4 * PAGE_BYTES))
    segment = sides.arena.segment
    assert reference is not None
    assert segment is not None
    overlapping = [reference._replace(slot=slot) for slot in range(100)]
    for other in overlapping:
        GENERATION.pack_into(segment.memory, generation_at(other.slot), other.generation)
    held: list[Block] = []
    with pytest.raises(StaleReference, match="overlap"):
        held.extend(sides.shelf.block(other) for other in overlapping)
    held.clear()
    assert sides.shelf.block(reference).read() == b"x" * (4 * PAGE_BYTES)


def test_what_is_named_often_is_taken_home_once(sides: Sides) -> None:
    own, reference = sides.sent(b"x" * PAGE_BYTES)
    assert own is not None
    assert reference is not None
    blocks = [sides.shelf.block(reference) for _ in range(3)]
    sides.visitor.leave()
    sides.errands.pop()()
    first, *others = [block.read() for block in blocks]
    assert first == b"x" * PAGE_BYTES
    assert all(other is first for other in others)


@pytest.mark.parametrize(
    "change", [{"slot": 1 << 20}, {"offset": 0}, {"nbytes": 0}, {"generation": 0}], ids=str
)
def test_a_reference_that_cannot_be_is_refused(change: dict[str, int]) -> None:
    reference = Reference(b"?" * 16, 0, 0, 1, DATA_AT, 1)._replace(**change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no place like this"):
        Reference.unpack(reference.pack())


def test_bytes_that_are_no_reference_are_refused() -> None:
    with pytest.raises(ValueError, match="a reference has"):
        Reference.unpack(b"short")


def test_a_segment_under_a_false_identity_is_not_opened(sides: Sides) -> None:
    descriptor, _ = make(1 << 20)
    assert not sides.visitor.show(Opening(os.getpid(), descriptor, b"?" * 16))
    os.close(descriptor)


def test_a_file_that_can_be_made_shorter_is_not_opened() -> None:
    descriptor = os.memfd_create(NAME)
    os.ftruncate(descriptor, 1 << 20)
    os.pwrite(descriptor, MAGIC + b"!" * 16, 0)
    with pytest.raises(NoSegment, match="no segment"):
        open_segment(Opening(os.getpid(), descriptor, b"!" * 16))
    os.close(descriptor)


def test_what_is_no_segment_is_not_even_opened() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(MAGIC + b"!" * 16)
        file.flush()
        with pytest.raises(NoSegment, match="is no segment"):
            open_segment(Opening(os.getpid(), file.fileno(), b"!" * 16))


def test_a_process_that_is_not_there_has_no_segment() -> None:
    with pytest.raises(NoSegment, match="cannot be opened"):
        open_segment(Opening(1 << 30, 3, b"!" * 16))


def test_a_connection_shows_one_segment(sides: Sides) -> None:
    visitor = Visitor(sides.shelf)
    first, second = make(1 << 20), make(1 << 20)
    assert visitor.show(Opening(os.getpid(), *first))
    assert not visitor.show(Opening(os.getpid(), *second))
    os.close(first[0])
    os.close(second[0])


def test_who_cannot_open_the_brokers_plate_is_no_reader(sides: Sides) -> None:
    assert sides.shelf.plate is not None
    with pytest.raises(NoSegment):
        Reader(sides.shelf.plate._replace(identity=b"?" * 16))


def test_a_client_that_changes_what_it_has_sent_spoils_its_own_value_only(sides: Sides) -> None:
    own, reference = sides.sent(b"x" * PAGE_BYTES)
    _, other = sides.sent(b"y" * PAGE_BYTES)
    assert own is not None
    assert reference is not None
    assert other is not None
    block, another = sides.shelf.block(reference), sides.shelf.block(other)
    segment = sides.arena.segment
    assert segment is not None
    segment.memory[reference.offset] = ord("z")
    assert block.read() == b"z" + b"x" * (PAGE_BYTES - 1)
    assert another.read() == b"y" * PAGE_BYTES


def test_a_journal_keeps_what_it_has_read_whatever_a_client_does_to_it_meanwhile(
    sides: Sides, tmp_path: Path
) -> None:
    own, reference = sides.sent(b"x" * PAGE_BYTES)
    assert own is not None
    assert reference is not None
    block = sides.shelf.block(reference)
    journal = open_journal(tmp_path / "journal").journal
    journal.wait(journal.append([DataStored((("a", Payload(PICKLE, (block,))),))]))
    segment = sides.arena.segment
    assert segment is not None
    segment.memory[reference.offset] = ord("!")
    block.leave_memory()
    assert block.read() == b"x" * PAGE_BYTES
    journal.close()


def test_a_segment_is_closed_once_its_client_is_gone_and_what_it_had_was_taken_home() -> None:
    before = segments_open()
    sides = Sides(4)
    own, reference = sides.sent(b"x" * PAGE_BYTES)
    assert own is not None
    assert reference is not None
    block = sides.shelf.block(reference)
    assert opened_since(before)
    sides.visitor.leave()
    sides.errands.pop()()
    del sides, own
    assert not opened_since(before)
    assert block.read() == b"x" * PAGE_BYTES
