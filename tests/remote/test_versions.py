"""Which versions work together, and what is told to those that do not."""

from __future__ import annotations

import pytest

from pyrotask.remote.versions import WireRange, python_warning, range_told


@pytest.mark.parametrize(
    ("ours", "theirs", "common"),
    [
        ((1, 1), (1, 1), 1),
        ((1, 2), (2, 3), 2),
        ((2, 3), (1, 2), 2),
        ((1, 4), (2, 3), 3),
        ((1, 1), (2, 2), None),
    ],
)
def test_two_sides_speak_the_newest_version_that_both_know(
    ours: tuple[int, int], theirs: tuple[int, int], common: int | None
) -> None:
    assert WireRange(*ours).common(WireRange(*theirs)) == common


def test_a_side_that_tells_one_number_speaks_that_version_only() -> None:
    assert range_told({"wire": 3}) == (3, 3)
    assert range_told({"wire": 3, "oldest_wire": 2}) == (2, 3)


@pytest.mark.parametrize("told", [{}, {"wire": "1"}, {"wire": None}, {"wire": 2, "oldest_wire": "x"}])
def test_a_side_that_tells_no_number_speaks_nothing_that_we_know(told: dict[str, object]) -> None:
    assert range_told(told) is None


def test_the_same_python_is_no_matter_whatever_its_patch() -> None:
    assert python_warning("pi", "3.12.4", "3.12.11") is None


def test_another_python_is_told_with_both_and_what_works_and_what_to_type() -> None:
    text = python_warning("pi", "3.13.1", "3.12.4")
    assert text is not None
    for part in (
        "Python 3.12.4",
        "'pi' runs 3.13.1",
        "Plain values travel",
        "lambdas",
        "`python3.13 -m venv",
    ):
        assert part in text
