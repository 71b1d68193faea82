"""What a test may leave behind: nothing. This finds processes and threads that outlive it.

A broker, worker or client that does not end is a defect of its own, and one that a later
test would be blamed for. So each test is followed by a look at what it started: what is
still ending gets `GRACE_S`; what then is left fails the test, with its story, and
processes are killed so that the next test starts clean.

Daemon threads are not looked at: they cannot keep the interpreter alive. A grandchild whose
parent has died is no longer among our descendants; it is recognised by `RUN_VARIABLE`,
which it inherited, when the run ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import psutil

GRACE_S = 5.0
"""How long something that is ending already may take. Waited for only when needed."""

RUN_VARIABLE = "PYTEST_RUN_OF_PYROTASK"
"""In the environment of everything that this run started: unique to the run."""

_HELPERS_OF_PYTHON = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "loky.backend")
"""The interpreter (and joblib) keep these, one each, until it ends. They are no work of ours."""


@dataclass(frozen=True)
class Running:
    """Who runs at one moment, in this process and below it."""

    processes: frozenset[psutil.Process]
    threads: frozenset[threading.Thread]


def running_now() -> Running:
    """Take stock. A process that ended and was not waited for does not count as running."""
    return Running(frozenset(filter(_counts, _descendants())), frozenset(_threads_that_hold_us()))


def stories_of_what_was_left(before: Running, grace_s: float = GRACE_S) -> list[str]:
    """Say what runs now and did not before, one text each; the processes among it are killed."""
    until = time.monotonic() + grace_s
    new_threads = running_now().threads - before.threads
    for thread in new_threads:
        thread.join(max(0.0, until - time.monotonic()))
    new_processes = running_now().processes - before.processes
    _, left = psutil.wait_procs(new_processes, timeout=max(0.0, until - time.monotonic()))
    return [_end(process) for process in left] + [_where(t) for t in new_threads if t.is_alive()]


def stories_of_orphans() -> list[str]:
    """Say which processes of this run live on without belonging to us; they are killed."""
    token = os.environ[RUN_VARIABLE]
    return [_end(process) for process in psutil.process_iter() if _is_of_run(process, token)]


def _descendants() -> list[psutil.Process]:
    """All that we have started, and what they have. psutil would look at every process there is."""
    if not _has_children():
        return []
    try:
        return [process for child in _children_of(os.getpid()) for process in _family_of(child)]
    except OSError:  # a system that does not list them
        return psutil.Process().children(recursive=True)


def _family_of(pid: int) -> list[psutil.Process]:
    family = []
    with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):  # gone meanwhile
        family.append(psutil.Process(pid))
        for child in _children_of(pid):
            family += _family_of(child)
    return family


def _children_of(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text("ascii").split()]


def _has_children() -> bool:
    """Ask the system in a microsecond what psutil finds out by looking at every process there is."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _threads_that_hold_us() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]


def _counts(process: psutil.Process) -> bool:
    try:
        command = " ".join(process.cmdline())
        return process.status() != psutil.STATUS_ZOMBIE and not any(h in command for h in _HELPERS_OF_PYTHON)
    except psutil.Error:
        return False


def _is_of_run(process: psutil.Process, token: str) -> bool:
    try:
        return (
            process.pid != os.getpid() and process.environ().get(RUN_VARIABLE) == token and _counts(process)
        )
    except (psutil.Error, OSError):
        return False  # gone meanwhile, or another user's


def _end(process: psutil.Process) -> str:
    story = f"process {process.pid}"
    with contextlib.suppress(psutil.Error):
        story += f", {process.status()}: {' '.join(process.cmdline())}"
    with contextlib.suppress(psutil.Error):
        process.kill()
        process.wait(GRACE_S)
    return story


def _where(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)  # the only way to another thread's stack
    stack = "".join(traceback.format_stack(frame)) if frame else "  (ended just now)\n"
    return f"thread {thread.name!r}, not a daemon, is here:\n{stack}"
