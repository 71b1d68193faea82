"""The tasks that every worker of every system runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

_initial: list[Any] = []


def noop(number: int) -> int:
    return number


def logged(number: int, duration_s: float, path: str) -> int:
    """Write down that the task began, by one write that no other one can mix with; then take a while."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(log, b"%d %d %.6f\n" % (number, os.getpid(), time.time()))
    finally:
        os.close(log)
    time.sleep(duration_s)
    return number


def bump(_number: int, array: Any) -> Any:
    """An array comes, a new one of the same size goes back."""
    return array + 1.0


def probe(number: int, array: Any) -> tuple[int, int, float]:
    """Touch an array that many tasks share."""
    return number, array.nbytes, float(array[0] + array[-1])


def set_initial(value: Any) -> None:
    """Keep a value for `probe_initial`: for pools whose processes can be given one at their start."""
    _initial[:] = [value]


def probe_initial(number: int) -> tuple[int, int, float]:
    return probe(number, _initial[0])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (noop, logged, bump, probe, probe_initial)
}
