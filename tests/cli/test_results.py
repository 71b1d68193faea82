"""`pyrotask results`: what was written out is taken over, and nothing else."""

from __future__ import annotations

import datetime as dt
import importlib
import json
import pickle
import sys
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from pyrotask.cli import main
from pyrotask.payload import encode
from pyrotask.remote.bulk_proxy import BulkProxy
from tests.cli import commands
from tests.cli.conftest import Documents, Lines
from tests.cli.house import House, wire
from tests.waiting import until

Refusal = Callable[..., str]

FRIDAY = ("results", "pi", "--session", "friday")


# --- of a session -------------------------------------------------------------------------------


def test_answers_are_printed_and_taken_over(house: House, lines: Lines) -> None:
    house.submit(count=2)
    house.succeed([1, 2.5])

    assert lines(*FRIDAY) == ["sqrt_0: [1, 2.5]", "sqrt_1: [1, 2.5]", "2 answers of session 'friday'"]
    assert house.to_collect() == 0
    assert lines(*FRIDAY) == ["0 answers of session 'friday'"]


def test_answers_that_were_handed_out_and_not_taken_over_come_again(house: House, lines: Lines) -> None:
    house.submit()
    house.succeed()
    house.client.call("collect", house.session, 0, 1, 10)

    assert lines(*FRIDAY)[0] == "sqrt_0: 1.5"


def test_a_failure_is_printed_with_its_traceback(house: House, lines: Lines) -> None:
    house.submit()
    house.fail(ValueError("bad luck"))

    assert lines(*FRIDAY) == [
        "sqrt_0 has no value: ValueError: bad luck",
        "    Traceback of node 7",
        "      ...",
        "1 answer (1 without a value) of session 'friday'",
    ]


def test_a_cancelled_task_says_so(house: House, lines: Lines) -> None:
    house.submit()
    lines("cancel", "pi", "--id", "0", "--why", "enough")

    assert lines(*FRIDAY)[0] == "sqrt_0 has no value: TaskCancelled: task sqrt_0: enough"


def test_what_is_unfinished_is_told(house: House, lines: Lines) -> None:
    house.submit(count=3)

    assert lines(*FRIDAY)[-1] == "its unfinished tasks: 3; the same command collects their answers later"


def test_more_than_a_page_is_collected(house: House, documents: Documents) -> None:
    house.submit(count=250)
    for _ in range(3):
        house.succeed()

    assert [told["task"] for told in documents(*FRIDAY)] == [f"sqrt_{number}" for number in range(250)]
    assert house.to_collect() == 0


def test_no_more_than_the_limit_is_taken_over(house: House, documents: Documents) -> None:
    house.submit(count=5)
    house.succeed()

    assert len(documents(*FRIDAY, "--limit", "2")) == 2
    assert [told["task"] for told in documents(*FRIDAY)] == ["sqrt_2", "sqrt_3", "sqrt_4"]


def test_programs_get_values_where_json_has_them(house: House, documents: Documents) -> None:
    house.submit(key="grid-7")
    house.succeed({"x": [1, None]})
    house.submit()
    house.succeed(dt.date(2026, 11, 22))
    house.submit()
    house.fail(ValueError("bad luck"))
    value, text, error = documents(*FRIDAY)

    assert value == {
        "task": "sqrt_0", "tag": "sqrt", "key": "grid-7", "outcome": "value", "value": {"x": [1, None]}
    }  # fmt: skip
    assert text["repr"] == "datetime.date(2026, 11, 22)"
    assert (error["outcome"], error["type"], error["message"]) == ("error", "ValueError", "bad luck")


def test_a_python_object_is_not_lost_by_printing_it(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.submit(count=3)
    house.hand_in(*([task, attempt, "value", wire(encode(1))] for task, _, attempt, *_ in house.take(1)))
    house.succeed(Fraction(1, 3))
    assert main(FRIDAY) == 1
    out, err = capsys.readouterr()

    assert out.splitlines() == ["sqrt_0: 1", "1 answer of session 'friday'"]
    assert "sqrt_1 is a Python object" in err
    assert "`pyrotask results pi --session friday --save FOLDER`" in err
    assert house.to_collect() == 2


def test_peeking_shows_everything_and_takes_nothing(house: House, lines: Lines) -> None:
    house.submit(count=2)
    house.succeed(Fraction(1, 3))
    for _ in range(2):
        assert lines(*FRIDAY, "--peek") == [
            "sqrt_0: Fraction(1, 3)",
            "sqrt_1: Fraction(1, 3)",
            "2 answers of session 'friday'; they are still there",
        ]
    assert house.to_collect() == 2


def test_a_session_whose_program_waits_is_not_robbed(house: House, refusal: Refusal) -> None:
    house.submit()

    def wait() -> None:
        with BulkProxy("pi") as program:
            program.call("collect", house.session, 0, 1, 30)

    program = threading.Thread(target=wait)
    program.start()
    until(lambda: house.client.call("sessions", "friday")[0]["is_waited_in"])
    text = refusal(*FRIDAY)
    house.succeed()
    program.join()

    assert "`pyrotask results pi --session friday --peek`" in text


def test_nothing_to_look_at_is_not_said_to_stay(house: House, lines: Lines) -> None:
    assert lines("results", "pi", "--session", "friday", "--peek") == ["0 answers of session 'friday'"]


def test_a_session_that_is_not_open_is_not_opened(house: House, refusal: Refusal) -> None:
    assert "did you mean 'friday'?" in refusal("results", "pi", "--session", "fryday")
    assert len(house.client.call("sessions")) == 1


def test_the_public_session_is_for_masters(house: House, refusal: Refusal) -> None:
    assert "getAnyResult" in refusal("results", "pi", "--session", "public")


def test_without_a_session_those_with_answers_are_named(house: House, refusal: Refusal) -> None:
    assert "no session of pi has answers" in refusal("results", "pi", code=2).lower()
    house.submit()
    house.succeed()

    assert "`pyrotask results pi --session friday`" in refusal("results", "pi", code=2)


def test_quiet_does_not_swallow_answers(house: House, refusal: Refusal) -> None:
    assert "--save FOLDER" in refusal(*FRIDAY, "--quiet", code=2)


# --- saved --------------------------------------------------------------------------------------


def index_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_saved_values_are_pickles_with_an_index(house: House, lines: Lines, tmp_path: Path) -> None:
    house.submit(key="grid-7")
    house.succeed(Fraction(1, 3))
    house.submit("a/b")
    house.fail(ValueError("bad luck"))
    told = lines(*FRIDAY, "--save", tmp_path / "friday")
    value, error = index_of(tmp_path / "friday")

    assert told == [f"2 answers (1 without a value) of session 'friday', saved in {tmp_path / 'friday'}"]
    assert (value["task"], value["key"], value["repr"]) == ("sqrt_0", "grid-7", "Fraction(1, 3)")
    assert (error["task"], error["message"]) == ("a/b_1", "bad luck")
    assert pickle.loads((tmp_path / "friday" / "sqrt_0.pickle").read_bytes()) == Fraction(1, 3)
    assert (
        repr(pickle.loads((tmp_path / "friday" / str(error["file"])).read_bytes()))
        == "ValueError('bad luck')"
    )
    assert house.to_collect() == 0


def test_a_large_array_is_one_file(house: House, lines: Lines, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    house.submit()
    house.succeed(numpy.arange(10_000.0))
    lines(*FRIDAY, "--save", tmp_path)

    assert pickle.loads((tmp_path / "sqrt_0.pickle").read_bytes()).sum() == numpy.arange(10_000.0).sum()


def test_a_value_whose_module_is_not_here_stays_where_it_is(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "their_shapes.py").write_text("class Shape:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    their_shapes = importlib.import_module("their_shapes")

    house.submit()
    house.succeed(their_shapes.Shape())
    monkeypatch.delitem(sys.modules, "their_shapes")
    (tmp_path / "their_shapes.py").unlink()
    assert main([*FRIDAY, "--save", str(tmp_path / "saved")]) == 1
    assert "sqrt_0: the value needs the module 'their_shapes'" in capsys.readouterr().err
    assert main([*FRIDAY, "--peek"]) == 0

    assert "sqrt_0: the value needs the module 'their_shapes'" in capsys.readouterr().out
    assert house.to_collect() == 1


def test_a_folder_of_another_broker_is_refused(house: House, refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text('{"task": "sqrt_0", "lineage": "another"}\n')
    house.submit()
    house.succeed()

    assert "name another folder" in refusal(*FRIDAY, "--save", tmp_path)
    assert house.to_collect() == 1


def test_a_folder_that_cannot_be_written_to_takes_nothing(
    house: House, refusal: Refusal, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    house.submit()
    house.succeed()
    refusal(*FRIDAY, "--save", tmp_path / "file")

    assert house.to_collect() == 1


@pytest.mark.slow
def test_waiting_collects_until_nothing_is_unfinished(house: House, tmp_path: Path) -> None:
    house.submit(count=2)
    with commands.Running(*FRIDAY, "--wait") as results:
        for task, _, attempt, *_ in house.take(2):
            house.hand_in([task, attempt, "value", wire(encode(1.5))])
            results.line(containing=f"sqrt_{task}: 1.5")
        assert results.end().code == 0


# --- of keys ------------------------------------------------------------------------------------


def test_values_are_looked_up_by_their_keys_as_often_as_one_likes(house: House, lines: Lines) -> None:
    house.submit(key="grid-7")
    house.submit(key="grid-8")
    house.succeed()
    for _ in range(2):
        assert lines("results", "pi", "--key", "grid-7") == [
            "sqrt_0 (key 'grid-7'): 1.5",
            "1 answer by key; it is still there",
        ]


def test_a_pattern_finds_all_keys_like_it(house: House, documents: Documents) -> None:
    for key in ("scan/1", "scan/2", "grid"):
        house.submit(key=key)
    house.succeed()

    assert [told["key"] for told in documents("results", "pi", "--key", "scan/*")] == ["scan/1", "scan/2"]


def test_a_key_without_an_answer_is_a_failure(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.submit(key="k")
    assert main(["results", "pi", "--key", "k", "--key", "of nobody"]) == 1

    assert capsys.readouterr().err.splitlines() == [
        "pyrotask: no task of pi has the key 'of nobody'",
        "pyrotask: the task of key 'k', sqrt_0, is waiting: it has no answer yet",
    ]


def test_values_of_keys_are_saved_too(house: House, lines: Lines, tmp_path: Path) -> None:
    house.submit(key="k")
    house.succeed(Fraction(1, 3))
    lines("results", "pi", "--key", "k", "--save", tmp_path)

    assert index_of(tmp_path)[0]["key"] == "k"
    assert house.to_collect() == 1
