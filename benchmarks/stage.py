"""Where one trial plays: its folder, the programs that it starts, and the end of them all."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
"""The folder to start programs in, so that they find this package."""

END_S = 3.0
"""How long programs get to end when asked, before they are killed."""


class Stage:
    """Starts programs, and ends them when it is left.

    Args:
        folder: for what these programs write. It must be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_programs()

    def start(self, *words: object) -> subprocess.Popen[bytes]:
        """Start a program. Its stderr is the trial's own; its stdin and stdout are pipes to here."""
        program = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self._programs.append(program)
        return program

    def start_python(self, module: str, *words: object) -> subprocess.Popen[bytes]:
        """The same for ``python -m MODULE`` in this environment."""
        return self.start(sys.executable, "-m", module, *words)

    def end_programs(self) -> None:
        for program in self._programs:
            if program.poll() is None:
                program.terminate()
        until = time.monotonic() + END_S
        for program in self._programs:
            try:
                program.wait(max(0.05, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
            for pipe in (program.stdin, program.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
        self._programs.clear()


def kill(program: subprocess.Popen[bytes]) -> None:
    """Kill it as ``kill -9`` does, and wait until it is gone."""
    program.send_signal(signal.SIGKILL)
    program.wait()


def wait_for_line(program: subprocess.Popen[bytes], text: bytes) -> bytes:
    """Wait until the program has printed a line with this text. Returns the line."""
    assert program.stdout is not None
    line = b""
    for line in program.stdout:
        if text in line:
            return line
    raise RuntimeError(
        f"{program.args!r} ended with {program.wait()} and did not print {text!r}; last: {line!r}"
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(port: int, timeout_s: float = 30.0) -> None:
    """Wait until somebody listens there."""

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    wait_until(answers, timeout_s, f"somebody listens on port {port}")


def wait_until(is_so: Callable[[], bool], timeout_s: float, what: str) -> None:
    until = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {timeout_s:g} s in vain until {what}")
        time.sleep(0.01)


def connected(port: int) -> socket.socket:
    """A connection to a port of this machine that sends small messages at once."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
