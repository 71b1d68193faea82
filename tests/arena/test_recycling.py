"""Memory that a worker reads into is used again when nobody uses it."""

from __future__ import annotations

from pyrotask.arena.recycling import MOST_BYTES, Recycling

LENGTH = 1 << 20


def test_a_buffer_that_nobody_refers_to_is_given_out_again() -> None:
    recycling = Recycling()
    buffer = recycling.buffer(LENGTH)
    buffer[0] = 7
    del buffer
    assert recycling.buffer(LENGTH)[0] == 7


def test_a_buffer_that_somebody_refers_to_is_left_alone() -> None:
    recycling = Recycling()
    mine = recycling.buffer(LENGTH)
    others = [recycling.buffer(LENGTH) for _ in range(3)]
    assert all(other is not mine for other in others)


def test_a_view_of_its_memory_counts_as_a_reference() -> None:
    recycling = Recycling()
    view = memoryview(recycling.buffer(LENGTH))[10:20].cast("H")
    view[0] = 7
    recycling.buffer(LENGTH)[:] = b"\xff" * LENGTH
    assert view[0] == 7


def test_a_buffer_of_another_length_is_another_one() -> None:
    recycling = Recycling()
    assert len(recycling.buffer(LENGTH)) == LENGTH
    assert len(recycling.buffer(LENGTH // 2)) == LENGTH // 2


def test_no_more_is_kept_than_the_bound() -> None:
    recycling = Recycling()
    for number in range(1, 4):
        recycling.buffer(MOST_BYTES - number)[0] = number
    assert recycling.buffer(MOST_BYTES - 1)[0] == 0
    assert recycling.buffer(MOST_BYTES + 1)[0] == 0
