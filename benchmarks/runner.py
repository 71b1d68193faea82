"""Runs trials, one after the other, and takes turns between the systems.

Each round does each workload once with each system, so that a machine that is slow for a while is
slow for all. Whatever a trial leaves behind, be it ended, failed, too late or interrupted, is ended
and removed here.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import environments
from benchmarks.peers import OURS, Peer, adapter
from benchmarks.results import Failure, Results
from benchmarks.stage import ROOT
from benchmarks.workloads import Workload

PR_SET_CHILD_SUBREAPER = 36
END_S = 4.0
"""How long a trial gets to end by itself when it is asked to."""


@dataclass(frozen=True)
class Step:
    """A trial to come."""

    system: type[Peer]
    workloads: tuple[Workload, ...]
    round: int

    @property
    def name(self) -> str:
        """Its workloads, for people."""
        return ", ".join(each.name for each in self.workloads)


Progress = Callable[[int, int, Step], object]
"""Told before each step: how many are done, of how many, and which comes."""

QUICK_DURABLE = frozenset({"w1", "w7"})
"""What a quick run does with a journal: all else is the same code as without."""


def plan(
    systems: Sequence[type[Peer]], workloads: Sequence[Workload], rounds: int, *, quick: bool = False
) -> list[Step]:
    """All steps, in their order."""
    with_team = tuple(each for each in workloads if each.has_team)
    alone = [(each,) for each in workloads if not each.has_team]
    steps = []
    for number in range(1, rounds + 1):
        for group in (with_team, *alone):
            for system in systems:
                chosen = tuple(each for each in group if is_due(system, each, number, quick=quick))
                if chosen:
                    steps.append(Step(system, chosen, number))
    return steps


def is_due(system: type[Peer], workload: Workload, number: int, *, quick: bool) -> bool:
    """Does the system do it in the round of that number?"""
    if quick and system.name == "pyrotask-durable" and workload.name not in QUICK_DURABLE:
        return False
    most = workload.rounds if system.name in OURS else workload.rounds_of_others
    return workload.name in system.workloads and number <= most


def usable(names: Sequence[str], results: Results) -> list[type[Peer]]:
    """The systems that can run here; of the others, the results get to know why."""
    found = []
    for kind in map(adapter, names):
        why = environments.missing(kind.environment) or kind.missing()
        if why is None:
            found.append(kind)
        else:
            results.missing[kind.name] = why
    return found


def run(steps: Sequence[Step], results: Results, folder: Path, progress: Progress) -> None:
    """Do all steps; what they yield goes into the results. Ctrl-C ends it, and nothing stays.

    Args:
        folder: trials write their files below it, journals for example.
    """
    adopt_orphans()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="benchmarks-", dir=folder) as files,
        tempfile.TemporaryDirectory(prefix="benchmarks-") as sockets,
    ):
        for number, step in enumerate(steps):
            progress(number, len(steps), step)
            one(step, results, Path(files, str(number)), Path(sockets, str(number)))
            results.seconds = time.monotonic() - began


def one(step: Step, results: Results, folder: Path, sockets: Path) -> None:
    """Do one trial. A failure is a result, too."""
    folder.mkdir()
    sockets.mkdir(mode=0o700)
    try:
        why = attempt(step, results.quick, folder, sockets)
        take(read_lines(folder / "stdout"), step, results, why)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(sockets, ignore_errors=True)


def attempt(step: Step, quick: bool, folder: Path, sockets: Path) -> str:
    """Run the trial's process; what it says is in the folder. Returns why it ended, if too early."""
    words = [step.system.name, str(folder), *(each.name for each in step.workloads)]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            [str(environments.python_of(step.system.environment)), "-m", "benchmarks.trial", *words]
            + (["--quick"] if quick else []),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=ROOT,
            env=surroundings(sockets),
            start_new_session=True,  # Ctrl-C is ours to handle
        )
        limit_s = sum(each.limit_s for each in step.workloads)
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return f"it was not done within {limit_s:g} s"
        finally:
            end(process)
    return last_words(folder / "stderr") or f"it ended with {process.returncode}"


def take(said: Iterable[dict[str, Any]], step: Step, results: Results, why: str) -> None:
    """Put what a trial said into the results; ``why`` is for what it did not come to the end of."""
    system, workload, done = step.system.name, "", set()
    for each in said:
        workload = each.get("begin", workload)
        if "figure" in each:
            results.add(system, workload, each["figure"], each["value"])
        if "done" in each:
            results.add_time(system, workload, each["seconds"])
            done.add(workload)
        results.versions.setdefault(system, {}).update(each.get("versions", {}))
    for workload in (each.name for each in step.workloads if each.name not in done):
        results.failures.append(Failure(system=system, workload=workload, round=step.round, why=why))


def surroundings(sockets: Path) -> dict[str, str]:
    """The environment variables of a trial: no settings of the user's, and a place of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYROTASK_", "PYRO_"))}
    return kept | {"PYROTASK_RUNTIME_DIR": str(sockets), "TMPDIR": str(sockets)}


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The lines that a trial meant for us; what its system printed is passed over."""
    for line in file.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict):
                yield said


def last_words(file: Path) -> str:
    lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


# --- nothing stays ----------------------------------------------------------------------------------


def end(process: subprocess.Popen[bytes]) -> None:
    """End a trial, and then all that it left."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = psutil.Process().children(recursive=True)
    for each in left:
        with contextlib.suppress(psutil.Error):
            each.kill()
    psutil.wait_procs(left, END_S)


def adopt_orphans() -> None:
    """Become the parent of what a trial leaves running, so that it can be found. On Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
