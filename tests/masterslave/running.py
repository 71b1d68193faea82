"""Scripts as real processes: written to a folder, started, watched, and ended with the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import psutil

LONG_S = 60.0
"""No test waits longer for anything; all that is waited for takes a second or so."""


def write(folder: Path, name: str, text: str) -> Path:
    """Write a script; its text may be indented."""
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


class Running:
    """A process that was started, and the lines that it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for(self, text: str) -> str:
        """Wait for a line with that text, and return it."""
        with self._more:
            found = self._more.wait_for(lambda: self._line_with(text) or not self._reader.is_alive(), LONG_S)
        line = self._line_with(text)
        assert found
        assert line is not None, f"{text!r} did not come; there was:\n{self.output}"
        return line

    def end(self) -> int:
        """Wait for its end, and return the exit code."""
        code = self.process.wait(LONG_S)
        self._reader.join(LONG_S)
        return code

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def _line_with(self, text: str) -> str | None:
        return next((line for line in self.lines if text in line), None)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line)
                self._more.notify_all()
        with self._more:
            self._more.notify_all()


@contextmanager
def started(command: Sequence[object], folder: Path, **env: str) -> Iterator[Running]:
    """Start a command in the folder; whatever of it and below it still runs at the end is killed."""
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Running(process)
    try:
        yield running
    finally:
        below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for one in below:
            with suppress(psutil.NoSuchProcess):  # it has just ended by itself
                one.kill()
        process.kill()
        process.wait()
        running._reader.join(LONG_S)
        assert process.stdout is not None
        process.stdout.close()


def script(folder: Path, name: str, text: str, *args: object, **env: str) -> AbstractContextManager[Running]:
    """Write a script and start it: see `started`."""
    return started([sys.executable, write(folder, name, text), *args], folder, **env)


def task_manager(folder: Path, *args: object) -> AbstractContextManager[Running]:
    """Start the ``task_manager`` command."""
    return started([sys.executable, "-m", "pyrotask.cli.task_manager", *args], folder)
