"""Which versions work together, and what is told to those that do not."""

from __future__ import annotations

import threading

import pytest

from pyrotask.remote import versions
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.versions import WireRange, python_warning, range_told
from pyrotask.worker.begun import Number
from pyrotask.worker.reporter import Reporter
from tests.remote.serving import LONG_S, serving


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


def test_a_supervisor_beats_at_a_broker_of_the_first_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "WIRES", WireRange(1, 1))
    errors: list[Exception] = []
    beats = threading.Semaphore(0)

    def alive() -> list[Number]:
        beats.release()
        return []

    with serving() as server:
        broker = BulkProxy(server.address)
        reporter = Reporter(
            broker, 0.1, "here", alive=alive, registered=lambda _: None, given_up=errors.append, patience_s=1
        )
        reporter.start()
        for _ in range(3):  # when the third begins, the second has been answered
            assert beats.acquire(timeout=LONG_S)
        assert broker.wire == 1
        assert not reporter.can_give_back
        reporter.finish(LONG_S)
    assert errors == []
