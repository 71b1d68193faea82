"""Real processes that share memory, and are killed in the middle: answers are right, and nothing is left."""

from __future__ import annotations

import gc
import random
import sys
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from pyrotask import Session
from pyrotask.arena.memfd import IS_POSSIBLE
from pyrotask.config import Settings
from tests.arena.open_segments import opened_since, segments_open
from tests.cli.commands import Running
from tests.client.serving import serving
from tests.ports import free_port
from tests.recovery.houses import Broker, working
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not IS_POSSIBLE, reason="this system has no files in memory"),
]

PATIENCE_S = 120.0
MEGABYTE = 1 << 20

TASKS = """
import zlib

def do_turn(number, checksum, data):
    '''Proves what it gets, and returns as much.'''
    assert len(data) and zlib.crc32(data) == checksum, f"task {number} got other bytes than were sent"
    data = bytearray(data)
    data.reverse()
    return number, zlib.crc32(data), data
"""

SCRIPT = """
import os, sys, zlib
from concurrent.futures import as_completed
from pyrotask import Session

with Session(sys.argv[1]) as session:
    sent = {}
    for number in range(60):
        data = bytearray(bytes([number])) * (2 << 20)
        sent[session.submit("turn", number, zlib.crc32(data), data, key=f"turn {number}")] = number
    for done in as_completed(sent):
        number, checksum, data = done.result()
        assert number == sent[done] and zlib.crc32(data) == checksum and data[-1] == number, "wrong answer"
        print(number, "right", flush=True)
print("all", flush=True)
"""


@pytest.fixture(autouse=True)
def nothing_has_a_name_in_memory() -> Iterator[None]:
    yield
    assert not list(Path("/dev/shm").glob("*pyrotask*"))


def sent(session: Session, number: int, nbytes: int, **options: Any) -> Future[Any]:
    data = bytearray(random.randbytes(64)) * (nbytes // 64)
    return session.submit("turn", number, zlib.crc32(data), data, **options)


def is_right(future: Future[Any], number: int) -> bool:
    told, checksum, data = future.result(PATIENCE_S)
    return bool(told == number and zlib.crc32(data) == checksum and len(data) > 0)


def kill_children_of(worker: Running) -> None:
    for child in psutil.Process(worker.process.pid).children():
        child.kill()


def test_workers_that_are_killed_in_the_middle_spoil_no_answer(tmp_path: Path) -> None:
    with (
        serving(Settings(max_crashes=1000)) as server,
        working(tmp_path, 2, server.address, TASKS) as worker,
        Session(server.address) as session,
    ):
        futures = {sent(session, number, 3 * MEGABYTE): number for number in range(60)}
        answered = 0
        for done in as_completed(futures, PATIENCE_S):
            assert is_right(done, futures[done])
            answered += 1
            if answered in {5, 20, 40}:
                kill_children_of(worker)
        assert answered == 60


def test_a_client_that_is_killed_leaves_nothing_and_the_next_gets_right_answers(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    gc.collect()  # what earlier tests have left to it
    before = segments_open()
    with serving() as server:
        command = (sys.executable, str(tmp_path / "script.py"), server.address)
        with working(tmp_path, 2, server.address, TASKS):
            with Running(command=command) as first:
                for _ in range(5):
                    first.line("right")
                first.process.kill()
                first.process.wait()
            with Running(command=command) as second:
                for _ in range(60):
                    second.line("right")
                second.line("all")
        # The answers stay, since they have keys. But nothing of the clients and workers is open any
        # more: only the broker's own plate.
        assert len(server.task_manager.broker.engine.machine.state.tasks) == 60
        until(lambda: len(opened_since(before)) <= 1)
    until(lambda: not opened_since(before))


def test_a_broker_that_is_killed_in_the_middle_spoils_no_answer(tmp_path: Path) -> None:
    journal, port = tmp_path / "journal", free_port()
    address = f"127.0.0.1:{port}"
    with (
        Broker(journal, port=port) as first,
        working(tmp_path, 2, address, TASKS),
        Session(address) as session,
    ):
        futures = {sent(session, number, MEGABYTE): number for number in range(40)}
        done = as_completed(futures, PATIENCE_S)
        assert all(is_right(future, futures[future]) for _, future in zip(range(5), done, strict=False))
        first.kill()
        futures |= {sent(session, number, MEGABYTE): number for number in range(40, 60)}
        with Broker(journal, port=port) as second:
            assert all(is_right(future, futures[future]) for _, future in zip(range(10), done, strict=False))
            second.kill()
        with Broker(journal, port=port):
            assert all(is_right(future, number) for future, number in futures.items())
            session.close()


def test_places_that_are_used_again_and_again_while_tasks_are_cancelled_spoil_no_answer(
    tmp_path: Path,
) -> None:
    # So small that each place is used some hundred times.
    settings = Settings(arena_bytes=16 * MEGABYTE)
    chance = random.Random(7)
    with (
        serving() as server,
        working(tmp_path, 2, server.address, TASKS),
        Session(server.address, settings=settings) as session,
    ):
        room = threading.Semaphore(12)
        futures: dict[Future[Any], int] = {}
        right = 0
        for number in range(400):
            room.acquire()
            future = sent(session, number, chance.randrange(MEGABYTE // 2, 3 * MEGABYTE))
            future.add_done_callback(lambda _: room.release())
            futures[future] = number
            if chance.random() < 0.4:
                chance.choice(list(futures)).cancel()
            for each in [each for each in futures if each.done()]:
                with suppress(CancelledError):
                    assert is_right(each, futures.pop(each))
                    right += 1
        for each, number in futures.items():
            with suppress(CancelledError):
                assert is_right(each, number)
        assert right > 50
