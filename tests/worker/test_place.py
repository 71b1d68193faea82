"""When the next child is started."""

from __future__ import annotations

from pyrotask.worker.place import FIRST_DELAY_S, LONGEST_DELAY_S, Place


def test_what_was_in_vain_for_days_is_still_tried_again() -> None:
    place = Place()
    delays = [place.not_started() for _ in range(5_000)]
    assert delays[:2] == [FIRST_DELAY_S, 2 * FIRST_DELAY_S]
    assert set(delays[10:]) == {LONGEST_DELAY_S}
