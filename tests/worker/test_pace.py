"""How many tasks a child asks for at once."""

from __future__ import annotations

from pyrotask.worker import tray
from pyrotask.worker.pace import BATCH_S, Pace


def run(pace: Pace, tasks: int, seconds_each: float, tag: str = "a") -> None:
    """Run so many tasks, and tell."""
    for _ in range(tasks):
        pace.ran(tag, round(seconds_each * 1e9))
    pace.report()


def test_the_first_task_is_asked_for_alone() -> None:
    assert Pace().count == 1


def test_batches_of_short_tasks_grow_step_by_step_up_to_a_bound() -> None:
    pace, counts = Pace(), list[int]()
    for _ in range(10):
        counts.append(pace.count)
        run(pace, pace.count, 1e-6)
    assert counts[:5] == [1, 2, 4, 8, 16]
    assert counts[-1] == tray.MOST


def test_a_batch_is_about_as_long_as_it_should_be() -> None:
    pace = Pace()
    for _ in range(20):
        run(pace, pace.count, BATCH_S / 10)
    assert pace.count == 10


def test_long_tasks_are_asked_for_singly() -> None:
    pace = Pace()
    for _ in range(5):
        run(pace, 1, BATCH_S)
    assert pace.count == 1


def test_one_long_task_is_enough_to_begin_anew() -> None:
    pace = Pace()
    for _ in range(10):
        run(pace, pace.count, 1e-6)
    run(pace, 1, 10.0)
    assert pace.count == 1


def test_short_tasks_after_a_long_one_are_leased_in_batches_again() -> None:
    pace = Pace()
    run(pace, 1, 10.0)
    for _ in range(30):
        run(pace, pace.count, 1e-6)
    assert pace.count == tray.MOST


def test_what_was_measured_is_reported_once_tag_by_tag() -> None:
    pace = Pace()
    for tag, seconds in (("a", 0.25), ("b", 2.0), ("a", 0.5)):
        pace.ran(tag, round(seconds * 1e9))
    assert pace.report() == [("a", 2, 0.75), ("b", 1, 2.0)]
    assert pace.report() == []
