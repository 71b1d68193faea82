"""What a child writes to its stderr."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrotask.worker.tail import KEPT_BYTES, Tail

Through = Callable[[bytes], str]


@pytest.fixture
def passed_on(tmp_path: Path) -> Path:
    return tmp_path / "passed on"


@pytest.fixture
def through(passed_on: Path) -> Through:
    """Send data through a tail, to the end. Returns what it has kept."""

    def send(data: bytes) -> str:
        reading, writing = os.pipe()
        with passed_on.open("wb") as to:
            tail = Tail(os.fdopen(reading, "rb", buffering=0), to.fileno())
            os.write(writing, data)
            os.close(writing)
            tail.settle(30.0)
        return tail.text

    return send


def test_everything_is_passed_on_as_it_is(through: Through, passed_on: Path) -> None:
    data = b"one\ntwo\xff" * 5000
    through(data)
    assert passed_on.read_bytes() == data


def test_short_words_are_kept_whole(through: Through) -> None:
    assert through(b"no such atom\n") == "no such atom"


def test_of_many_words_the_end_is_kept(through: Through) -> None:
    text = through(b"x" * 10_000 + b"\nno such atom\n")
    assert text.startswith("... x")
    assert text.endswith("x\nno such atom")
    assert len(text) <= KEPT_BYTES + 4


def test_of_silence_nothing_is_kept(through: Through) -> None:
    assert through(b"") == ""


def test_it_reads_on_when_nobody_listens() -> None:
    reading, writing = os.pipe()
    deaf, nobody = os.pipe()
    os.close(deaf)
    tail = Tail(os.fdopen(reading, "rb", buffering=0), nobody)
    os.write(writing, b"one\n")
    os.write(writing, b"two\n")
    os.close(writing)
    tail.settle(30.0)
    os.close(nobody)
    assert tail.text == "one\ntwo"


def test_what_others_hold_open_is_waited_for_no_longer_than_it_is_silent() -> None:
    reading, writing = os.pipe()
    with Path(os.devnull).open("wb") as nowhere:
        tail = Tail(os.fdopen(reading, "rb", buffering=0), nowhere.fileno())
        os.write(writing, b"last words\n")
        tail.settle(0.05)
        assert tail.text == "last words"
        os.close(writing)
        tail.settle(30.0)
