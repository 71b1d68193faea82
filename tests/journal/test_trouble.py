"""A full disk, and one that fails: nobody is answered wrongly.

Both are real, and of a process of its own: the full one is a small file system in memory, the
failing one a limit that the system sets to the size of a file.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

STORY = """
import logging, resource, sys, threading
from pathlib import Path
from pyrotask.core import events as e
from pyrotask.core.model import Payload
from pyrotask.errors import BrokerBroken
from pyrotask.journal import Policy, open_journal

WAIT_S = 60.0
folder = Path(sys.argv[1])
policy = Policy(sys.argv[2])

class Told(logging.Handler):
    def __init__(self):
        super().__init__()
        self.event = threading.Event()
    def emit(self, record):
        self.event.set()

told = Told()
logging.getLogger("pyrotask.journal").addHandler(told)

def stored(number, size):
    return [e.DataStored(((str(number), Payload("plain", (bytes(size),))),))]

def reopened():
    opened = open_journal(folder / "journal", policy, reserve_bytes=0)
    opened.journal.close()
    return opened.state
"""

FILL = """
filler = folder / "filler"
filler.write_bytes(bytes(3_000_000))
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


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("promise", FULL)
def test_on_a_full_disk(promise: str, policy: str, tmp_path: Path) -> None:
    if not own_mounts():
        pytest.skip("this system does not let us mount a small disk")
    mount = 'mount -t tmpfs -o size=6m none "$0" && exec "$@"'
    script = STORY + FILL + FULL[promise]
    run(
        [*own_mounts(), "sh", "-c", mount, str(tmp_path), sys.executable, "-c", script, str(tmp_path), policy]
    )


@pytest.mark.skipif(os.name != "posix", reason="files have no limit here")
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("promise", FAILING)
def test_on_a_failing_disk(promise: str, policy: str, tmp_path: Path) -> None:
    run([sys.executable, "-c", STORY + FAIL + FAILING[promise], str(tmp_path), policy])
