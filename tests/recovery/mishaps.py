"""What happens to workers and masters in the fault run: they are killed, and stopped for a while."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil

from tests.cli.commands import Running

PERIOD_S = 0.5
"""What workers promise; after four silent ones they are lost."""

LONGEST_STOP_S = 4.0
"""Longer than that, sometimes."""

ROOT = Path(__file__).parents[2]

WORK = """
import os
import pathlib
import time
from pyrotask import handler

@handler(*TAGS)
def work(name, index, seconds, padding):
    time.sleep(seconds)
    with pathlib.Path(__file__).with_name("runs").open("a") as runs:
        runs.write(f"{name} {index}\\n")
    return [name, index, os.getpid(), time.monotonic_ns(), padding]
"""


def work_for(*tags: str) -> str:
    """A module with the handler of these tags."""
    return WORK.replace("TAGS", repr(tags))


class Node:
    """`pyrotask worker`, which is started again when it was killed. Closed by ``with``."""

    def __init__(self, where: str, module: Path, logs: Path) -> None:
        self._where = where
        self._module = module
        self._logs = logs
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def pid(self) -> int:
        return self._command.process.pid

    @property
    def children(self) -> list[int]:
        with contextlib.suppress(psutil.Error):
            return [child.pid for child in psutil.Process(self.pid).children()]
        return []

    def kill(self) -> None:
        """`kill -9`, and start another."""
        self._end()
        self._start()

    def revive(self) -> str | None:
        """If it has ended by itself, start another; what it said last, or None."""
        if self._command.process.poll() is None:
            return None
        self._end()
        story = self._command.told()
        self._start()
        return story

    def _start(self) -> None:
        self._command = Running(
            "worker", self._where, "-n", "2", "--period", str(PERIOD_S), "--module", str(self._module),
            "--tether", "--json",
        )  # fmt: skip

    def _end(self) -> None:
        self._command.__exit__()
        file = self._logs / f"worker-{self.pid}.err"
        file.write_text(self._command.told(), encoding="utf-8")


class KeyedMaster:
    """`tests.recovery.keyed_master`, which is started again when it was killed. Closed by ``with``."""

    def __init__(self, where: str, file: Path, count: int) -> None:
        self._arguments = (where, str(file), str(count))
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """`kill -9`, and start another, unless it has done all."""
        if self._process.poll() != 0:
            self.__exit__()
            self._start()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has done all. False: it has not, or has failed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s) == 0
        return False

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.recovery.keyed_master", *self._arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
        )


class Mishaps:
    """Does harm to nodes and to the master, until it is told to stop."""

    def __init__(self, nodes: list[Node], master: KeyedMaster, dice: random.Random) -> None:
        self._nodes = nodes
        self._master = master
        self._dice = dice
        self._over = threading.Event()
        self._stopped: list[tuple[float, int]] = []
        """Processes that are stopped, and until when."""
        self._thread = threading.Thread(target=self._run, name="mishaps")
        self.done: Counter[str] = Counter()
        self.stories: list[str] = []
        """What workers said that ended by themselves."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No more harm; what was stopped goes on. Idempotent."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        harms: dict[str, Callable[[], None]] = {
            "a child is killed": lambda: _send(self._some_child(), signal.SIGKILL),
            "a child is stopped": lambda: self._stop_for_a_while(self._some_child()),
            "a supervisor is stopped": lambda: self._stop_for_a_while(self._dice.choice(self._nodes).pid),
            "a supervisor is killed": lambda: self._dice.choice(self._nodes).kill(),
            "a master is killed": self._master.kill,
        }
        while not self._over.wait(self._dice.uniform(0.1, 1.5)):
            [what] = self._dice.choices([*harms], [4, 4, 1, 1, 1])
            self.done[what] += 1
            harms[what]()
            self._let_go_on(time.monotonic())
            self._revive()
        self._let_go_on(float("inf"))
        self._revive()

    def _some_child(self) -> int:
        children = [child for node in self._nodes for child in node.children]
        return self._dice.choice(children) if children else 0

    def _stop_for_a_while(self, pid: int) -> None:
        _send(pid, signal.SIGSTOP)
        self._stopped.append((time.monotonic() + self._dice.uniform(0, LONGEST_STOP_S), pid))

    def _let_go_on(self, now: float) -> None:
        for until, pid in list(self._stopped):
            if until <= now:
                self._stopped.remove((until, pid))
                _send(pid, signal.SIGCONT)

    def _revive(self) -> None:
        self.stories += filter(None, (node.revive() for node in self._nodes))


def _send(pid: int, number: signal.Signals) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
