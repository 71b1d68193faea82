"""The files stay short, while commits go on."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pyrotask.core import events as e
from pyrotask.core.model import DEFAULT_OPTIONS, PLAIN, PUBLIC, Payload, TaskNumber
from pyrotask.journal import FileJournal, open_journal
from pyrotask.journal.compaction import HELPER, MOST_LOGS, OVERDUE, Compaction, is_overdue
from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold

VALUE = Payload(PLAIN, (b"x" * 100,))
DUE_BYTES = 20_000
WAIT_S = 60.0


def whole_life(number: int) -> list[e.Event]:
    """A task that comes and goes."""
    task = TaskNumber(number)
    return [
        e.TasksSubmitted(number, task, "a", (VALUE,), DEFAULT_OPTIONS, PUBLIC),
        e.TasksLeased(number, (task,), None, (1,)),
        e.TasksSucceeded(number, (task,), (VALUE,)),
        e.ResultsDelivered((task,)),
        e.TasksForgotten((task,)),
    ]


def fill(journal: FileJournal, start: int, tasks: int, each_durable: bool = True) -> int:
    for number in range(start, start + tasks):
        ticket = journal.append(whole_life(number))
        if each_durable:
            journal.wait(ticket)
    journal.wait(journal.newest)
    return start + tasks


def until_compacted(journal: FileJournal, start: int, caplog: pytest.LogCaptureFixture) -> int:
    """Go on until an image has taken the place of the first log."""
    folder = Folder(journal.path)
    first = folder.log_from(1)
    tried = threading.Event()
    for _ in range(3000):
        start = fill(journal, start, 50)
        if not first.exists():
            return start
        assert "could not be compacted" not in caplog.text
        tried.wait(0.1)  # gives the helper time; the loop is what waits
    pytest.fail("it was never compacted")


def test_a_long_log_is_replaced_by_an_image_while_commits_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = open_journal(tmp_path / "journal", due_bytes=DUE_BYTES).journal
    tasks = until_compacted(journal, 0, caplog)
    journal.close()
    folded = fold(Folder(tmp_path / "journal"))

    assert folded.image_position > 0
    assert folded.position == 5 * tasks
    assert folded.state.next_task == tasks
    assert not folded.state.tasks


def test_an_image_is_not_due_before_the_log_is_as_long_as_the_last_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.image_at(1).write_bytes(bytes(1000))
    compaction = Compaction(folder, lambda: None, due_bytes=10)

    assert not compaction.is_due(999)
    assert compaction.is_due(1000)


def test_closing_does_not_wait_for_an_image(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal", due_bytes=1).journal
    tasks = fill(journal, 0, 20)
    journal.close()

    assert fold(Folder(tmp_path / "journal")).state.next_task == tasks
    assert not list((tmp_path / "journal").glob("*.unfinished"))


def test_a_helper_that_fails_is_reported_and_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Folder(tmp_path / "nothing here")
    ended = threading.Event()
    compaction = Compaction(folder, ended.set)
    with caplog.at_level(logging.ERROR, "pyrotask.journal"):
        compaction.start(7)
        assert ended.wait(WAIT_S)
        compaction.collect()

    assert "could not be compacted" in caplog.text
    assert "there is no journal" in caplog.text
    assert not compaction.is_running


def test_a_helper_that_fails_again_waits_longer_and_says_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    compaction = Compaction(Folder(tmp_path / "nothing here"), ended.set, due_bytes=10)
    due_at = []
    for _ in range(3):
        ended.clear()
        compaction.start(7)
        assert ended.wait(WAIT_S)
        compaction.collect()
        due_at.append(next(size for size in (10, 20, 40, 80) if compaction.is_due(size)))

    assert due_at == [10, 20, 40]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_brokers_of_short_lives_do_not_make_a_journal_longer_and_longer(tmp_path: Path) -> None:
    folder, tasks, sizes = Folder(tmp_path / "journal"), 0, []
    for _ in range(30):
        journal = open_journal(folder.path, due_bytes=5_000).journal
        journal.append([event for number in range(20) for event in whole_life(tasks + number)])
        tasks += 20
        journal.close()  # no helper has the time to make an image
        sizes.append(folder.size())
    folded = fold(folder)

    assert max(sizes) < (OVERDUE + 4) * 5_000 + 8192
    assert folded.position == 5 * tasks
    assert folded.state.next_task == tasks


def test_runs_that_did_next_to_nothing_leave_no_thousands_of_files(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for number in range(MOST_LOGS):
        folder.log_from(number + 1).touch()
    assert not is_overdue(folder)
    folder.log_from(MOST_LOGS + 1).touch()
    assert is_overdue(folder)


KILLED_HELPER = """
import os, sys
from pathlib import Path
folder, position = Path(sys.argv[1]), int(sys.argv[2])
folder.joinpath(f"{position:020d}.unfinished").write_bytes(bytes(1000))
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(os.name != "posix", reason="nobody is killed that way here")
def test_a_helper_that_was_killed_leaves_nothing_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "killed_helper.py").write_text(KILLED_HELPER)
    monkeypatch.setattr("pyrotask.journal.compaction.HELPER", "killed_helper")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder = Folder(tmp_path / "journal")
    folder.path.mkdir()
    ended = threading.Event()
    compaction = Compaction(folder, ended.set)
    compaction.start(7)
    assert ended.wait(WAIT_S)
    compaction.stop()

    assert list(folder.path.iterdir()) == []


def test_the_size_is_known_without_asking_the_disk(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal").journal
    fill(journal, 0, 100)
    known = journal.size
    for file in (tmp_path / "journal").glob("*.log"):
        file.unlink()

    assert journal.size == known > 100 * 2 * 100  # each task's parameters and its value
    journal.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there is nothing here to block it with")
def test_a_helper_does_not_outlive_its_broker(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mark")  # reading it takes for ever
    command = [sys.executable, "-m", HELPER, str(tmp_path), "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as helper:
        assert helper.stdin is not None
        helper.stdin.close()  # as the system does when the broker dies

        assert helper.wait(WAIT_S) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_million_tasks_that_came_and_went_leave_less_than_ten_megabytes(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal").journal
    fill(journal, 0, 1_000_000, each_durable=False)
    start = 1_000_000
    settled = threading.Event()
    for _ in range(3000):
        if journal.size < 10 * 10**6:
            break
        settled.wait(0.1)
        start = fill(journal, start, 1)
    journal.close()

    assert journal.size < 10 * 10**6
    assert fold(Folder(tmp_path / "journal")).state.next_task == start
