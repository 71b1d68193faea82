"""W5 and W7: who dies, and what is lost.

Each task writes down that it began, so what ran twice, and when, stands in that log, whatever
the system says.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers import BrokerPeer
from benchmarks.stage import wait_until
from benchmarks.workloads import WORKERS, TimeUp, Trial, at_most, warm_up

BEGIN_S = 30.0
SILENCE_S = 4.0
"""When nothing has come for so long, nothing will."""

PAUSE_S = 1.0


class Begun(NamedTuple):
    number: int
    pid: int
    at: float


class Log:
    """What the tasks wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lines(self) -> list[Begun]:
        begun = (line.split() for line in self.path.read_text().splitlines())
        return [Begun(int(number), int(pid), float(at)) for number, pid, at in begun]

    def wait_for(self, count: int) -> None:
        """Wait until so many tasks have begun."""
        wait_until(lambda: self.path.read_bytes().count(b"\n") >= count, BEGIN_S, f"{count} tasks have begun")

    def ran_twice(self) -> int:
        return sum(count > 1 for count in Counter(line.number for line in self.lines()).values())


def of_a_worker(trial: Trial) -> None:
    count, duration_s = (60, 0.01) if trial.quick else (1_000, 0.004)
    log = Log(trial.stage.folder / "log")
    trial.peer.start(WORKERS)
    warm_up(trial)
    values = trial.peer.submit_at_risk("logged", [(n, duration_s, str(log.path)) for n in range(count)])
    arrived: set[int] = set()
    log.wait_for(count // 3)
    killed, killed_at = kill_a_worker(log, duration_s)
    take(values, arrived, count)
    trial.report("answers", len(arrived))
    trial.report("twice", log.ran_twice())
    again = [line.at for line in log.lines() if line.number == killed and line.at > killed_at]
    if again:
        trial.report("again", (again[0] - killed_at) * 1e3)


def take(values: Iterable[Any], arrived: set[int], wanted: int) -> None:
    """Take answers until there are so many; or an error or silence says that there will not be."""
    values = iter(values)
    try:
        while len(arrived) < wanted:
            with at_most(SILENCE_S):
                value = next(values)
            if isinstance(value, int):  # some hand out errors like values
                arrived.add(value)
    except (TimeUp, StopIteration):
        pass
    except Exception as error:  # the system's own way to say that it has lost something
        print(f"after {len(arrived)} answers: {type(error).__name__}: {str(error)[:200]}", flush=True)


def kill_a_worker(log: Log, duration_s: float) -> tuple[int, float]:
    """Kill the process of a task that has just begun. Returns the task's number, and the instant."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        last = log.lines()[-1]
        if 0 <= time.time() - last.at < duration_s / 2:
            os.kill(last.pid, signal.SIGKILL)
            return last.number, time.time()
        time.sleep(duration_s / 10)
    raise RuntimeError("no task ran that could be killed")


def of_the_broker(trial: Trial) -> None:
    peer = trial.peer
    assert isinstance(peer, BrokerPeer)
    count = 500 if trial.quick else 10_000
    log = Log(trial.stage.folder / "log")
    peer.start_broker()
    values = peer.submit_at_risk("logged", [(n, 0.001, str(log.path)) for n in range(count)])
    peer.add_workers(WORKERS)
    arrived: set[int] = set()
    take(values, arrived, count // 10)
    peer.kill_broker()
    time.sleep(PAUSE_S)
    back_at = time.time()
    peer.restart_broker()
    take(values, arrived, count)
    trial.report("answers", len(arrived))
    trial.report("twice", log.ran_twice())
    later = [line.at for line in log.lines() if line.at > back_at]
    if later:
        trial.report("goes on", later[0] - back_at)
