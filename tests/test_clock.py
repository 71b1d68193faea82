from __future__ import annotations

import threading
import time

import pytest

from pyrotask.clock import Clock, ManualClock, SystemClock

HOUR_NS = 3600 * 1_000_000_000


def test_core_time_begins_at_the_wall_clock() -> None:
    before = time.time_ns()
    now = SystemClock().now()
    # The monotonic clock is another one: grant it the length of the test, but not an hour.
    assert before - HOUR_NS < now < time.time_ns() + HOUR_NS


def test_core_time_never_runs_back_behind_the_journal() -> None:
    in_the_journal = time.time_ns() + HOUR_NS  # the host that wrote it was an hour ahead

    assert SystemClock(not_before=in_the_journal).now() >= in_the_journal


def test_an_old_journal_does_not_hold_the_clock_back() -> None:
    before = time.time_ns()

    assert SystemClock(not_before=before - HOUR_NS).now() > before - HOUR_NS // 2


def test_a_step_of_the_wall_clock_does_not_move_core_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    before = clock.now()
    stepped = time.time_ns() + 24 * HOUR_NS
    monkeypatch.setattr(time, "time_ns", lambda: stepped)

    assert before <= clock.now() < before + HOUR_NS


def test_core_time_goes_on_by_itself() -> None:
    clock = SystemClock()
    before = clock.now()
    while clock.now() == before:  # ends with the next tick; the suite's timeout watches
        pass
    assert clock.now() > before


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(start=5)

    assert (clock.now(), clock.now()) == (5, 5)


def test_a_manual_clock_moves_by_seconds() -> None:
    clock = ManualClock()

    assert clock.advance(1.5) == 1_500_000_000
    assert clock.now() == 1_500_000_000


def test_a_manual_clock_does_not_run_back() -> None:
    clock = ManualClock(start=7)

    with pytest.raises(ValueError, match="does not run back"):
        clock.advance(-1)
    assert clock.now() == 7


def test_no_advance_is_lost_when_threads_move_the_clock_together() -> None:
    clock = ManualClock()
    threads = [threading.Thread(target=lambda: [clock.advance(1) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert clock.now() == 2000 * 1_000_000_000


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()], ids=["system", "manual"])
def test_both_clocks_tell_whole_nanoseconds(clock: Clock) -> None:
    assert type(clock.now()) is int
