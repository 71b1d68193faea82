"""Which parts of a range are free."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrotask.arena.extents import Extents

END = 40


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 12)), max_size=60))
def test_what_is_taken_never_overlaps_and_what_is_given_back_can_be_taken_again(
    steps: list[tuple[bool, int]],
) -> None:
    extents, taken = Extents(0, END), dict[int, int]()
    for takes, number in steps:
        if takes:
            start = extents.take(number)
            mine = set() if start is None else set(range(start, start + number))
            others = {byte for at, size in taken.items() for byte in range(at, at + size)}
            assert mine <= set(range(END)) - others
            if start is not None:
                taken[start] = number
        elif taken:
            start = sorted(taken)[number % len(taken)]
            extents.give_back(start, taken.pop(start))
        assert extents.free_bytes == END - sum(taken.values())
    for start, size in taken.items():
        extents.give_back(start, size)
    assert extents.take(END) == 0


def test_the_first_part_that_is_large_enough_is_taken() -> None:
    extents = Extents(0, 30)
    assert [extents.take(10) for _ in range(4)] == [0, 10, 20, None]
    extents.give_back(20, 10)
    extents.give_back(0, 10)
    assert extents.take(5) == 0
    assert extents.take(10) == 20
