"""Real processes that map what many read, and are killed: each sees what was stored, and nothing is left."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from pyrotask import Session
from pyrotask.arena.memfd import IS_POSSIBLE
from pyrotask.config import Settings
from pyrotask.remote.bulk_proxy import BulkProxy
from tests.arena.open_segments import opened_since, segments_open
from tests.cli.commands import Running
from tests.client.serving import serving
from tests.recovery.houses import working
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IS_POSSIBLE, reason="this system has no files in memory"),
]

PATIENCE_S = 120.0

TASKS = """
import os, zlib
from pyrotask import payload
from pyrotask.core.model import Payload
from pyrotask.remote.bulk_proxy import BulkProxy

kept = []

def fetched(broker):
    with BulkProxy(broker) as proxy:
        kind, buffers = proxy.call("retrieve_data", "big")
    return payload.decode(Payload(kind, tuple(buffers)))

def do_spoil(broker):
    '''Writes to its own, keeps it, and tells what it was, and that others do not see it.'''
    mine = fetched(broker)
    checksum = zlib.crc32(mine)
    mine[:] = bytes(len(mine))
    kept[:] = [mine]
    return checksum, zlib.crc32(fetched(broker)), isinstance(mine, memoryview)

def do_die(broker):
    kept[:] = [fetched(broker)]
    os.kill(os.getpid(), 9)
"""

SCRIPT = """
import sys, zlib
from pickle import PickleBuffer
from pyrotask import Session

data = bytearray(range(256)) * (1 << 14)
session = Session(sys.argv[1])
session.store("big", session.encode(PickleBuffer(data), for_many=True))
print(session.submit("spoil", sys.argv[1]).result()[0], "stored", flush=True)
sys.stdin.read()
"""


def is_right(told: Any, checksum: int) -> bool:
    before, after, is_mapped = told
    return bool(before == after == checksum and is_mapped)


def test_what_a_killed_client_has_stored_is_there_and_no_task_spoils_it_for_another(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    gc.collect()  # what earlier tests have left to it
    before = segments_open()
    with (
        serving(Settings(max_crashes=3)) as server,
        working(tmp_path, 2, server.address, TASKS) as worker,
    ):
        command = (sys.executable, str(tmp_path / "script.py"), server.address)
        with Running(command=command) as client:
            checksum = int(client.line("stored").split()[0])
            client.process.kill()
            client.process.wait()
        with Session(server.address) as session:
            told = [session.submit("spoil", server.address) for _ in range(6)]
            assert all(is_right(each.result(PATIENCE_S), checksum) for each in told)
            session.submit("die", server.address).exception(PATIENCE_S)
            assert is_right(session.submit("spoil", server.address).result(PATIENCE_S), checksum)
            for child in psutil.Process(worker.process.pid).children():
                child.kill()
            assert is_right(session.submit("spoil", server.address).result(PATIENCE_S), checksum)
        assert not list(Path("/dev/shm").glob("*pyrotask*"))
        with BulkProxy(server.address) as proxy:
            proxy.call("delete_data", "big")
        until(lambda: len(opened_since(before)) <= 1)  # the broker's own plate
    until(lambda: not opened_since(before))
