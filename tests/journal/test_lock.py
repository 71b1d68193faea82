"""One writer: a second one is refused, and told who the first is."""

from __future__ import annotations

import errno
import gc
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pyrotask import TaskManager
from pyrotask.core import events as e
from pyrotask.journal import JournalHeld, open_journal
from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold
from tests.journal.lives import life, write

WAIT_S = 60.0

HOLD = """
import sys, time
from pyrotask.journal import open_journal
journal = open_journal(sys.argv[1]).journal
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_broker_is_told_who_the_first_is(tmp_path: Path) -> None:
    first = open_journal(tmp_path / "journal").journal
    with pytest.raises(JournalHeld, match=f"process {os.getpid()} on {socket.gethostname()}"):
        open_journal(tmp_path / "journal")
    first.close()
    open_journal(tmp_path / "journal").journal.close()


def test_a_killed_broker_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as broker:
        assert broker.stdout is not None
        assert broker.stdout.readline() == "held\n"
        with pytest.raises(JournalHeld, match=f"process {broker.pid} "):
            open_journal(path)
        broker.kill()
    open_journal(path).journal.close()


def test_a_journal_that_its_own_thread_closes_is_held_until_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = open_journal(path).journal
    (thread,) = [one for one in threading.enumerate() if one.name == "pyrotask-journal"]
    second: list[object] = []

    def close_and_try() -> None:
        journal.close()
        try:
            second.append(open_journal(path))
        except JournalHeld as error:
            second.append(error)

    journal.on_durable(journal.append([e.DataStored(())]), close_and_try)
    thread.join()
    assert [type(one) for one in second] == [JournalHeld]
    open_journal(path).journal.close()


def test_a_manager_that_nobody_can_reach_any_more_lets_go_of_its_journal(tmp_path: Path) -> None:
    manager = TaskManager(journal=tmp_path / "journal")
    manager.addTaskRequest("a", ())
    (thread,) = [one for one in threading.enumerate() if one.name == "pyrotask-journal"]
    del manager
    gc.collect()
    thread.join(WAIT_S)
    with TaskManager(journal=tmp_path / "journal") as again:
        assert again.numberOfTasks()[0] == {"a": 1}


def test_what_was_appended_last_is_written_when_the_interpreter_ends(tmp_path: Path) -> None:
    script = """
import sys
from pyrotask.core import events as e
from pyrotask.core.model import Payload
from pyrotask.journal import open_journal

def kept_by_a_cycle():
    journal = open_journal(sys.argv[1]).journal
    itself = [journal]
    itself.append(itself)
    return journal

for number in range(100):
    journal = journal if number else kept_by_a_cycle()
    journal.append([e.DataStored(((str(number), Payload("plain", (b"",))),))])
"""
    subprocess.run([sys.executable, "-c", script, tmp_path / "journal"], check=True, timeout=WAIT_S)
    assert len(fold(Folder(tmp_path / "journal")).state.data) == 100


def test_a_journal_in_use_can_be_read(tmp_path: Path) -> None:
    commands = life(1)
    write(tmp_path / "journal", commands)
    broker = open_journal(tmp_path / "journal").journal
    position = fold(Folder(tmp_path / "journal")).position
    broker.close()

    assert position == sum(map(len, commands))


def test_a_journal_that_could_not_be_opened_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, life(1))
    mark = (path / "mark").read_bytes()
    (path / "mark").unlink()
    with pytest.raises(Exception, match="damaged"):
        open_journal(path)
    (path / "mark").write_bytes(mark)
    open_journal(path).journal.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which files are open")
def test_where_there_are_no_locks_it_says_for_which_file_and_keeps_none_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_descriptor: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OSError, match="No locks available: '.*journal/lock'"):
        open_journal(tmp_path / "journal")
    lock = tmp_path / "journal" / "lock"
    assert lock not in [link.resolve() for link in Path("/proc/self/fd").iterdir()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_keep_the_journal(tmp_path: Path) -> None:
    script = """
import os, sys
from pyrotask.journal import open_journal
journal = open_journal(sys.argv[1]).journal
child = os.fork()
if child == 0:
    os.close(1)  # nobody shall wait for our output
    sys.stdin.read()
    os._exit(0)
print("forked", flush=True)
os._exit(0)
"""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script, tmp_path / "journal"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as broker:
        assert broker.stdout is not None
        assert broker.stdout.read() == "forked\n"
        open_journal(tmp_path / "journal").journal.close()
