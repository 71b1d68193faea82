"""Progress: a bar where it can be drawn, lines elsewhere, and the values as they are."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

from pyrotask import as_completed
from pyrotask.client import progress
from pyrotask.client.progress import total_of, with_progress

if TYPE_CHECKING:
    import pytest


def done(value: int) -> Future[int]:
    future: Future[int] = Future()
    future.set_result(value)
    return future


def test_each_future_comes_once(capsys: pytest.CaptureFixture[str]) -> None:
    one = done(1)
    assert [future.result() for future in as_completed([one, one], progress=True)] == [1]
    assert capsys.readouterr().err.startswith("done: 1 of 1 in ")


def test_without_a_terminal_there_is_a_line_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress(iter("abc"), None, "letters")) == ["a", "b", "c"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("letters: 3 in ")
    assert err.count("\n") == 1


def test_a_long_loop_tells_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    list(with_progress(range(3), 3, True))
    assert capsys.readouterr().err.count("\n") == 4


def test_on_a_terminal_a_bar_is_drawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    list(with_progress(range(3), 3, "simulating"))
    err = capsys.readouterr().err
    assert "simulating" in err
    assert "3/3" in err


def test_a_loop_that_is_left_leaves_no_bar_behind(capsys: pytest.CaptureFixture[str]) -> None:
    values = with_progress(range(10), 10, True)
    next(values)
    values.close()  # type: ignore[attr-defined]
    assert capsys.readouterr().err.startswith("done: 1 of 10 in ")


def test_the_total_is_that_of_the_shortest_if_all_are_known() -> None:
    assert total_of([range(3), [1, 2]]) == 2
    assert total_of([range(3), iter([1])]) is None
    assert total_of([]) is None
