"""A broker killed at any moment: what it had acknowledged is there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyrotask.journal import Policy
from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold, prove_blocks
from pyrotask.journal.spares import SMALLEST_BYTES

LABELS = 7
MOST_FILES = 50

WRITER = """
import os, sys, threading
from pyrotask.core import events as e
from pyrotask.core.model import Payload
from pyrotask.journal import Policy, open_journal

nbytes, file_bytes = int(sys.argv[3]), int(sys.argv[4])
opened = open_journal(sys.argv[1], Policy(sys.argv[2]), due_bytes=30_000, file_bytes=file_bytes)
journal, state = opened.journal, opened.state
lock = threading.Lock()

def stored(number):
    size = nbytes if number % 3 else 0  # most are large values, in files of their own
    value = Payload("plain", ((b"%d" % number).ljust(size),)).in_blocks()
    event = e.DataStored(((str(number % 7), value),))
    state.apply(event)  # so it holds the large values that are needed
    return event

def work():
    while True:
        with lock:
            first = journal.newest + 1
            size = first % 5 + 1
            ticket = journal.append([stored(first + k) for k in range(size)])
        journal.wait(ticket)
        os.write(1, b"%d\\n" % ticket)

for _ in range(4):
    threading.Thread(target=work).start()
"""
ROUNDS_S = 8.0


def write_until_killed(
    path: Path, policy: Policy, after_s: float, *, nbytes: int = 5_000, file_bytes: int = 100_000
) -> int:
    """Have a journal written, kill the writer, and return the last ticket it told us of."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path, policy.value, str(nbytes), str(file_bytes)],
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        told = writer.stdout.readline()  # it is at work
        time.sleep(after_s)  # the moment to die is drawn, not waited for
        writer.kill()
        told += writer.stdout.read()
    return max(map(int, told.decode().rpartition("\n")[0].split()))


def check(path: Path, acknowledged: int) -> None:
    """Each label has the number of the last event that stored it, and the last are there."""
    folder = Folder(path)
    folded = fold(folder)
    prove_blocks(folder, folded)
    stored = sorted(int(value.read()[0]) for value in folded.state.data.values())

    assert folded.position >= acknowledged
    first = max(1, folded.position - LABELS + 1)  # it may have been killed before it came that far
    assert stored == list(range(first, folded.position + 1))
    assert len(folder.blocks()) < MOST_FILES  # those of values that nobody needs go


@pytest.mark.parametrize("policy", Policy)
def test_nothing_acknowledged_is_lost_by_a_kill(policy: Policy, tmp_path: Path) -> None:
    check(tmp_path / "journal", write_until_killed(tmp_path / "journal", policy, after_s=0.05))


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_many_kills(tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    drawn = random.Random(seed)
    print(f"seed {seed}")
    until = time.monotonic() + ROUNDS_S
    rounds = 0
    while time.monotonic() < until:
        path = tmp_path / str(rounds % 3)  # so each journal lives on after its kills
        policy = drawn.choice(list(Policy))
        check(path, write_until_killed(path, policy, after_s=drawn.random() * 0.3))
        rounds += 1

    assert rounds > 3


@pytest.mark.slow
@pytest.mark.parametrize("policy", Policy)
def test_nothing_acknowledged_is_lost_by_kills_while_files_are_written_over(
    policy: Policy, tmp_path: Path
) -> None:
    for _ in range(4):
        acknowledged = write_until_killed(
            tmp_path, policy, 0.5, nbytes=SMALLEST_BYTES // 3, file_bytes=SMALLEST_BYTES
        )
        check(tmp_path, acknowledged)
