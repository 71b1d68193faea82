"""A message that its sender has given up arrives at the moment at which the place is to be used again."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from typing import cast

import pytest

from pyrotask.arena import Arena, Region
from pyrotask.arena.layout import DATA_AT, PAGE_BYTES
from pyrotask.arena.memfd import IS_POSSIBLE
from tests.arena.taker import NAMED, WHERE

pytestmark = pytest.mark.skipif(not IS_POSSIBLE, reason="this system has no files in memory")

MESSAGES = 30_000
WORD = struct.Struct("=Q")


def test_what_the_broker_holds_never_changes_whoever_gave_it_up() -> None:
    arena = Arena(DATA_AT + 4 * PAGE_BYTES, smallest_bytes=1)
    arena.serve(b"the taker")
    assert arena.keep(b"so that there is a segment") is not None
    segment = arena.segment
    assert segment is not None
    with subprocess.Popen(
        [sys.executable, "-m", "tests.arena.taker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as taker:
        assert taker.stdin is not None
        assert taker.stdout is not None
        taker.stdin.write(WHERE.pack(os.getpid(), segment.descriptor, segment.identity))
        sent = 0
        while sent < MESSAGES:
            word = WORD.pack(sent + 1)
            block = arena.keep(word * (PAGE_BYTES // len(word)))
            if block is None:  # all is held
                assert taker.poll() is None, "the taker has found what it holds changed"
                continue
            sent += 1
            taker.stdin.write(NAMED.pack(cast("Region", block.shared).reference.pack(), word))
            for _ in range(random.choice([0, 0, 10, 60])):
                pass
            del block  # given up, while the message is on its way
        taker.stdin.close()
        taken, gone = map(int, taker.stdout.read().split())
    assert taker.returncode == 0
    assert taken + gone == MESSAGES
    assert taken > 0
