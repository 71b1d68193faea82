"""What goes where: results to stdout, warnings and errors to stderr, JSON when asked for."""

from __future__ import annotations

import json
import os
import sys

import pytest

from pyrotask.cli.output import Output, duration, lines_of


def test_numbers_stand_to_the_right_and_texts_to_the_left() -> None:
    assert lines_of(("tag", "waiting"), [("sqrt", 3), ("cube root", 12_000)]) == [
        "tag        waiting",
        "sqrt             3",
        "cube root   12,000",
    ]


def test_a_table_without_rows_is_its_heading() -> None:
    assert lines_of(("tag", "waiting"), []) == ["tag  waiting"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"), (9.94, "9.9 s"), (12.3, "12 s"), (200, "3 min 20 s"), (180, "3 min"),
        (7500, "2 h 5 min"), (273_600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_durations_are_told_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_table_is_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("tag", "waiting"), [("sqrt", 3)], title="tasks")
    assert capsys.readouterr().out == "tasks:\n  tag   waiting\n  sqrt        3\n"


def test_json_is_all_that_is_printed_when_it_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(json=True)
    output.say("for people")
    output.table(("tag",), [("sqrt",)])
    output.document({"tag": "sqrt"})
    assert json.loads(capsys.readouterr().out) == {"tag": "sqrt"}


def test_quiet_leaves_errors_only(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(quiet=True)
    output.say("for people")
    output.warn("be careful")
    output.document({"for": "programs"})
    output.error(ValueError("this went wrong"))
    assert capsys.readouterr() == ("", "pyrotask: this went wrong\n")


def test_with_json_an_error_is_json_too_and_not_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).error(ValueError("this went wrong"))
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {"error": {"type": "ValueError", "message": "this went wrong"}}


def test_a_file_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error(FileNotFoundError(2, "No such file or directory", "/etc/nowhere"))
    assert capsys.readouterr().err == "pyrotask: No such file or directory: /etc/nowhere\n"


def test_who_is_relied_on_goes_on_when_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as unread:
        monkeypatch.setattr(sys, "stdout", unread)
        output = Output()
        with pytest.raises(BrokenPipeError):
            output.say("who reads this?")
        output.outlive_readers()
        output.say("nobody")
        output.say("still nobody")
