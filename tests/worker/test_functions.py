"""Functions that a worker keeps."""

from __future__ import annotations

import pytest

from pyrotask.core.model import Payload
from pyrotask.worker import functions
from pyrotask.worker.functions import Functions, packed


class Stored:
    """Functions that return as many bytes as their label says, and carry those along."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def fetch(self, label: str) -> Payload:
        self.fetched.append(label)
        carried = bytes(int(label))
        return packed(lambda: len(carried))


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.fixture
def kept(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> Functions:
    monkeypatch.setattr(functions, "MOST_BYTES", 100_000)
    return Functions(stored.fetch)


def call(kept: Functions, size: int) -> None:
    assert kept.call(None, str(size), (), {}) == size


def test_the_longest_unused_function_is_dropped_when_they_carry_too_much_along(
    stored: Stored, kept: Functions
) -> None:
    for size in (40_000, 40_001, 40_000, 40_002, 40_000):
        call(kept, size)
    assert stored.fetched == ["40000", "40001", "40002"]
    call(kept, 40_001)
    assert stored.fetched[3:] == ["40001"]


def test_the_function_in_use_is_kept_however_much_it_carries_along(stored: Stored, kept: Functions) -> None:
    for _ in range(3):
        call(kept, 200_000)
    assert stored.fetched == ["200000"]
