"""`pyrotask tasks` and `pyrotask explain`."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from pyrotask import Server
from pyrotask.cli import main
from tests.cli.conftest import Documents, Lines
from tests.cli.house import House

# --- tasks --------------------------------------------------------------------------------------


def ids(documents: Documents, *arguments: str) -> list[str]:
    return [task["id"] for task in documents("tasks", "pi", *arguments)]


def test_tasks_are_listed_in_the_order_of_their_numbers(house: House, lines: Lines) -> None:
    house.submit("sqrt", 2)
    house.submit("cube", key="grid-7")
    house.take(1)
    heading, *rows = lines("tasks", "pi")

    assert heading.split() == ["task", "state", "attempt", "session", "key", "now"]
    assert [row.split()[:2] for row in rows] == [
        ["sqrt_0", "running"],
        ["sqrt_1", "waiting"],
        ["cube_2", "waiting"],
    ]
    assert f"process {house.process}, for " in rows[0]
    assert "friday" in rows[1]
    assert "grid-7" in rows[2]


def test_what_is_said_of_tasks_must_all_be_true(house: House, documents: Documents) -> None:
    house.submit("sqrt", 2)
    house.submit("cube", key="k")
    house.take(1)

    assert ids(documents, "--tag", "sqrt", "--state", "waiting") == ["sqrt_1"]
    assert ids(documents, "--state", "waiting", "--state", "running") == ["sqrt_0", "sqrt_1", "cube_2"]
    assert ids(documents, "--session", "friday", "--id", "1", "cube_2") == ["sqrt_1", "cube_2"]
    assert ids(documents, "--session", "public") == []
    assert ids(documents, "--key", "k") == ["cube_2"]


def test_a_failed_task_tells_its_story(house: House, lines: Lines) -> None:
    house.submit(max_crashes=2)
    house.crash("killed by signal 9 (SIGKILL) while running sqrt_0, attempt 1\nlast words:\n  no memory")
    house.crash("exit code 3 while running sqrt_0, attempt 2")
    told = "\n".join(lines("tasks", "pi"))

    assert "  sqrt_0: failed, attempt 2, crashes: 2" in told
    assert re.search(r"attempt 1, process 0, \S+ s ago: crashed: killed by signal 9 \(SIGKILL\)", told)
    assert "        last words:\n          no memory" in told
    assert re.search(r"attempt 2, process 1, \S+ s ago: crashed: exit code 3", told)
    assert told.endswith("to run them again: pyrotask retry pi --state failed")


def test_a_task_that_raised_tells_the_exception(house: House, lines: Lines) -> None:
    house.submit()
    house.fail(ValueError("bad luck"))

    assert any("raised: ValueError: bad luck" in line for line in lines("tasks", "pi", "--state", "failed"))


def test_a_list_for_people_is_short_and_says_that_there_is_more(house: House, lines: Lines) -> None:
    house.submit(count=3)
    told = lines("tasks", "pi", "--limit", "2")

    assert len(told) == 4
    assert "`--limit N`" in told[-1]
    assert len(lines("tasks", "pi", "--limit", "3")) == 4


def test_a_list_for_programs_is_complete(house: House, documents: Documents) -> None:
    house.submit(count=1500)

    assert len(documents("tasks", "pi")) == 1500
    assert len(documents("tasks", "pi", "--limit", "1200")) == 1200


def test_an_empty_list_is_no_failure(house: House, lines: Lines) -> None:
    assert lines("tasks", "pi") == ["pi has no such task"]


def test_the_only_broker_needs_no_label(house: House, lines: Lines) -> None:
    assert lines("tasks") == ["pi has no such task"]


def test_a_task_that_is_not_there_is_named(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.submit()
    assert main(["tasks", "pi", "--id", "sqrt_0", "sqrt_7"]) == 1
    out, err = capsys.readouterr()

    assert "sqrt_0" in out
    assert err == "pyrotask: there is no task sqrt_7: it was never given out\n"


def test_an_id_with_a_wrong_tag_is_refused(house: House, refusal: Callable[..., str]) -> None:
    house.submit()

    assert "number 0 is sqrt_0" in refusal("tasks", "pi", "--id", "cube_0")


def test_a_session_that_is_not_open_is_told_with_those_that_may_be_meant(
    house: House, refusal: Callable[..., str]
) -> None:
    assert "did you mean 'friday'?" in refusal("tasks", "pi", "--session", "fryday")
    assert "never was; `pyrotask status pi` shows" in refusal("tasks", "pi", "--session", "nobody's")


def test_what_is_no_id_is_a_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["tasks", "pi", "--id", "sqrt"])

    assert ended.value.code == 2
    assert "like sqrt_17, or its number" in capsys.readouterr().err


# --- explain ------------------------------------------------------------------------------------


def test_a_waiting_task_says_why(house: House, lines: Lines) -> None:
    house.submit()
    told = lines("explain", "sqrt_0", "pi")

    assert told[0] == "sqrt_0: waiting"
    assert "  1 task tagged sqrt waits: the only worker that has a handler is busy" in told
    assert told[-1] == "  to give it up: pyrotask cancel pi --id sqrt_0"


def test_a_running_task_says_who_has_it(house: House, lines: Lines) -> None:
    house.submit()
    house.take()

    assert any(f"process {house.process} (node 7) has had it for" in line for line in lines("explain", "0"))


def test_a_failed_task_says_what_happened_and_how_to_run_it_again(house: House, lines: Lines) -> None:
    house.submit(retries=1, retry_delay_s=0)
    for _ in range(2):
        house.fail(ValueError("bad luck"))
    told = lines("explain", "sqrt_0")

    assert told[0] == "sqrt_0: failed, attempt 2, retries: 1"
    assert [line for line in told if line.endswith("raised: ValueError: bad luck")] == told[1:3]
    assert "  it failed (raised): ValueError: bad luck" in told
    assert told[-1] == "  to run it again: pyrotask retry pi --id sqrt_0"


def test_programs_get_the_task_and_the_sentences(house: House, documents: Documents) -> None:
    house.submit()
    [told] = documents("explain", "sqrt_0")

    assert (told["id"], told["state"], told["tag"]) == ("sqrt_0", "waiting", "sqrt")
    assert told["why"]


@pytest.mark.parametrize("task", ["sqrt_9", "cube_0"])
def test_a_task_that_is_not_there_cannot_be_explained(
    house: House, refusal: Callable[..., str], task: str
) -> None:
    house.submit()

    assert "there is no task" in refusal("explain", task, "pi")


def test_without_a_label_several_brokers_are_named(house: House, refusal: Callable[..., str]) -> None:
    with Server(label="my atoms", name_server="off"):
        assert "`pyrotask explain TASK 'my atoms'`" in refusal("explain", "sqrt_0")
