"""Journals of older versions, kept as files: they must stay readable for ever.

Each was made by ``python -m tests.journal.test_kept VERSION``, which is not run again for it: when a
format changes, its first journal is kept beside the others, under a number of its own.

    version-1   without files for large values
    version-2   with them
    version-3   with digests of another kind
    version-4   with events that are about several tasks
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from pyrotask.core import events as e
from pyrotask.core.blocks import Block
from pyrotask.core.model import (
    DEFAULT_OPTIONS,
    Cause,
    Failure,
    Kind,
    NodeId,
    Options,
    Payload,
    ProcessId,
    RetryPolicy,
    SessionId,
    TaskNumber,
)
from pyrotask.journal.blocks import blocks_of
from pyrotask.journal.codec import NUMBERS
from pyrotask.journal.export import export
from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold, prove_blocks
from pyrotask.journal.repair import compact
from tests.journal.lives import life, write

KEPT = Path(__file__).parent / "kept"
VERSIONS = sorted(path.name for path in KEPT.iterdir())


def opened_copy(version: str, tmp_path: Path) -> Folder:
    shutil.copytree(KEPT / version / "journal", tmp_path / version)
    return Folder(tmp_path / version)


def kept_lines(version: str) -> list[dict[str, Any]]:
    text = (KEPT / version / "exported.jsonl").read_text(encoding="utf-8")
    return [in_words_of_today(json.loads(line)) for line in text.splitlines()]


IN_THE_PLURAL = {
    "TaskSubmitted": "TasksSubmitted",
    "TaskLeased": "TasksLeased",
    "TaskSucceeded": "TasksSucceeded",
    "ResultDelivered": "ResultsDelivered",
    "TaskForgotten": "TasksForgotten",
}
"""Events that were about one task up to version 3."""


def in_words_of_today(line: dict[str, Any]) -> dict[str, Any]:
    event = IN_THE_PLURAL.get(line.get("event", ""))
    if event is None:
        return line
    plurals = {"task": "tasks", "payload": "payloads", "attempt": "attempts", "value": "values"}
    said = {plurals.get(name, name): [value] if name in plurals else value for name, value in line.items()}
    if event == "TasksSubmitted":
        (said["first"],) = said.pop("tasks")
    return {**said, "event": event}


def without_what_came_later(line: Any, kept: Any) -> Any:
    """The fields of a line that there were when the other was kept."""
    if isinstance(line, dict) and isinstance(kept, dict):
        return {name: without_what_came_later(line[name], kept[name]) for name in line if name in kept}
    if isinstance(line, list) and isinstance(kept, list) and len(line) == len(kept):
        return [without_what_came_later(*pair) for pair in zip(line, kept, strict=True)]
    return line


@pytest.mark.parametrize("version", VERSIONS)
def test_a_kept_journal_says_what_it_said_then(version: str, tmp_path: Path) -> None:
    kept = kept_lines(version)
    lines = list(export(opened_copy(version, tmp_path)))

    assert len(lines) == len(kept)
    assert [without_what_came_later(*pair) for pair in zip(lines, kept, strict=True)] == kept


@pytest.mark.parametrize("version", VERSIONS)
def test_a_kept_journal_still_makes_a_state(version: str, tmp_path: Path) -> None:
    folder = opened_copy(version, tmp_path)

    assert fold(folder).position == kept_lines(version)[-1]["position"]


@pytest.mark.parametrize("version", ["version-2", "version-3"])
def test_large_values_that_were_kept_can_be_read(version: str, tmp_path: Path) -> None:
    folder = opened_copy(version, tmp_path)
    folded = fold(folder)

    assert b"a large value" in [block.read() for block in blocks_of(folded.state)]
    prove_blocks(folder, folded)


def test_the_first_version_has_every_event_of_then() -> None:
    names = {line.get("event") for line in kept_lines("version-1")}

    assert len(names - {None}) == 29
    assert names - {None} <= {event.__name__ for event in NUMBERS}


def one_of_each() -> list[e.Event]:
    """A story with every event there is, after an image."""
    failure = Failure(Payload("plain", (b"error",)), "Traceback ...", ("ValueError",), "bad luck")
    value, other = Payload("pickle", (b"value", b"buffer")), Payload("plain", (b"other",))
    process, node, session = ProcessId(900), NodeId(900), SessionId(900)
    policy = RetryPolicy(1, 5, 1.5, 50, 0.2, ("ValueError",))
    options = Options(3, policy, 10, 5, 7, plain_answer=True)

    def lease(task: int, attempt: int = 1) -> e.TasksLeased:
        return e.TasksLeased(7, (TaskNumber(task),), process, (attempt,))

    def submit(task: int, **more: Any) -> e.TasksSubmitted:
        return e.TasksSubmitted(6, TaskNumber(task), "späť", (value,), DEFAULT_OPTIONS, session, **more)

    n = [TaskNumber(900 + k) for k in range(9)]
    return [
        e.BrokerStarted(1, "0123456789abcdef"),
        e.NodeRegistered(2, node, 5, "a node"),
        e.ProcessRegistered(3, process, Kind.WORKER, 5, "a process", node, frozenset({"a", "b"})),
        e.SessionOpened(4, session, "a session"),
        e.TasksSubmitted(5, n[0], "a", (value,), options, session),
        lease(n[0]),
        e.TaskReleased(n[0], Cause.NOT_BEGUN),
        lease(n[0], 2),
        e.TaskCrashed(8, n[0], "signal 9", final=False),
        lease(n[0], 3),
        e.TaskLost(9, n[0], "silent", final=False),
        lease(n[0], 4),
        e.TaskRaised(10, n[0], failure, 11),
        e.TaskDue(n[0]),
        lease(n[0], 5),
        e.TimeLimitReached(12, n[0], None),
        e.TaskRetried(13, n[0]),
        submit(n[1], due_at=99),
        submit(n[2], inputs=(n[0],)),
        lease(n[0], 6),
        e.TasksSucceeded(14, (n[0],), (value,)),
        e.InputsReady(n[2]),
        e.LateAnswer(n[0]),
        e.ResultsDelivered((n[0],)),
        e.DeliveryUndone(n[0]),
        e.DeliveryAcknowledged(n[0]),
        e.TaskCancelled(15, n[1], "not wanted"),
        submit(n[3]),
        e.TaskFailed(16, n[3], "no input"),
        e.ResultsDelivered((n[3],)),
        e.TasksForgotten((n[3],)),
        e.TasksSubmitted(16, n[4], "b", (value, other), options, session),
        e.TasksLeased(16, (n[5], n[4]), process, (1, 2)),
        e.TasksSucceeded(16, (n[4], n[5]), (value, other)),
        e.ResultsDelivered((n[5], n[4]), session),
        e.TasksForgotten((n[4], n[5])),
        e.DataStored((("x", value), ("y", Payload("plain", (Block(b"a large value"),))))),
        e.DataDeleted("x"),
        e.ProcessUnregistered(process),
        e.ProcessRegistered(17, ProcessId(901), Kind.PLAIN, None, ""),
        e.ProcessLost(18, ProcessId(901), "silent"),
        e.NodeUnregistered(node),
        e.SessionOpened(19, SessionId(901), "another"),
        e.SessionEnded(SessionId(901)),
        e.Terminated(20),
    ]


def keep(version: str) -> None:
    """Make a journal, and keep it."""
    path = KEPT / version / "journal"
    write(path, life(1, steps=100))
    compact(path)
    write(path, [[event] for event in one_of_each()])
    (path / "lock").unlink()
    lines = [json.dumps(line) for line in export(Folder(path))]
    (KEPT / version / "exported.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    keep(sys.argv[1])
