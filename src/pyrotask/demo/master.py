"""The master's half of the demo: ask, kill a worker on the way, collect, and count.

The manager lives in this process, the workers below it: `pyrotask worker` with a tether, so
that they end with this process however it ends.
"""

from __future__ import annotations

import os
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pyrotask.config import Settings
from pyrotask.demo.analysis import TAG, Report
from pyrotask.demo.killing import Strike, strike
from pyrotask.demo.team import Team
from pyrotask.errors import PyrotaskError, TaskRaisedException
from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager

STUCK_AFTER_S = 60.0
"""When for so long no answer came, something is wrong: the longest task takes half a second."""

LOOK_EVERY_S = 0.5
"""How often is looked whether the workers still live, while no answer comes."""

KILL_AT = 0.05
"""The part of the answers that are there when a worker is killed: the largest files, and so the
longest tasks, are at work then."""


@dataclass
class Outcome:
    """What came out."""

    root: Path
    asked: int
    workers: int
    reports: list[Report] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What must not happen: an answer missing, doubled, or an exception."""
    strike: Strike | None = None
    wall_s: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether each task has its one answer."""
        return not self.problems and len(self.reports) == self.asked

    def name_of(self, path: str) -> str:
        """The path of a file as people know it, below the library's own folder."""
        return Path(path).relative_to(self.root).as_posix()


def library() -> Path:
    """The folder of the standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def source_files(count: int | None = None) -> list[Path]:
    """The source files of the standard library, the largest first; ``count``: so many of all sizes.

    Largest first, so that the end is not one long task while the other workers are idle.
    """
    found = [
        (path.stat().st_size, path)
        for path in library().rglob("*.py")
        if not {"site-packages", "dist-packages"} & set(path.parts)
    ]
    files = [path for _, path in sorted(found, key=lambda pair: (-pair[0], pair[1]))]
    if count is None or count >= len(files):
        return files
    return [files[-(-place * len(files) // count)] for place in range(count)]


def run(
    files: Sequence[Path],
    workers: int,
    settings: Settings,
    *,
    on_progress: Callable[[int], None],
    on_news: Callable[[str], None],
) -> Outcome:
    """Measure the files with so many workers, of which one is killed. Blocks until all is done.

    Whatever happens, nothing is left running.

    Raises:
        HandlerError: the workers could not be started.
        TimeoutError: no answer came for a minute.
    """
    outcome = Outcome(library(), len(files), workers)
    started_at = time.monotonic()
    with Server(label=f"demo-{os.getpid()}", settings=settings, name_server="off") as server:
        manager = server.task_manager
        waiting = {manager.addTaskRequest(TAG, (str(path),)): str(path) for path in files}
        with Team(server.address, workers) as team:
            on_news(f"the manager is {server.label} at {server.address}: `pyrotask status` shows it")
            kill_at = len(files) - int(len(files) * KILL_AT)
            while waiting:
                _collect(manager, waiting, outcome, team)
                on_progress(len(outcome.reports))
                if outcome.strike is None and len(waiting) <= kill_at:
                    outcome.strike = strike(manager, team, waiting)
                    kill_at = -1
                    if outcome.strike is not None:
                        on_news(f"kill -9 {outcome.strike.pid}, which was running {outcome.strike.task}")
            _expect_nothing_more(manager, outcome)
            manager.terminate()
    outcome.wall_s = time.monotonic() - started_at
    _complete_strike(outcome)
    return outcome


def _collect(manager: TaskManager, waiting: dict[str, str], outcome: Outcome, team: Team) -> None:
    """Take one answer, and check that it is the one that was asked for."""
    try:
        task, _, report = _next_result(manager, team)
    except TaskRaisedException as error:
        waiting.pop(error.task_id, None)
        outcome.problems.append(str(error))
        return
    path = waiting.pop(task, None)
    if path is None:
        outcome.problems.append(f"{task} was answered twice")
    elif path != report["path"]:
        outcome.problems.append(f"{task} was about {path}, and its answer is about {report['path']}")
    else:
        outcome.reports.append(report)


def _next_result(manager: TaskManager, team: Team) -> tuple[str, str, Report]:
    give_up_at = time.monotonic() + STUCK_AFTER_S
    while True:
        try:
            return manager.getAnyResult(timeout=LOOK_EVERY_S)
        except TimeoutError:
            team.check()
            if time.monotonic() > give_up_at:
                raise TimeoutError(
                    f"no answer for {STUCK_AFTER_S:g} s; the workers said: {team.last_words()}"
                ) from None


def _expect_nothing_more(manager: TaskManager, outcome: Outcome) -> None:
    try:
        task, _, _ = manager.getAnyResult(timeout=0)
    except TimeoutError:
        return
    except PyrotaskError as error:
        outcome.problems.append(f"after all answers there was one more: {error}")
        return
    outcome.problems.append(f"after all answers there was one more, of {task}")


def _complete_strike(outcome: Outcome) -> None:
    """Add to the story of the killed one what its task's answer tells."""
    if outcome.strike is None:
        return
    again = next((report for report in outcome.reports if report["path"] == outcome.strike.path), None)
    if again is None:
        return
    if again["pid"] == outcome.strike.pid:
        outcome.problems.append(f"the answer of {outcome.strike.task} came from the process that was killed")
    outcome.strike = outcome.strike._replace(
        second_pid=again["pid"], ran_again_ms=(again["started_at"] - outcome.strike.killed_at) * 1000
    )
