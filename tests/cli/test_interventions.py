"""`pyrotask cancel`, `retry` and `forget`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyrotask.cli import main
from tests.cli.conftest import Documents, Lines
from tests.cli.house import House

Refusal = Callable[..., str]

ALL_THREE = ("cancel", "retry", "forget")


@pytest.mark.parametrize("command", ALL_THREE)
def test_nothing_is_done_to_all_tasks_by_mistake(house: House, refusal: Refusal, command: str) -> None:
    house.submit()

    assert f"for example `pyrotask {command} pi --state " in refusal(command, "pi", code=2)
    assert house.state_of(0) == "waiting"


def test_tasks_are_cancelled_by_what_they_are(house: House, lines: Lines) -> None:
    house.submit("sqrt", 2)
    house.submit("cube")

    assert lines("cancel", "pi", "--tag", "sqrt") == ["2 tasks cancelled: numbers 0, 1"]
    assert [house.state_of(task) for task in range(3)] == ["cancelled", "cancelled", "waiting"]


def test_who_waits_is_told_why_it_was_cancelled(house: House, lines: Lines) -> None:
    house.submit()
    lines("cancel", "pi", "--id", "sqrt_0", "--why", "wrong input")

    assert house.client.call("task", 0)["detail"] == "wrong input"


def test_failed_tasks_are_started_anew(house: House, lines: Lines) -> None:
    house.submit(count=2)
    house.fail(ValueError("bad luck"))

    assert lines("retry", "pi", "--state", "failed") == ["2 tasks started anew: numbers 0, 1"]
    assert house.state_of(1) == "waiting"


def test_a_key_is_free_again_when_its_task_is_forgotten(house: House, lines: Lines) -> None:
    house.submit(key="k")
    house.succeed()
    house.client.call("collect", house.session, 0, 1, 10)
    house.client.call("collect", house.session, 1, 0, 0)

    assert lines("forget", "pi", "--key", "k") == ["1 task forgotten: number 0"]
    assert house.submit(key="k") == [1]


def test_a_dry_run_tells_what_it_would_be_and_does_nothing(house: House, lines: Lines) -> None:
    house.submit("sqrt", 3)
    house.submit("cube")
    house.take(1)

    assert lines("cancel", "pi", "--session", "friday", "--dry-run") == [
        "nothing was done. To be cancelled, if nobody else needs them: 4 tasks",
        "  1 tagged cube, waiting",
        "  1 tagged sqrt, running",
        "  2 tagged sqrt, waiting",
    ]
    assert house.state_of(1) == "waiting"


def test_a_dry_run_counts_those_only_to_which_it_can_be_done(house: House, documents: Documents) -> None:
    house.submit("sqrt", 2)
    house.take(1)

    [told] = documents("retry", "pi", "--tag", "sqrt", "--dry-run")
    assert told["tasks"] == []
    [told] = documents("cancel", "pi", "--tag", "sqrt", "--state", "waiting", "--dry-run")
    assert told["tasks"] == [1]


def test_a_selection_without_a_task_is_told_so(house: House, lines: Lines) -> None:
    [line] = lines("retry", "pi", "--tag", "sqrt")

    assert line.startswith("no task was started anew: none of these is cancelled or failed")


def test_a_task_that_was_named_and_left_out_is_a_failure(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.submit(count=2)
    house.take(1)
    house.client.call("cancel", {"tasks": [1]})
    assert main(["cancel", "pi", "--id", "0", "1", "sqrt_9"]) == 1
    out, err = capsys.readouterr()

    assert out == "1 task cancelled: number 0\n"
    assert err.splitlines() == [
        "pyrotask: there is no task sqrt_9: it was never given out",
        "pyrotask: sqrt_1 was cancelled already; all about it: `pyrotask explain sqrt_1 pi`",
    ]


def test_an_answer_that_a_session_waits_for_is_not_forgotten(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.submit()
    house.succeed()
    assert main(["forget", "pi", "--id", "sqrt_0"]) == 1

    assert "`pyrotask explain sqrt_0 pi`" in capsys.readouterr().err
    assert house.to_collect() == 1


def test_a_wrong_tag_changes_nothing(house: House, refusal: Refusal) -> None:
    house.submit(count=2)

    assert "Nothing was done" in refusal("cancel", "pi", "--id", "sqrt_0", "cube_1")
    assert house.state_of(0) == "waiting"


def test_more_than_a_page_is_done_and_not_all_of_it_printed(
    house: House, lines: Lines, documents: Documents
) -> None:
    house.submit(count=2500)
    [line] = lines("cancel", "pi", "--tag", "sqrt")
    [told] = documents("retry", "pi", "--state", "cancelled")

    assert line.startswith("2,500 tasks cancelled: numbers 0, 1, 2, ")
    assert line.endswith("19, and 2,480 more")
    assert told["tasks"] == list(range(2500))


def test_quiet_says_nothing_of_what_was_done(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.submit()

    assert main(["cancel", "pi", "--id", "0", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
