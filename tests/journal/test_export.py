"""A journal as readable lines."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from pyrotask.core import events as e
from pyrotask.core.model import Cause, Payload, TaskNumber
from pyrotask.journal import JournalDamaged
from pyrotask.journal.export import export, line_of
from pyrotask.journal.folder import Folder
from pyrotask.journal.repair import compact
from tests.journal.lives import life, write

COMMANDS = life(11)
EVENTS = [event for command in COMMANDS for event in command]


def test_each_event_is_a_line_in_order(tmp_path: Path) -> None:
    write(tmp_path / "journal", COMMANDS)
    lines = list(export(Folder(tmp_path / "journal")))

    assert [line["event"] for line in lines] == [type(event).__name__ for event in EVENTS]
    assert [line["position"] for line in lines] == list(range(1, len(EVENTS) + 1))


def test_an_image_comes_before_the_events_behind_it(tmp_path: Path) -> None:
    write(tmp_path / "journal", COMMANDS)
    compact(tmp_path / "journal")
    write(tmp_path / "journal", [[e.Terminated(5)]])
    *image, last = export(Folder(tmp_path / "journal"))

    assert {line["image"] for line in image} == {len(EVENTS)}
    assert {"state", "task", "session"} <= {line["record"] for line in image}
    assert last == {"position": len(EVENTS) + 1, "event": "Terminated", "at": 5}


def test_every_line_is_json(tmp_path: Path) -> None:
    write(tmp_path / "journal", COMMANDS)
    lines = list(export(Folder(tmp_path / "journal")))
    compact(tmp_path / "journal")
    lines += export(Folder(tmp_path / "journal"))

    assert [json.loads(json.dumps(line)) for line in lines] == lines


def test_fields_have_their_names_and_values_can_be_read() -> None:
    stored = e.DataStored((("x", Payload("plain", (b"\0a", b""))),))

    assert line_of(3, e.TaskReleased(TaskNumber(7), Cause.NOT_BEGUN)) == {
        "position": 3,
        "event": "TaskReleased",
        "task": 7,
        "cause": "not begun",
    }
    assert line_of(4, stored)["items"] == [
        ["x", {"format": "plain", "bytes": 2, "base64": [base64.b64encode(b"\0a").decode(), ""]}]
    ]


def test_users_values_can_be_left_out() -> None:
    stored = e.DataStored((("x", Payload("plain", (b"secret",))),))

    assert line_of(1, stored, payloads=False)["items"] == [["x", {"format": "plain", "bytes": 6}]]


def test_a_journal_that_is_compacted_meanwhile_is_told_to_its_end(tmp_path: Path) -> None:
    path, half = tmp_path / "journal", len(COMMANDS) // 2
    write(path, COMMANDS[:half])
    compact(path)
    write(path, COMMANDS[half:])
    lines = export(Folder(path))
    first = next(lines)
    compact(path)  # as the helper of its broker does, with the same image
    rest = list(lines)

    position = len([event for command in COMMANDS[:half] for event in command])
    assert first["image"] == position
    assert [line["image"] for line in rest if line.get("record") == "state"] == [len(EVENTS)]
    assert list(export(Folder(path))) == rest[-sum(line["image"] == len(EVENTS) for line in rest) :]


def test_what_is_damaged_is_damaged_and_told_only_once(tmp_path: Path) -> None:
    write(tmp_path / "journal", COMMANDS)
    compact(tmp_path / "journal")
    (image,) = Folder(tmp_path / "journal").images()
    image.path.write_bytes(image.path.read_bytes()[:-1])
    with pytest.raises(JournalDamaged):
        list(export(Folder(tmp_path / "journal")))
