"""What holds for every test: an environment of its own, and nothing left behind."""

from __future__ import annotations

import functools
import gc
import itertools
import os
import signal
import uuid
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests import leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="the slow tests at their full length: half an hour")


def pytest_configure() -> None:
    os.environ[leftovers.RUN_VARIABLE] = uuid.uuid4().hex
    # A shell has its background jobs ignore Ctrl-C, and what they start inherits that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A slow machine is no defect: no property fails for the time that an example takes.
    settings.register_profile(
        "pyrotask",
        max_examples=25,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("pyrotask")


def pytest_collection_finish() -> None:
    """What was imported stays: a garbage collection in a test need not look at it again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print at the end what tests have measured (see `figure`)."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    figures = [
        f"{report.nodeid.split('::')[-1]}: {text}"
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, text in report.user_properties
        if name == "figure"
    ]
    if figures:
        terminalreporter.section("figures of this run")
        terminalreporter.write_line("\n".join(figures))


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say a figure that was measured, as a sentence: the run's output ends with all of them."""
    return functools.partial(record_property, "figure")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if stories := leftovers.stories_of_orphans():
        # pytest has no report for "the run as a whole": say it, and fail the run.
        print("\nThis run left processes behind (they were killed):", *stories, sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail the test that leaves a child process, or a thread that keeps Python alive."""
    before = leftovers.running_now()
    yield
    if stories := leftovers.stories_of_what_was_left(before):
        pytest.fail("the test left behind, and did not stop:\n" + "\n".join(stories), pytrace=False)


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the tests' homes will be. None is made here: on a slow disk that is most of a small test."""
    base = tmp_path_factory.mktemp("homes")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def clean_environment(
    nothing_left_behind: None, homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No setting of the machine or its user reaches a test; its files go to its own folder.

    Processes that the test starts inherit this. A test may set what it needs on top.
    """
    home = next(homes)
    for name in [name for name in os.environ if name.startswith("PYROTASK_")]:
        monkeypatch.delenv(name)
    folders = {
        "PYROTASK_RUNTIME_DIR": "run",
        "XDG_RUNTIME_DIR": "run",
        "XDG_CONFIG_HOME": "config",
        "XDG_CONFIG_DIRS": "config-of-all",
        "XDG_DATA_HOME": "data",
        "XDG_STATE_HOME": "state",
        "XDG_CACHE_HOME": "cache",
    }
    for variable, folder in folders.items():
        monkeypatch.setenv(variable, str(home / folder))
