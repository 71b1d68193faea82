"""What `pyrotask serve` says at its start: where it is, and what to type next."""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrotask.remote.server import Server


def greeting(server: Server, host: str, key_file: Path | None) -> Iterator[str]:
    """Yield the lines that say where the broker is, and what to type next."""
    from pyrotask.remote.security import is_loopback

    label = shlex.quote(server.label)
    yield f"broker {server.label} listens on {server.address} (process {os.getpid()})"
    yield "workers on this machine:"
    yield f"    pyrotask worker {label} -n {os.cpu_count() or 2} --module MODULE"
    if is_loopback(host):
        yield "other machines cannot reach it; for them, serve it like this instead:"
        key = "FILE" if key_file is None else shlex.quote(str(key_file))
        yield f"    pyrotask serve {label} --host 0.0.0.0 --port 9091 --key-file {key}"
    else:
        yield from _for_other_machines(server, key_file)
    yield from _about_journal(server)
    yield "what it does, and how to stop it (or Ctrl-C here):"
    yield f"    pyrotask status {label}"
    yield f"    pyrotask stop {label}"


def _about_journal(server: Server) -> Iterator[str]:
    from pyrotask.journal import FileJournal

    journal = server.task_manager.broker.engine.journal
    if not isinstance(journal, FileJournal):
        yield "it keeps everything in memory; to survive its own end, it needs --journal FOLDER"
        return
    policy = journal.policy
    yield f"its journal is {shown(journal.path)} ({policy.value}); what can be lost: {policy.can_lose}"
    waiting, running, finished = (sum(tasks.values()) for tasks in server.task_manager.numberOfTasks())
    if waiting or running or finished:
        wait = "1 task waits" if waiting == 1 else f"{waiting} tasks wait"
        run, are = "runs" if running == 1 else "run", "is" if finished == 1 else "are"
        yield f"it goes on: {wait}, {running} {run}, {finished} {are} finished and not collected"


def _for_other_machines(server: Server, key_file: Path | None) -> Iterator[str]:
    host, port = socket.gethostname(), server.port
    yield "workers on another machine:"
    with_key = ""
    if key_file is not None:
        yield f"    scp {host}:{shlex.quote(str(key_file.absolute()))} pyrotask.key"
        with_key = " --key-file pyrotask.key"
    yield f"    pyrotask worker {host}:{port} -n 4 --module MODULE{with_key}"
    yield f"    (this machine's firewall must let TCP port {port} in, as by `sudo ufw allow {port}/tcp`;"
    yield "    the workers' machines need no open port)"


def shown(path: Path) -> str:
    """A path as one types it."""
    return shlex.quote(str(path))
