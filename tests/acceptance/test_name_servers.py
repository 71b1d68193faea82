"""The README's three terminals: without a name server, with one, and with one that dies in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import Pyro5.api
import pytest

from tests.ports import free_port

PATIENCE_S = 60.0

MODULE = """
from pyrotask import handler

@handler
def square(x):
    return x * x
"""


@contextmanager
def running(*command: str, folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def read_until(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    read = []
    for line in process.stdout:
        read.append(line)
        if word in line:
            return line
    raise AssertionError(f"it ended without {word!r}: {''.join(read)}")


def compute(folder: Path, environment: dict[str, str]) -> None:
    """A master script, typed by hand."""
    script = (
        "import pyrotask\n"
        "manager = pyrotask.connect('lab')\n"
        "for x in range(20):\n"
        "    manager.addTaskRequest('square', (x,))\n"
        "print(sum(manager.getAnyResult(timeout=60)[2] for _ in range(20)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stdout == f"{sum(x * x for x in range(20))}\n", done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "squares.py").write_text(MODULE)
    return tmp_path


@pytest.mark.slow
def test_the_commands_work_without_a_name_server(folder: Path) -> None:
    environment = {"PYROTASK_NAME_SERVER": f"127.0.0.1:{free_port()}"}
    with running("pyrotask", "serve", "lab", folder=folder, environment=environment) as broker:
        read_until(broker, "listens on")
        worker = ("pyrotask", "worker", "lab", "-n", "2", "--module", "squares")
        with running(*worker, folder=folder, environment=environment):
            compute(folder, environment)


@pytest.mark.slow
def test_the_commands_work_with_a_name_server_also_when_it_dies_in_between(folder: Path) -> None:
    port = free_port()
    environment = {"PYROTASK_NAME_SERVER": f"127.0.0.1:{port}"}
    names = ("Pyro5.nameserver", "--host", "127.0.0.1", "--port", str(port), "--nobc")
    with running(*names, folder=folder, environment={"PYTHONUNBUFFERED": "1"}) as name_server:
        read_until(name_server, "NS running on")
        with running("pyrotask", "serve", "lab", folder=folder, environment=environment) as broker:
            read_until(broker, "listens on")
            with Pyro5.api.locate_ns("127.0.0.1", port) as found:
                uri = found.lookup("TaskManager.lab")
            with Pyro5.api.Proxy(uri) as plain:
                assert plain.numberOfActiveProcesses() == 0
            worker = ("pyrotask", "worker", "lab", "-n", "2", "--module", "squares")
            with running(*worker, folder=folder, environment=environment):
                compute(folder, environment)
                name_server.kill()
                name_server.wait()
                compute(folder, environment)
            with running(*worker, folder=folder, environment=environment):
                compute(folder, environment)
            broker.send_signal(signal.SIGTERM)
            assert broker.wait(PATIENCE_S) == 0
