"""`pyrotask demo`: complete, exactly once, with a worker killed, and nothing left behind."""

from __future__ import annotations

import json

import psutil
import pytest

from pyrotask.cli import demo as cli_demo
from pyrotask.cli.output import Output
from pyrotask.demo import master, report
from pyrotask.demo.analysis import Report
from pyrotask.demo.master import Outcome
from tests.cli import commands

pytestmark = pytest.mark.slow  # real processes, and real silences

FEW = ("--tasks", "60", "--workers", "2")


def test_all_answers_come_once_although_a_worker_is_killed() -> None:
    result = commands.run("demo", *FEW, "--json")
    assert result.code == 0, result.err
    [document] = map(json.loads, result.out.splitlines())
    assert document["complete"]
    assert (document["asked"], document["answered"]) == (60, 60)
    killed = document["killed"]
    assert killed["attempts"] == killed["attempt"] + 1
    assert killed["second_pid"] != killed["pid"]
    assert killed["ran_again_ms"] > 0


def test_without_a_terminal_it_prints_plain_lines() -> None:
    result = commands.run("demo", *FEW)
    assert result.code == 0, result.err
    assert "60 answers to 60 tasks, each exactly once" in result.out
    assert "killed by signal 9 (SIGKILL) while running analyse_" in result.out
    assert "\x1b" not in result.out


def test_ctrl_c_leaves_nothing_behind() -> None:
    with commands.Running("demo", "--workers", "2", "--tasks", "300") as demo:
        demo.line(containing="1 of")
        below = psutil.Process(demo.process.pid).children(recursive=True)
        demo.interrupt()
        result = demo.end()
        _, left = psutil.wait_procs(below, timeout=commands.PATIENCE_S)
    assert below
    assert not left
    assert (result.code, result.err) == (130, "")


@pytest.mark.slow
def test_a_killed_demo_leaves_nothing_behind() -> None:
    with commands.Running("demo", "--workers", "2", "--tasks", "300") as demo:
        demo.line(containing="kill -9")
        below = psutil.Process(demo.process.pid).children(recursive=True)
        demo.process.kill()
        _, left = psutil.wait_procs(below, timeout=commands.PATIENCE_S)
    assert below
    assert not left


def test_largest_files_come_first_so_that_the_end_is_not_one_long_task() -> None:
    sizes = [path.stat().st_size for path in master.source_files()]
    assert sizes == sorted(sizes, reverse=True)


def test_some_files_are_of_all_sizes() -> None:
    every = master.source_files()
    some = master.source_files(10)
    assert some[0] == every[0]
    assert [every.index(path) * 10 // len(every) for path in some] == list(range(10))


@pytest.mark.parametrize(
    ("problems", "answered", "complete"),
    [([], 1, True), (["sqrt_1 was answered twice"], 1, False), ([], 0, False)],
)
def test_a_missing_or_doubled_answer_is_no_success(
    problems: list[str], answered: int, complete: bool
) -> None:
    [file] = master.source_files(1)
    one = Report(
        path=str(file), problem=None, size_bytes=1, lines=1, tokens=1, nodes=1, classes=0, functions=0,
        depth=0, complexity=0, complexity_of="", pid=1, started_at=0.0, cpu_s=0.0,
    )  # fmt: skip
    outcome = Outcome(master.library(), 1, 1, [one][:answered], problems)
    assert cli_demo.verdict(outcome, Output(quiet=True)) == (0 if complete else 1)
    assert ("exactly once" in report.story(outcome)[0]) is complete
