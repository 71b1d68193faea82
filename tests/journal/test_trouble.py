"""A full disk, and one that fails: nobody is answered wrongly.

All are real. The full one is a small file system in memory; the failing ones are a limit that the
system sets to the size of a file, and a descriptor that it cannot sync.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import subprocess
import sys
from pathlib import Path

import pytest

from pyrotask import TaskManager
from pyrotask.config import Settings
from pyrotask.errors import BrokerBroken
from pyrotask.journal import open_journal

STORY = """
import logging, resource, sys, threading
from pathlib import Path
from pyrotask.core import events as e
from pyrotask.core.blocks import Block
from pyrotask.core.model import Payload
from pyrotask.errors import BrokerBroken
from pyrotask.journal import Policy, open_journal

WAIT_S = 60.0
folder = Path(sys.argv[1])
policy = Policy(sys.argv[2])
buffer_of = {"small": bytes, "large": lambda size: Block(bytes(size))}[sys.argv[3]]

class Told(logging.Handler):
    def __init__(self):
        super().__init__()
        self.event = threading.Event()
    def emit(self, record):
        self.event.set()

told = Told()
logging.getLogger("pyrotask.journal").addHandler(told)

def stored(number, size):
    return [e.DataStored(((str(number), Payload("plain", (buffer_of(size),))),))]

def reopened():
    opened = open_journal(folder / "journal", policy, reserve_bytes=0)
    opened.journal.close()
    return opened.state
"""

FILL = """
filler = folder / "filler"
filler.write_bytes(bytes(5_000_000))
journal = open_journal(folder / "journal", policy, reserve_bytes=1_000_000).journal
assert journal.has_room
durable = past_reserve = 0
while True:
    ticket = journal.append(stored(durable, 10_000))
    is_durable = threading.Event()
    journal.on_durable(ticket, is_durable.set)
    while not is_durable.is_set() and not told.event.is_set():
        is_durable.wait(0.01)
    if not is_durable.is_set():
        break
    durable += 1
    past_reserve += not journal.has_room
"""

FULL = {
    "the_reserve_takes_on_what_the_full_disk_does_not": """
assert durable > 100
assert past_reserve > 10
assert not journal.has_room
filler.unlink()
journal.close()
""",
    "what_does_not_fit_is_answered_when_there_is_room": """
more = journal.append(stored("more", 10_000))
filler.unlink()
journal.wait(more)
assert is_durable.is_set()
journal.wait(journal.append(stored("after", 10)))
while not journal.has_room:  # it looks by itself, again and again
    told.event.clear()
    told.event.wait(0.01)
journal.close()
assert list(reopened().data) == [*map(str, range(durable + 1)), "more", "after"]
""",
    "closing_on_a_full_disk_keeps_what_was_acknowledged_and_answers_nobody": """
journal.close()
assert not is_durable.is_set()
try:
    journal.wait(ticket)
except BrokerBroken:
    pass
else:
    raise AssertionError("it was acknowledged")
filler.unlink()
assert list(reopened().data)[:durable] == [*map(str, range(durable))]
""",
}

BROKER = """
from pyrotask import TaskManager
from pyrotask.config import Settings
from pyrotask.errors import QueueFull

settings = Settings(journal_policy=policy.value, journal_reserve_bytes=1_000_000)
nbytes = {"small": 3000, "large": 10_000}[sys.argv[3]]
manager = TaskManager(settings, journal=folder / "journal")
manager.addTaskRequest("first", ())
filler = folder / "filler"
filler.write_bytes(bytes(5_000_000))
tasks, refused = 1, None
while refused is None:
    try:
        manager.addTaskRequest("a", bytes(nbytes))
        tasks += 1
    except QueueFull as error:
        refused = str(error)
"""

BROKERS = {
    "a_broker_refuses_new_tasks_and_says_why": """
assert "make room there, and submit again" in refused
assert tasks > 50
""",
    "a_broker_goes_on_with_what_it_has": """
for _ in range(50):
    task_id, _, _ = manager.getAnyTask()
    manager.returnTask(task_id)
    task_id, _, _ = manager.getAnyTask()
    manager.storeResult(task_id, bytes(nbytes))
    assert manager.getAnyResult()[0] == task_id
""",
    "a_broker_takes_new_tasks_on_when_there_is_room_and_has_lost_none": """
filler.unlink()
while refused is not None:
    try:
        manager.addTaskRequest("a", bytes(nbytes))
        refused = None
    except QueueFull:
        told.event.wait(0.01)
manager.close()
with TaskManager(settings, journal=folder / "journal") as again:
    assert sum(again.numberOfTasks()[0].values()) == tasks + 1
""",
    "a_broker_refuses_one_task_that_is_larger_than_the_room_that_is_left": """
filler.unlink()
while refused is not None:
    try:
        manager.addTaskRequest("a", b"")
        refused = None
    except QueueFull:
        told.event.wait(0.01)
try:
    manager.addTaskRequest("a", bytes(6_000_000))
except QueueFull:
    pass
else:
    raise AssertionError("it was taken on")
manager.addTaskRequest("a", b"")
""",
}

FAIL = """
journal = open_journal(folder / "journal", policy).journal
calls = []
journal.on_broken(calls.append)
journal.wait(journal.append(stored(0, 10)))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, -1))
durable, broken = 1, None
while broken is None:
    try:
        journal.wait(journal.append(stored(durable, 10_000)))
        durable += 1
    except BrokerBroken as error:
        broken = error
assert told.event.wait(WAIT_S)
"""

FAILING = {
    "a_write_that_fails_breaks_the_journal_and_says_so": """
assert 5 < durable < 11
assert "cannot be written any more: OSError(27, 'File too large')" in str(broken)
assert policy is not Policy.ALWAYS or f"up to event {durable} is on disk" in str(broken)
while not calls:
    told.event.wait(0.01)
assert calls == [broken]
later = []
journal.on_broken(later.append)
assert later == [broken]
""",
    "a_broken_journal_takes_nothing_on_and_makes_nothing_durable": """
ticket = journal.newest
called = []
journal.on_durable(ticket, lambda: called.append(True))
for call in (lambda: journal.append(stored(0, 1)), lambda: journal.wait(ticket)):
    try:
        call()
    except BrokerBroken:
        pass
    else:
        raise AssertionError("it goes on")
journal.close()
assert not called
""",
    "a_broken_journal_keeps_what_was_acknowledged": """
journal.close()
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
assert list(reopened().data)[:durable] == [*map(str, range(durable))]
""",
}

POLICIES = ("always", "interval")
VALUES = ("small", "large")
"""In the log, and in files of their own."""


@functools.cache
def own_mounts() -> tuple[str, ...]:
    """The words before a command that give it mounts of its own; none: nobody lets us."""
    for words in (("unshare", "--mount"), ("unshare", "--user", "--map-root-user", "--mount")):
        try:
            trial = [*words, "mount", "-t", "tmpfs", "none", "/mnt"]
            if subprocess.run(trial, check=False, capture_output=True).returncode == 0:
                return words
        except OSError:
            pass
    return ()


def run(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


STORIES = {name: FILL + story for name, story in FULL.items()} | {
    name: BROKER + story for name, story in BROKERS.items()
}


@pytest.mark.slow
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("promise", STORIES)
def test_on_a_full_disk(promise: str, policy: str, values: str, tmp_path: Path) -> None:
    if not own_mounts():
        pytest.skip("this system does not let us mount a small disk")
    mount = 'mount -t tmpfs -o size=8m none "$0" && exec "$@"'
    script = STORY + STORIES[promise]
    story = [sys.executable, "-c", script, str(tmp_path), policy, values]
    run([*own_mounts(), "sh", "-c", mount, str(tmp_path), *story])


@pytest.mark.skipif(os.name != "posix", reason="files have no limit here")
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("promise", FAILING)
def test_on_a_failing_disk(promise: str, policy: str, values: str, tmp_path: Path) -> None:
    run([sys.executable, "-c", STORY + FAIL + FAILING[promise], str(tmp_path), policy, values])


def fail_to_sync(path: Path) -> None:
    """From now on, what this process writes to the file goes nowhere, and a sync of it fails."""
    nowhere = os.open("/dev/null", os.O_RDWR)
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if link.readlink() == path:
                os.dup2(nowhere, int(link.name))
    os.close(nowhere)


FAILED_SYNCS = {"a log": ("interval", "*.log"), "a file of large values": ("always", "*.blocks")}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which files are open")
@pytest.mark.parametrize("what", FAILED_SYNCS)
def test_a_failed_sync_stops_the_broker(what: str, tmp_path: Path) -> None:
    policy, pattern = FAILED_SYNCS[what]
    settings = Settings(journal_policy=policy, journal_interval_s=0.01)
    manager = TaskManager(settings, journal=tmp_path / "journal")
    manager.addTaskRequest("a", (bytes(10_000),))
    told: queue.SimpleQueue[BrokerBroken] = queue.SimpleQueue()
    manager.broker.engine.on_broken(told.put)
    (file,) = (tmp_path / "journal").glob(pattern)
    fail_to_sync(file)
    with contextlib.suppress(BrokerBroken):  # with the weaker policy, it is told only afterwards
        manager.addTaskRequest("a", (bytes(10_000),))

    assert "cannot be written any more: SyncFailed(22" in str(told.get(timeout=60))
    with pytest.raises(BrokerBroken, match="The broker has stopped; look after the disk"):
        manager.numberOfTasks()
    manager.close()
    with TaskManager(settings, journal=tmp_path / "journal") as again:
        assert again.numberOfTasks()[0] == {"a": 1}


NETWORK_DISK = """
import errno, os
real = os.fdatasync

def sync(descriptor):
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    if path.endswith(sys.argv[4]):
        os.fdatasync = real  # as the system does it: it tells it once
        written = os.fstat(descriptor).st_size
        os.pwrite(descriptor, bytes(written), 0)  # and forgets what it could not write
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real(descriptor)

journal = open_journal(folder / "journal", policy, interval_s=1000.0, due_bytes=int(sys.argv[5])).journal
os.fdatasync = sync
durable = 0
try:
    while not told.event.is_set():
        journal.wait(journal.append(stored(durable, 10_000)))
        durable += 1
except BrokerBroken:
    pass
assert told.event.wait(WAIT_S)
journal.close()
assert "No space left" in str(journal._waiters.broken)
if policy is Policy.ALWAYS:
    assert {label: value.read() for label, value in reopened().data.items()} == {}
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which files are open")
@pytest.mark.parametrize(
    ("policy", "values", "file", "due_bytes"),
    [("always", "large", ".blocks", 1 << 30), ("interval", "small", ".log", 1)],
)
def test_a_sync_that_fails_for_want_of_room_is_not_tried_again(
    policy: str, values: str, file: str, due_bytes: int, tmp_path: Path
) -> None:
    """As on a network file system, or a thin volume: what is full there is not told before the sync."""
    script = STORY + NETWORK_DISK
    run([sys.executable, "-c", script, str(tmp_path), policy, values, file, str(due_bytes)])


CLOSE = """
import errno, os
journal = open_journal(folder / "journal", policy).journal
journal.wait(journal.append(stored(0, 10)))
truncate, close = os.truncate, os.close

def fail(*_):
    raise OSError(errno.EIO, os.strerror(errno.EIO))

def close_and_fail(descriptor):
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    close(descriptor)
    if path.endswith(sys.argv[4]):
        fail()

broken = []
os.truncate = fail
os.close = close_and_fail
late = threading.Event()
journal._waiters.park(journal.newest + 2, lambda: None, late.set)
journal.append(stored(1, 10_000))
journal.close()
os.truncate, os.close = truncate, close
assert late.is_set()
try:
    journal.append(stored(2, 10))
except BrokerBroken as error:
    assert "cannot be written any more" in str(error)
else:
    raise AssertionError("it takes events on that nobody writes")
assert list(reopened().data) == ["0", "1"]
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which files are open")
@pytest.mark.parametrize("file", ["no file", ".blocks", ".log"])
def test_a_disk_that_fails_at_the_very_end_leaves_nobody_waiting(file: str, tmp_path: Path) -> None:
    """As a network file system does, which tells late."""
    run([sys.executable, "-c", STORY + CLOSE, str(tmp_path), "interval", "large", file])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which files are open")
def test_a_journal_in_new_folders_has_all_their_names_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[Path] = set()

    def fsync(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr("os.fsync", fsync)
    path = tmp_path / "new" / "and new" / "journal"
    open_journal(path).journal.close()
    assert synced >= {tmp_path, tmp_path / "new", tmp_path / "new" / "and new", path}


@pytest.mark.skipif(sys.platform != "linux", reason="only where there is no such command at all")
def test_where_a_drive_cannot_be_told_to_empty_its_cache_a_plain_sync_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS, on a file system of the network."""
    monkeypatch.setattr("pyrotask.journal.disk._FULL_SYNC", 51)
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", synced.append)
    open_journal(tmp_path / "journal").journal.close()
    assert synced
