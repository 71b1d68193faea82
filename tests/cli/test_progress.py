"""How far something is: a bar on a terminal, a line now and then elsewhere, and for programs nothing."""

from __future__ import annotations

import io
from contextlib import redirect_stderr

import pytest

from pyrotask.cli.output import Output
from pyrotask.cli.progress import BAR_AFTER_S, LINE_EVERY_S, progress


class Terminal(io.StringIO):
    """What people look at."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock to turn by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_elsewhere_there_is_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(Output(), "tasks cancelled", 2000, clock=clock) as show:
        for step in range(5):
            clock.now = step * LINE_EVERY_S / 2
            show(step * 500)

    assert capsys.readouterr() == ("", "1,000 of 2,000 tasks cancelled\n2,000 of 2,000 tasks cancelled\n")


def test_what_is_not_known_is_not_said(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(Output(), "events", clock=clock) as show:
        clock.now = LINE_EVERY_S
        show(1)

    assert capsys.readouterr().err == "1 events\n"


def test_what_is_done_soon_shows_nothing(clock: Clock, terminal: Terminal) -> None:
    with redirect_stderr(terminal), progress(Output(), "answers", 2, clock=clock) as show:
        show(1)
        show(2)

    assert terminal.getvalue() == ""


def test_on_a_terminal_there_is_a_bar(clock: Clock, terminal: Terminal) -> None:
    with redirect_stderr(terminal), progress(Output(), "answers", 200, clock=clock) as show:
        clock.now = BAR_AFTER_S
        show(150)

    assert "150/200" in terminal.getvalue()
    assert "━" in terminal.getvalue()


@pytest.mark.parametrize("output", [Output(json=True), Output(quiet=True)], ids=["json", "quiet"])
def test_programs_see_nothing_of_it(clock: Clock, terminal: Terminal, output: Output) -> None:
    with redirect_stderr(terminal), progress(output, "answers", 2, clock=clock) as show:
        clock.now = 1000
        show(1)

    assert terminal.getvalue() == ""
