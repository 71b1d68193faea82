"""What is left of a broker that was terminated, and what to type to be rid of it."""

from __future__ import annotations

import contextlib
import shlex
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyrotask.config import Settings

MOST_SESSIONS = 3


def rest_of(status: Mapping[str, Any], settings: Settings) -> Iterator[str]:
    """Yield lines on a terminated broker: why it is still there, and the commands that end that.

    ``status`` is its reply to the bulk call of that name. The label may be held by it for long: by a
    program of the user's that serves it, until that program ends.
    """
    label = shlex.quote(status["label"])
    yield f"{status['label']} is terminated: it takes no new tasks, and keeps its label until it has ended"
    waiting, running = (sum(status["tasks"][state].values()) for state in ("waiting", "running"))
    if waiting:
        yield f"  waiting: {waiting:,}; nobody will run them"
    if running:
        yield f"  still running: {running:,}; their results are taken"
    left = status["to_collect"]
    with_answers = [one for one in status["sessions"] if one["answers"] + one["handed_out"]]
    for session in with_answers[:MOST_SESSIONS]:
        number = session["answers"] + session["handed_out"]
        left -= number
        name = shlex.quote(session["name"])
        yield f"  not collected: {number:,}, by `pyrotask results {label} --session {name} --save FOLDER`"
    if left > 0:
        yield f"  not collected by others: {left:,}; `pyrotask tasks {label}` lists them"
    yield f"  to end it now, and give that up: {end_of(status['label'], settings)}"


def end_of(label: str, settings: Settings) -> str:
    """What to type to end a broker at once."""
    from pyrotask.remote.connection_file import ConnectionFile

    with contextlib.suppress(OSError, ValueError):
        file = ConnectionFile.read(settings.runtime_dir, label)
        if file.hostname == socket.gethostname():
            return f"`kill {file.pid}`"
        return f"`kill {file.pid}` on {file.hostname}"
    return "Ctrl-C where it is served"
