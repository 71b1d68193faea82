"""The accident of the demo: a worker is killed while it runs a task."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import NamedTuple

from pyrotask.core.machine import Machine
from pyrotask.core.model import UNFINISHED, AttemptEnd, Cause, Holder, Nanoseconds, ProcessId
from pyrotask.demo.team import Team
from pyrotask.reference import task_id, task_number
from pyrotask.taskmanager import TaskManager

TRIES = 20
"""A worker may be done with its task before the signal reaches it: then the next one is tried."""

WAIT_S = 30.0
"""How long for the task to be leased again: that takes milliseconds, or something is wrong."""

LOOK_EVERY_S = 0.0005

A_MOMENT_NS = 20_000_000
"""A worker has begun its task by then, unless its machine is very busy; then another one is tried."""

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows SIGTERM ends a process as surely


class Strike(NamedTuple):
    """Who was killed, running what, and what became of that."""

    pid: int
    task: str
    path: str
    attempt: int
    """The one that ended with the kill."""
    detail: str
    """How its supervisor saw that."""
    killed_at: float
    """In seconds of the wall clock."""
    free_again_ms: float
    """From the kill until the task was first in line again."""
    attempts: int
    """How often the task was given to a worker in all."""
    second_pid: int = 0
    ran_again_ms: float = 0.0
    """From the kill until another worker, as soon as it had nothing else to do, had begun it."""


class _Victim(NamedTuple):
    pid: int
    task: str
    attempt: int


def strike(manager: TaskManager, team: Team, waiting: Mapping[str, str]) -> Strike | None:
    """Kill a worker that runs a task, and wait until another has that. None: there was no chance to.

    The results of the others wait in the manager meanwhile.
    """
    for _ in range(TRIES):
        victim = _somebody_busy(manager, team, waiting)
        if victim is None:
            return None
        killed_at, core_time = time.time(), manager.broker.engine.now()
        os.kill(victim.pid, KILL)
        found = _what_became_of(manager, victim)
        if found is not None:
            end, attempts = found
            free_again_ms = (end.ended_at - core_time) / 1e6
            path = waiting[victim.task]
            return Strike(*victim[:2], path, victim.attempt, end.detail, killed_at, free_again_ms, attempts)
    return None


def _somebody_busy(manager: TaskManager, team: Team, waiting: Mapping[str, str]) -> _Victim | None:
    """Wait for a worker that has had its task for a moment, and so surely runs it."""
    give_up_at = time.monotonic() + WAIT_S
    while time.monotonic() < give_up_at:
        team.check()
        for process, pid in team.pids().items():
            for task, attempt in _held_by(manager, process):
                if task in waiting:
                    return _Victim(pid, task, attempt)
        if not any(manager.numberOfTasks()[0].values()):
            return None
        time.sleep(LOOK_EVERY_S)
    return None


def _held_by(manager: TaskManager, number: int) -> list[tuple[str, int]]:
    """The tasks that the process has had for a moment, each with its attempt."""

    def read(machine: Machine, now: Nanoseconds) -> list[tuple[str, int]]:
        process = machine.state.processes.get(ProcessId(number))
        return [
            (task_id(task.tag, task.number), task.attempt)
            for task in (machine.state.tasks[task] for task in (process.tasks if process else ()))
            if isinstance(task.detail, Holder) and now - task.detail.leased_at >= A_MOMENT_NS
        ]

    found: list[tuple[str, int]] | None = manager.broker.call(read)
    return found or []


def _what_became_of(manager: TaskManager, victim: _Victim) -> tuple[AttemptEnd, int] | None:
    """Wait until the task runs again: how the victim's attempt ended, and the number of the next.

    None: the victim had handed in its result, or had not begun: so nothing was interrupted.
    """
    number = task_number(victim.task)

    def read(machine: Machine, _now: Nanoseconds) -> tuple[int, tuple[AttemptEnd, ...]] | None:
        task = machine.state.tasks.get(number)
        if task is None or task.state not in UNFINISHED:
            return None
        return task.attempt, task.trouble.story if task.trouble else ()

    give_up_at = time.monotonic() + WAIT_S
    while time.monotonic() < give_up_at:
        seen: tuple[int, tuple[AttemptEnd, ...]] | None = manager.broker.call(read)
        if seen is None:
            return None
        attempts, story = seen
        if attempts > victim.attempt:
            crashes = (end for end in story if end.attempt == victim.attempt and end.cause is Cause.CRASHED)
            end = next(crashes, None)
            return None if end is None else (end, attempts)
        time.sleep(LOOK_EVERY_S)
    raise TimeoutError(f"{victim.task} has not been given to another worker for {WAIT_S:g} s")
