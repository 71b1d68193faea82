"""A place in an arena is not used again while somebody could still read it."""

from __future__ import annotations

import os
import resource

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from pyrotask.arena import Opening, Reference, Shelf, StaleReference, Vanished, Visitor
from pyrotask.arena.layout import DATA_AT, PAGE_BYTES
from pyrotask.arena.memfd import IS_POSSIBLE
from pyrotask.core.blocks import Block
from tests.arena.sides import Sides, reference_of

pytestmark = pytest.mark.skipif(not IS_POSSIBLE, reason="this system has no files in memory")

PAGES = 6


class Holds(RuleBasedStateMachine):
    """A client, a broker and a reader, in any order, and with messages that come late or twice."""

    regions = Bundle("regions")
    messages = Bundle("messages")
    blocks = Bundle("blocks")
    replies = Bundle("replies")

    def __init__(self) -> None:
        super().__init__()
        self.sides = Sides(PAGES)
        self.count = 0
        self.written: dict[Reference, bytes] = {}
        self.own: dict[int, tuple[Block, bytes]] = {}
        self.held: list[tuple[Block | None, bytes]] = []

    @rule(target=messages, pages=st.integers(1, 3), spare=st.integers(0, 7))
    def send(self, pages: int, spare: int) -> object:
        self.count += 1
        data = (b"%08d" % self.count) * (pages * PAGE_BYTES // 8 - spare)
        block, reference = self.sides.sent(data)
        if block is None or reference is None:
            return multiple()
        self.own[self.count] = block, data
        self.written[reference] = data
        return self.count, reference

    @rule(message=messages)
    def let_go(self, message: tuple[int, Reference]) -> None:
        """The message was answered, or given up."""
        self.own.pop(message[0], None)

    @rule(target=blocks, message=messages)
    def receive(self, message: tuple[int, Reference]) -> object:
        number, reference = message
        try:
            block = self.sides.shelf.block(reference)
        except StaleReference:
            assert number not in self.own
            return multiple()
        self.held.append((block, self.written[reference]))
        return len(self.held) - 1

    @rule(target=replies, index=blocks)
    def hand_out(self, index: int) -> object:
        block, data = self.held[index]
        return multiple() if block is None else (index, reference_of(block), data)

    @rule(reply=replies)
    def read(self, reply: tuple[int, Reference, bytes]) -> None:
        index, reference, data = reply
        try:
            assert bytes(self.sides.reader.fetch(reference)) == data
        except Vanished:
            assert self.held[index][0] is None

    @rule(index=consumes(blocks))
    def forget(self, index: int) -> None:
        self.held[index] = (None, b"")

    @invariant()
    def nothing_that_is_held_has_changed(self) -> None:
        for block, data in [*self.own.values(), *self.held]:
            assert block is None or block.read() == data

    def teardown(self) -> None:
        self.own.clear()
        self.held.clear()
        segment = self.sides.arena.segment
        if segment is not None:
            whole = PAGES * PAGE_BYTES
            assert self.sides.arena.keep(bytes(whole)) is not None, "not all of it came back"


TestHolds = Holds.TestCase
TestHolds.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_what_the_broker_takes_home_can_be_read_there_and_its_place_is_free() -> None:
    sides = Sides(1)
    data = b"x" * PAGE_BYTES
    own, reference = sides.sent(data)
    assert reference is not None
    block = sides.shelf.block(reference)
    del own
    assert sides.arena.keep(data) is None
    sides.visitor.leave()
    for errand in sides.errands:
        errand()
    assert block.read() == data
    assert block.shared is None
    assert sides.arena.keep(data) is not None


def test_a_segment_that_is_shown_again_over_another_connection_stays() -> None:
    sides = Sides(1)
    own, reference = sides.sent(b"x" * PAGE_BYTES)
    assert own is not None
    assert reference is not None
    block = sides.shelf.block(reference)
    again = Visitor(sides.shelf)
    segment = sides.arena.segment
    assert segment is not None
    assert again.show(Opening(os.getpid(), segment.descriptor, segment.identity))
    sides.visitor.leave()
    assert not sides.errands
    assert bytes(sides.reader.fetch(reference_of(block))) == own.read()


def test_two_objects_of_the_broker_hold_one_place_until_both_are_gone() -> None:
    sides = Sides(1)
    own, reference = sides.sent(b"x" * PAGE_BYTES)
    assert reference is not None
    first, second = sides.shelf.block(reference), sides.shelf.block(reference)
    del own, first
    assert sides.arena.keep(b"y" * PAGE_BYTES) is None
    del second
    assert sides.arena.keep(b"y" * PAGE_BYTES) is not None


def test_a_place_that_is_given_back_twice_is_free_once() -> None:
    # As when Ctrl-C comes in the middle of it.
    sides = Sides(2)
    own = sides.arena.keep(b"x" * PAGE_BYTES)
    segment = sides.arena.segment
    assert segment is not None
    (place,) = segment._in_use.values()
    del own
    segment._given_up.append(place)
    first, second = sides.arena.keep(b"1" * PAGE_BYTES), sides.arena.keep(b"2" * PAGE_BYTES)
    assert first is not None
    assert second is not None
    assert (first.read()[:1], second.read()[:1]) == (b"1", b"2")
    assert sides.arena.keep(b"3" * PAGE_BYTES) is None


def test_another_run_of_the_broker_gets_a_segment_of_its_own() -> None:
    sides = Sides(2)
    own, reference = sides.sent(b"x" * PAGE_BYTES)
    assert reference is not None
    block = sides.shelf.block(reference)
    before = sides.arena.segment
    other = Shelf(sides.errands.append)
    assert other.plate is not None
    sides.arena.serve(other.plate.identity)
    assert sides.arena.keep(bytes(2 * PAGE_BYTES)) is not None
    assert sides.arena.segment is not before
    assert own is not None
    assert own.read() == block.read()


def test_a_forked_child_writes_nothing_into_its_parents_arena() -> None:
    sides = Sides(2)
    child = os.fork()
    if child == 0:
        os._exit(0 if sides.arena.keep(b"x" * PAGE_BYTES) is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_a_forked_child_of_the_broker_drops_is_still_held() -> None:
    sides = Sides(1)
    own, reference = sides.sent(b"x" * PAGE_BYTES)
    assert reference is not None
    block = sides.shelf.block(reference)
    child = os.fork()
    if child == 0:
        del block
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    del own
    assert sides.arena.keep(b"y" * PAGE_BYTES) is None
    assert block.read() == b"x" * PAGE_BYTES


def test_memory_that_was_not_needed_lately_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = Sides(8)
    many = [sides.arena.keep(bytes(PAGE_BYTES)) for _ in range(8)]
    segment = sides.arena.segment
    assert segment is not None
    used = os.fstat(segment.descriptor).st_blocks
    monkeypatch.setattr("pyrotask.arena.writer.MEMORY_KEPT_S", 0.0)
    del many
    for _ in range(3):
        sides.arena.keep(bytes(PAGE_BYTES))
    assert os.fstat(segment.descriptor).st_blocks < used


def test_where_pages_are_larger_only_whole_ones_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmap.PAGESIZE", 16 * PAGE_BYTES)
    monkeypatch.setattr("pyrotask.arena.writer.MEMORY_KEPT_S", 0.0)
    sides = Sides(32)
    many = [sides.arena.keep(bytes(PAGE_BYTES)) for _ in range(32)]
    segment = sides.arena.segment
    assert segment is not None
    del many
    for _ in range(3):
        sides.arena.keep(bytes(PAGE_BYTES))
    assert os.lseek(segment.descriptor, DATA_AT, os.SEEK_HOLE) == 16 * PAGE_BYTES


def test_what_there_is_no_memory_for_goes_another_way_and_takes_no_place() -> None:
    sides = Sides(2)
    assert sides.arena.keep(b"x" * PAGE_BYTES) is not None  # so there is a segment, and a used page
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (DATA_AT, before[1]))
    try:
        assert sides.arena.keep(b"y" * (2 * PAGE_BYTES)) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    block, _ = sides.sent(b"z" * (2 * PAGE_BYTES))
    assert block is not None
    assert block.read() == b"z" * (2 * PAGE_BYTES)
