"""Everything goes wrong at once, for a minute or for hours; then what was promised is checked.

Masters and workers at full speed. The broker is killed every few seconds; workers and one of the
masters are killed and stopped; connections are slow, reset, half closed, and swallow what is
sent. Every caller notes what was acknowledged. Then everything calms down, and it is checked:

- nothing that was acknowledged is missing, and each task has one answer;
- no answer came for a task that was never submitted;
- no lease is held by nobody, and nothing is left;
- the journal is whole.

    RECOVERY_SEED      the story to repeat (the machine plays a part in it, too)
    RECOVERY_SECONDS   how long; 60 by default

A run that fails has printed its seed, and where its journal and logs are.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.labels import object_name
from tests.cli import commands
from tests.recovery.callers import Caller, FutureCaller, MasterCaller, PlainCaller, SessionCaller, Watch
from tests.recovery.deaths import Deaths
from tests.recovery.houses import LABEL, Broker
from tests.recovery.keyed_master import TAG, Client, Notes
from tests.recovery.mishaps import KeyedMaster, Mishaps, Node, work_for
from tests.recovery.weather import Weather
from tests.waiting import until

PATIENCE_S = 120.0

PAUSES_S = (1.0, 5.0)
"""How long a broker lives."""

KEYS_PER_S = 10


class World:
    """Everybody there is, until the block is left."""

    def __init__(self, folder: Path, dice: random.Random, seconds: float, stack: ExitStack) -> None:
        self.folder = folder
        self.calm_at = 0.0
        self.watch = Watch()
        logs = folder / "logs"
        logs.mkdir()
        self._port: int | None = None
        self.deaths = Deaths(
            folder / "journal", _other(dice), pauses_s=PAUSES_S, logs=logs, returned=self._broker_is_back
        )
        stack.callback(self.deaths.bury)
        self.weather = stack.enter_context(Weather(lambda: self._port, _other(dice)))
        uri = f"PYRO:{object_name(LABEL)}@{self.weather.address}"
        self.callers: list[Caller] = [
            SessionCaller("session by its label", _other(dice), self.watch, LABEL),
            SessionCaller("session in bad weather", _other(dice), self.watch, self.weather.address),
            FutureCaller("futures in bad weather", _other(dice), self.watch, self.weather.address),
            MasterCaller("master in bad weather", _other(dice), self.watch, LABEL, self.weather.address),
            PlainCaller("plain proxy in bad weather", _other(dice), self.watch, uri),
        ]
        module = folder / "fault_tasks.py"
        module.write_text(work_for(TAG, *(caller.name for caller in self.callers)), encoding="utf-8")
        nodes = [stack.enter_context(Node(where, module, logs)) for where in (self.weather.address, LABEL)]
        self.keys = int(seconds * KEYS_PER_S)
        self.notes = folder / "keyed.notes"
        self.keyed = stack.enter_context(KeyedMaster(self.weather.address, self.notes, self.keys))
        self.mishaps = Mishaps(nodes, self.keyed, _other(dice))
        stack.callback(self.mishaps.stop)
        stack.callback(self.deaths.stop)

    def live(self, seconds: float) -> None:
        """Let it all happen."""
        everybody: list[Any] = [*self.callers, self.deaths, self.mishaps]
        for one in everybody:
            one.start()
        over_at = time.monotonic() + seconds
        while time.monotonic() < over_at and not any(caller.has_ended for caller in self.callers):
            self.deaths.check()
            time.sleep(0.1)

    def calm_down(self) -> None:
        """No more harm; everybody gets what is left, and ends."""
        self.mishaps.stop()
        self.deaths.stop()
        self.deaths.check()
        self.weather.clear_up()
        self.calm_at = time.monotonic()
        for caller in self.callers:
            caller.over.set()
        for caller in self.callers:
            caller.join()

    def _broker_is_back(self, broker: Broker) -> None:
        self._port = broker.port
        self.watch.broker_is_back()


def _other(dice: random.Random) -> random.Random:
    """Dice of their own for each, so that the threads do not share them."""
    return random.Random(dice.random())


@pytest.fixture
def seconds() -> float:
    return float(os.environ.get("RECOVERY_SECONDS", "60"))


@pytest.fixture
def seed(tmp_path: Path) -> str:
    chosen = os.environ.get("RECOVERY_SEED") or str(random.SystemRandom().randrange(10**9))
    print(f"\nRECOVERY_SEED={chosen} repeats this; its journal and logs are in {tmp_path}")
    return chosen


@contextmanager
def world(folder: Path, seed: str, seconds: float) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(folder, random.Random(seed), seconds, stack)


@pytest.mark.slow
@pytest.mark.timeout(0)  # its own bounds hold, however long it is to take
def test_what_was_acknowledged_is_done_once_whatever_goes_wrong(
    tmp_path: Path, seed: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("PYROTASK_MAX_CRASHES", "PYROTASK_MAX_LOSSES"):
        monkeypatch.setenv(bound, "1000000")  # whoever dies here, dies of us
    with world(tmp_path, seed, seconds) as everybody:
        everybody.live(seconds)
        everybody.calm_down()
        _tell(everybody)
        assert [f"{caller.name}: {each}" for caller in everybody.callers for each in caller.problems] == []
        assert [story for story in everybody.mishaps.stories if "Traceback" in story] == []
        _check_keys(everybody)
        _check_that_nothing_is_left(LABEL)
        everybody.deaths.broker.tell_to_end()
    _check_journal(tmp_path / "journal")


def _check_keys(everybody: World) -> None:
    """Each key has one answer, the same for the master that was killed and for a later one."""
    assert everybody.keyed.wait(PATIENCE_S), "the master with keys did not get all its answers"
    notes = Notes(everybody.notes)
    assert notes.problems == []
    assert sorted(notes.answers) == list(range(everybody.keys))
    later = Client(LABEL)
    assert later.answers_of(list(range(everybody.keys))) == notes.answers
    for session in notes.sessions:
        later.answered("close_session", session)
    after: int | None = None
    while True:
        page = later.answered("forget", {"tag": TAG}, 1000, after)
        if (after := page["next"]) is None:
            break
    later.answered("close_session", later.session)
    later.close()


def _check_that_nothing_is_left(label: str) -> None:
    with BulkProxy(label) as proxy:
        until(lambda: not _running(proxy.call("status")))  # a task that runs again, in vain, ends first
        status = proxy.call("status")
    left = {state: sum(tasks.values()) for state, tasks in status["tasks"].items()}
    assert left == {"waiting": 0, "running": 0, "finished": 0}, status
    print(f"answers that came too late, and were dropped: {status['late_answers']}")


def _running(status: dict[str, Any]) -> list[str]:
    return [task for process in status["processes"] for task in process["running"]]


def _check_journal(journal: Path) -> None:
    checked = commands.run("journal", "check", str(journal), "--json")
    assert checked.code == 0, checked
    assert json.loads(checked.out)["whole"] is True
    assert fold(Folder(journal)).state.tasks == {}


def _tell(everybody: World) -> None:
    runs = Counter((everybody.folder / "runs").read_text(encoding="utf-8").splitlines())
    twice = sum(times > 1 for times in runs.values())
    print(f"the broker died {everybody.deaths.number} times")
    print(f"mishaps: {dict(everybody.mishaps.done)}")
    print(f"connections: {dict(everybody.weather.seen)}")
    print(f"tasks that ran: {len(runs)}, {twice} of them more than once, {sum(runs.values())} runs")
    for caller in everybody.callers:
        print(
            f"{caller.name}: all its answers {caller.ended_at - everybody.calm_at:.1f} s after the storm; "
            f"{caller.calls} calls acknowledged, {caller.broken} broken; "
            f"{caller.answer_count} answers"
            + (f", {caller.lost} lost on the wire" if isinstance(caller, PlainCaller) else "")
        )
    for kind, times in sorted(everybody.watch.seconds.items()):
        print(
            f"after the broker's return, until {kind}: {sum(times) / len(times):.2f} s, "
            f"at most {max(times):.2f} s ({len(times)} times)"
        )
    if everybody.mishaps.stories:
        print("workers that ended by themselves, since the broker was away when they were started:")
        print(*Counter(story.splitlines()[-1] for story in everybody.mishaps.stories), sep="\n")
