"""The tasks that a child has leased and not begun."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pyrotask.worker.tray import MOST, Tray


@pytest.fixture
def tray() -> Iterator[Tray]:
    tray = Tray()
    yield tray
    tray.close()


def test_tasks_are_taken_out_in_the_order_in_which_they_were_put_in(tray: Tray) -> None:
    tray.put([(1, 1), (2, 7)])
    assert (tray.take(), tray.take(), tray.take()) == ((1, 1), (2, 7), None)


def test_what_was_taken_out_by_the_one_is_not_there_for_the_other(tray: Tray) -> None:
    tray.put([(1, 1), (2, 1), (3, 1)])
    other = Tray(tray.reading, tray.writing)
    assert tray.take() == (1, 1)
    assert other.take_all() == [(2, 1), (3, 1)]
    assert (tray.take(), tray.take_all()) == (None, [])


def test_it_tells_whether_it_is_empty(tray: Tray) -> None:
    assert tray.is_empty()
    tray.put([(1, 1)])
    assert not tray.is_empty()


def test_its_descriptors_may_have_any_number(tray: Tray) -> None:
    try:
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 1_100) for end in (tray.reading, tray.writing)]
    except OSError as error:
        pytest.skip(f"there may be no descriptor of so high a number here: {error}")
    other = Tray(*high)
    try:
        assert other.is_empty()
        tray.put([(1, 1)])
        assert not other.is_empty()
    finally:
        other.close()


def test_a_full_batch_has_room(tray: Tray) -> None:
    leases = [(2**62 + number, 1) for number in range(MOST)]
    tray.put(leases)
    assert tray.take_all() == leases


def test_another_process_can_take_out_what_is_in_it(tray: Tray) -> None:
    tray.put([(1, 1), (2, 1)])
    script = f"from pyrotask.worker.tray import Tray; print(Tray({tray.reading}, {tray.writing}).take())"
    ends = (tray.reading, tray.writing)
    done = subprocess.run([sys.executable, "-c", script], pass_fds=ends, capture_output=True, check=True)
    assert done.stdout.split() == [b"(1,", b"1)"]
    assert tray.take_all() == [(2, 1)]
