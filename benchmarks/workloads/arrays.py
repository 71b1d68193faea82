"""W3: large values."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.workloads import Trial, at_most

MEGABYTE = 1 << 20
TARGET_S = 0.6
SHARED_MEGABYTES = 50


def arrays(trial: Trial) -> None:
    for name, size, most in (("1 MB", MEGABYTE, 100), ("10 MB", 10 * MEGABYTE, 20)):
        with at_most(20):
            trial.report(name, there_and_back(trial, size, most))
    with at_most(25):
        trial.report("shared", shared(trial))


def there_and_back(trial: Trial, size: int, most: int) -> float:
    """Megabytes a second, both ways together."""
    pilot = 4
    taken = bumped(trial, size, pilot)
    if taken > TARGET_S:
        return 2 * pilot * size / 1e6 / taken
    count = pilot if trial.quick else max(pilot, min(most, int(pilot * TARGET_S / taken)))
    return 2 * count * size / 1e6 / bumped(trial, size, count)


def bumped(trial: Trial, size: int, count: int) -> float:
    # New arrays each time: nobody may know them already.
    arguments = [(number, np.full(size // 8, float(number))) for number in range(count)]
    began = time.perf_counter()
    values = list(trial.peer.submit("bump", arguments))
    taken = time.perf_counter() - began
    assert sorted(array[0] for array in values) == [number + 1.0 for number in range(count)], "wrong answers"
    assert all(array.nbytes == size and array[0] == array[-1] for array in values)
    return taken


def shared(trial: Trial) -> float:
    """Tasks a second, the way of the array to the workers included."""
    count = trial.peer.tasks_that_share
    size = (2 if trial.quick else SHARED_MEGABYTES) * MEGABYTE
    array = np.full(size // 8, time.perf_counter())
    began = time.perf_counter()
    values = sorted(trial.peer.submit_probes(array, count))
    taken = time.perf_counter() - began
    assert values == [(number, size, 2 * array[0]) for number in range(count)], "wrong answers"
    return count / taken
