"""What happened to a task, and what it does now, in lines for people."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from pyrotask.cli.output import duration
from pyrotask.cli.selecting import Task, id_of


def now_of(task: Task) -> str:
    """What it does now, or how it ended, in a few words."""
    match task["state"]:
        case "running":
            who = "a client" if task["process"] is None else f"process {task['process']}"
            return f"{who}, for {_since(task['leased_at'])}"
        case "scheduled" if task["unready_inputs"]:
            return f"needs {task['unready_inputs']} values"
        case "scheduled":
            return f"due in {duration(max(0.0, (task['due_at'] or 0.0) - time.time()))}"
        case "failed" | "cancelled":
            return f"{task['cause']}, {_since(task['ended_at'])} ago"
        case _:
            return ""


def told(task: Task) -> Iterator[str]:
    """Tell the whole story: what it is, then each attempt that did not succeed, and how it ended."""
    yield heading(task)
    for end in task["story"]:
        yield from _told_end(end)
    last = task["story"][-1]["detail"] if task["story"] else None
    if task["detail"] and task["detail"] != last:
        yield from _indented(f"{task['cause']}: {task['detail']}", "  ")


def heading(task: Task) -> str:
    """Tell what it is."""
    text = f"{id_of(task)}: {task['state']}"
    if task["attempt"]:
        text += f", attempt {task['attempt']}"  # not how many: there is a gap over a restart
    counts = (task["retries"], "retries"), (task["crashes"], "crashes"), (task["losses"], "losses")
    for number, what in counts:
        text += f", {what}: {number}" if number else ""
    return text + (f", key {task['key']!r}" if task["key"] is not None else "")


def _told_end(end: Mapping[str, Any]) -> Iterator[str]:
    who = "" if end["process"] is None else f", process {end['process']}"
    head = f"attempt {end['attempt']}{who}, {_since(end['ended_at'])} ago: {end['cause']}"
    yield from _indented(head + (f": {end['detail']}" if end["detail"] else ""), "  ")


def _indented(text: str, margin: str) -> Iterator[str]:
    """The first line at the margin, the others, as those of a traceback, below it."""
    first, *others = text.splitlines() or [""]
    yield margin + first
    for line in others:
        yield f"{margin}    {line}"


def _since(instant: float) -> str:
    return duration(max(0.0, time.time() - instant))
