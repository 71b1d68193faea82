"""A broker that is killed again and again, while a master submits and collects, and workers compute.

What is checked is the contract, to the letter. Whatever was acknowledged is there in the next
run. A call that was under way when the broker died was done or not, as a whole; the master
reads back which. An answer that was under way may be lost on the wire, and comes at most once.
All other answers come, each exactly once. The workers are the same ones to the end; since they
live on, each task runs once.

    RECOVERY_SEED      the story to repeat
    RECOVERY_SECONDS   how long; 8 by default
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from Pyro5.errors import CommunicationError

from pyrotask.errors import ConnectError
from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold
from tests.cli.commands import Running
from tests.recovery.deaths import Deaths
from tests.recovery.houses import manager, working

MOST_OUTSTANDING = 40
PATIENCE_S = 120.0
BROKEN = (CommunicationError, ConnectError)


class Master:
    """One that notes what it was promised, and reads back what it was not told."""

    def __init__(self, deaths: Deaths, dice: random.Random) -> None:
        self._deaths = deaths
        self._dice = dice
        self._proxy = manager()
        self.submitted = 0
        self.answered: list[int] = []
        self.lost = 0
        """Answers that were under way when the broker died, and are collected."""
        self.broken_calls = 0
        self.pauses_s: list[float] = []

    @property
    def outstanding(self) -> int:
        return self.submitted - len(self.answered) - self.lost

    def step(self) -> None:
        """Submit or collect."""
        if self.outstanding < MOST_OUTSTANDING and self._dice.random() < 0.5:
            self._submit()
        elif self.outstanding:
            self.collect()

    def _submit(self) -> None:
        seconds = self._dice.choice((0.0, 0.0, 0.01, 0.05))
        try:
            self._proxy.addTaskRequest("double", (self.submitted, seconds))
            self.submitted += 1
        except BROKEN:
            # It was taken on, or it was not; then the next task has its number.
            self.submitted += self._read_back() - self.outstanding

    def collect(self) -> None:
        """Take an answer, if one comes soon."""
        try:
            task, tag, result = self._proxy.getAnyResult(timeout=0.5)
        except TimeoutError:
            return
        except BROKEN:
            self.lost += self.outstanding - self._read_back()
            return
        assert tag == "double", task
        self.answered.append(result // 2)
        if (back_at := self._deaths.back_at) is not None:
            self._deaths.back_at = None
            self.pauses_s.append(time.monotonic() - back_at)

    def _read_back(self) -> int:
        """How many tasks there are: those that wait, run, or have an answer."""
        self.broken_calls += 1
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            self._deaths.check()
            assert time.monotonic() < give_up_at, "there is a broker, and no way to it"
            try:
                self._proxy._pyroRelease()
                self._proxy = manager()
                there = sum(sum(tasks.values()) for tasks in self._proxy.numberOfTasks())
            except BROKEN:
                continue
            # Of one broken call, one task more or less.
            assert there - self.outstanding in {-1, 0, 1}, (there, self.outstanding)
            return there

    def processes(self) -> Any:
        while True:
            self._deaths.check()
            try:
                return self._proxy.activeProcesses()
            except BROKEN:
                self._proxy = manager()

    def leave(self) -> None:
        self._proxy._pyroRelease()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_however_often_the_broker_dies(tmp_path: Path) -> None:
    seed = os.environ.get("RECOVERY_SEED") or str(random.SystemRandom().randrange(10**9))
    seconds = float(os.environ.get("RECOVERY_SECONDS", "8"))
    print(f"\nRECOVERY_SEED={seed} repeats this; the journal stays in {tmp_path / 'journal'}")
    dice = random.Random(seed)
    deaths = Deaths(tmp_path / "journal", random.Random(dice.random()))
    try:
        with working(tmp_path, 2) as worker:
            _let_it_happen(deaths, Master(deaths, dice), worker, seconds)
    finally:
        deaths.stop()
        deaths.bury()
    state = fold(Folder(tmp_path / "journal")).state
    assert not state.tasks
    print(
        f"answers that were handed in again, since nobody had said that they were taken: {state.late_answers}"
    )
    runs = sorted(map(int, (tmp_path / "runs").read_text().split()))
    assert runs == sorted(set(runs))


def _let_it_happen(deaths: Deaths, master: Master, worker: Running, seconds: float) -> None:
    workers = master.processes()
    deaths.start()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        master.step()
        deaths.check()
    deaths.stop()
    deaths.check()
    give_up_at = time.monotonic() + 60
    while master.outstanding:
        assert time.monotonic() < give_up_at, f"{master.outstanding} tasks were never answered"
        master.collect()
    answered = sorted(master.answered)
    print(
        f"{deaths.number} deaths; {master.submitted} tasks, {len(answered)} answers, {master.lost} lost on "
        f"the wire, {master.broken_calls} calls broken; work went on after "
        f"{sum(master.pauses_s) / max(1, len(master.pauses_s)):.2f} s, "
        f"at most {max(master.pauses_s, default=0.0):.2f} s"
    )
    assert answered == sorted(set(answered))
    assert master.submitted == len(answered) + master.lost
    assert set(answered) <= set(range(master.submitted))
    assert master.processes() == workers
    assert worker.process.poll() is None
    master.leave()
