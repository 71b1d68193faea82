"""Signals in a main thread that uses the manager: real ones, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "scripts"


def _run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    print(done.stdout)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("method", ["getAnyResult", "getAnyTask"])
def test_ctrl_c_reaches_a_main_thread_that_waits(method: str) -> None:
    with subprocess.Popen(
        [sys.executable, str(SCRIPTS / "ctrl_c_waiting.py"), method], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted, 0 wait\n"
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["getAnyResult", "getAnyTask"])
def test_thousands_of_times_what_comes_together_with_ctrl_c_is_not_lost(method: str) -> None:
    assert "none lost" in _run("ctrl_c.py", method, "2000")


@pytest.mark.parametrize("method", ["getAnyResult", "getAnyTask"])
def test_what_comes_together_with_ctrl_c_is_delivered_or_first_in_line_again(method: str) -> None:
    assert "none lost" in _run("ctrl_c.py", method, "200")


def test_a_signal_handler_may_call_the_manager_wherever_the_main_thread_is_in_it() -> None:
    assert "500 signals handled" in _run("handler_in_a_hot_loop.py", "500")


def test_a_signal_handler_may_terminate_the_manager_that_the_main_thread_is_using() -> None:
    assert "100 of 100" in _run("handler_that_terminates.py", "100")
