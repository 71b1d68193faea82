"""The benchmarks' harness: figures are kept and shown as they are, and a run leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks import environments, runner
from benchmarks.page import page
from benchmarks.peers import ADAPTERS, OURS, adapters
from benchmarks.results import Failure, Results
from benchmarks.tables import FAILED, MISSING, NOTHING, Table, remarks, shown, tables
from benchmarks.targets import TARGETS, Target
from benchmarks.workloads import WORKLOADS
from tests.waiting import until

ROOT = Path(__file__).parents[1]


def results_of(**values: list[float]) -> Results:
    """W1 of these systems."""
    results = Results(machine={"cores": "2"}, quick=False, rounds=3)
    for system, rates in values.items():
        for rate in rates:
            results.add(system, "w1", "rate", rate)
    return results


def first_table(results: Results) -> Table:
    return tables(results)[0]


# --- systems and workloads ------------------------------------------------------------------------


def test_every_adapter_says_what_it_does_and_needs_no_library_for_that() -> None:
    for kind in adapters():
        assert kind.name in ADAPTERS
        assert kind.workloads <= WORKLOADS.keys()
        assert (kind.environment is None) == (kind.name in OURS)
        assert kind.environment is None or kind.environment in environments.names()


def test_every_target_is_about_figures_that_are_measured() -> None:
    known = {kind.name: kind.workloads for kind in adapters()}
    for target in TARGETS:
        for figure in (target.figure, target.of or target.figure):
            system, _, path = figure.partition(" ")
            workload, _, name = path.partition("/")
            kind, at, _ = name.partition("@")
            assert workload in known[system]
            assert kind + at in WORKLOADS[workload].figures


def test_the_systems_take_turns_in_each_round() -> None:
    steps = runner.plan(list(adapters()), [WORKLOADS["w1"]], 2)

    systems = [step.system.name for step in steps if step.round == 1]
    assert len(systems) == len(set(systems)) > 1
    assert [(step.round, step.system.name) for step in steps] == [(r, s) for r in (1, 2) for s in systems]


def test_a_system_that_is_not_installed_is_left_out_and_the_reason_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(environments.HOME_VARIABLE, str(tmp_path))
    results = results_of()

    assert [kind.name for kind in runner.usable(["pyrotask", "dask"], results)] == ["pyrotask"]
    assert "python -m benchmarks.peers --install" in results.missing["dask"]
    assert any("dask" in text for text in remarks(results))


# --- figures ----------------------------------------------------------------------------------------


def test_results_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    results = results_of(pyrotask=[1.5, 2.5])
    results.failures.append(Failure(system="dask", workload="w1", round=1, why="it was late"))

    results.write(tmp_path / "figures.json")

    assert Results.read(tmp_path / "figures.json") == results


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text('{"format": 0}')

    with pytest.raises(ValueError, match="measure again"):
        Results.read(tmp_path / "figures.json")


def test_a_table_shows_the_median_of_the_rounds() -> None:
    table = first_table(results_of(pyrotask=[10_000, 50_000, 20_000]))

    (row,) = table.rows
    assert row[:2] == ["pyrotask", "20,000"]


def test_a_table_has_a_row_for_what_is_not_installed() -> None:
    results = results_of(pyrotask=[1.0])
    results.missing["dask"] = "it is not made"

    rows = {row[0]: row for row in first_table(results).rows}
    assert rows["dask.distributed"][1] == MISSING


def test_a_table_tells_a_failure_from_what_a_system_does_not_have() -> None:
    results = results_of(pyrotask=[1.0])
    results.failures.append(Failure(system="pyrotask", workload="w2", round=1, why="it was late"))
    results.add("joblib", "w2", "p50", 10.0)

    rows = {row[0]: row for row in first_table(results).rows}
    assert rows["pyrotask"][3] == FAILED
    assert rows["joblib (loky)"][1] == NOTHING


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (9.8765, "9.88"), (123.4, "123"), (53_060, "53,100"), (1e6, "1,000,000")],
)
def test_figures_are_shown_with_three_digits(value: float, text: str) -> None:
    assert shown(value) == text


def test_a_missed_target_is_shown_as_such() -> None:
    results = results_of(pyrotask=[30_000.0], **{"mp-pool": [60_000.0]})

    rows = {row[0]: row for row in tables(results)[-1].rows}
    assert rows["W1 against multiprocessing.Pool"][1:] == ["≥ 1 times", "0.5 times", "missed"]


def test_a_target_that_was_not_measured_is_not_judged() -> None:
    assert Target("", "pyrotask w2/p50", 0.2).seen(results_of(pyrotask=[1.0])) is None


def test_the_page_has_every_system_also_when_it_is_faster_than_we_are() -> None:
    text = "\n".join(page(results_of(pyrotask=[1_000.0], **{"mp-pool": [50_000.0]})))

    assert "| multiprocessing.Pool | 50,000 |" in text
    assert "- cores: 2" in text


# --- the command ------------------------------------------------------------------------------------


def command(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "--quick", "--folder", str(folder), *words],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("b")
    yield folder
    assert not list(folder.glob("benchmarks-*"))


def test_an_unknown_workload_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    run = command(tmp_path, "--only", "w99")

    output, _ = run.communicate(timeout=60)
    assert run.returncode == 2
    assert "'w99' is none of w1, w2" in output


@pytest.mark.slow
def test_a_quick_run_measures_and_leaves_nothing(folder: Path) -> None:
    file = folder / "figures.json"
    run = command(folder, "--only", "w1,w6,w7", "--systems", "pyrotask,pyrotask-durable", "--json", str(file))

    output, _ = run.communicate(timeout=110)

    assert run.returncode == 0, output
    figures = json.loads(file.read_text())["figures"]
    assert figures["pyrotask"]["w1"]["rate"][0] > 0
    assert figures["pyrotask-durable"]["w7"]["answers"] == [500]
    assert any("W6" in line for line in output.splitlines())


@pytest.mark.slow
def test_the_executors_are_measured_beside_each_other() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.executors", "--tasks", "100", "--rounds", "1"],
        cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    rows = [line.split(" | ") for line in run.stdout.splitlines() if line.startswith("| ")]
    assert {"| pyrotask.Executor", "| ProcessPoolExecutor", "| multiprocessing.Pool"} <= {
        row[0] for row in rows
    }
    assert all(len(row) == 6 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_soon_and_leaves_nothing(folder: Path, number: signal.Signals) -> None:
    run = command(folder, "--only", "w4")
    watched = psutil.Process(run.pid)
    until(lambda: len(watched.children(recursive=True)) > 1)  # the trial has started a broker
    started = watched.children(recursive=True)

    began = time.monotonic()
    run.send_signal(number)
    output, _ = run.communicate(timeout=30)

    assert run.returncode == 130, output
    assert "Interrupted" in output
    assert time.monotonic() - began < 15
    assert not psutil.wait_procs(started, 60)[1]
