"""How many tasks a child asks for at once."""

from __future__ import annotations

from pyrotask.worker import tray
from pyrotask.worker.pace import BATCH_S, Pace


def test_the_first_task_is_asked_for_alone() -> None:
    assert Pace().count == 1


def test_batches_of_short_tasks_grow_step_by_step_up_to_a_bound() -> None:
    pace, counts = Pace(), list[int]()
    for _ in range(10):
        counts.append(pace.count)
        pace.ran(pace.count, 1e-6 * pace.count)
    assert counts[:5] == [1, 2, 4, 8, 16]
    assert counts[-1] == tray.MOST


def test_a_batch_is_about_as_long_as_it_should_be() -> None:
    pace = Pace()
    for _ in range(20):
        pace.ran(pace.count, pace.count * BATCH_S / 10)
    assert pace.count == 10


def test_long_tasks_are_asked_for_singly() -> None:
    pace = Pace()
    for _ in range(5):
        pace.ran(1, BATCH_S)
    assert pace.count == 1


def test_one_long_task_is_enough_to_begin_anew() -> None:
    pace = Pace()
    for _ in range(10):
        pace.ran(pace.count, 1e-6 * pace.count)
    pace.ran(tray.MOST, 10.0)
    assert pace.count == 1


def test_short_tasks_after_a_long_one_are_leased_in_batches_again() -> None:
    pace = Pace()
    pace.ran(1, 10.0)
    for _ in range(30):
        pace.ran(pace.count, 1e-6 * pace.count)
    assert pace.count == tray.MOST
