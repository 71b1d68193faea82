"""What many read lies in memory that nobody can change, and each maps it for himself."""

from __future__ import annotations

import fcntl
import mmap
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from pickle import PickleBuffer
from typing import SupportsIndex, cast

import pytest

from pyrotask import Session
from pyrotask.arena import (
    Arena,
    NoSegment,
    Offer,
    Opening,
    Reader,
    Reference,
    Sealed,
    Shelf,
    StaleReference,
    Visitor,
)
from pyrotask.arena import sealed as sealed_memory
from pyrotask.arena.layout import DATA_AT, GENERATION, SEALED_DATA_AT, generation_at
from pyrotask.arena.memfd import IS_POSSIBLE, make, make_sealed
from pyrotask.arena.sealed import MOST_IN_USE, MOST_MADE, SMALLEST_BYTES
from pyrotask.config import Settings
from pyrotask.core.blocks import Block
from pyrotask.core.model import PICKLE, Payload
from pyrotask.journal.recent import Recent
from pyrotask.payload import decode, encode
from pyrotask.remote.blocks_on_wire import pack_call
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager
from tests.arena.open_segments import opened_since, segments_open
from tests.arena.sides import Sides, reference_of
from tests.client.serving import PATIENCE_S, serving
from tests.waiting import until

pytestmark = pytest.mark.skipif(not IS_POSSIBLE, reason="this system has no files in memory")

LENGTH = SMALLEST_BYTES + 5
DATA = b"x" * LENGTH


@pytest.fixture
def sides() -> Sides:
    return Sides(2048)


def stored_by(session: Session, where: str) -> memoryview | bytes:
    """Store a large buffer for many, and get what a worker gets."""
    session.store("big", session.encode(PickleBuffer(bytearray(DATA)), for_many=True))
    with BulkProxy(where) as worker:
        until(lambda: has_data(worker))
        kind, buffers = worker.call("retrieve_data", "big")
        assert decode(Payload(kind, tuple(buffers))) == DATA
        return cast("memoryview | bytes", buffers[1])


def has_data(worker: BulkProxy) -> bool:
    try:
        worker.call("retrieve_data", "big")
    except KeyError:
        return False
    return True


# --- whose it is --------------------------------------------------------------------------------


def test_who_writes_to_what_he_has_mapped_changes_it_for_himself_only(sides: Sides) -> None:
    sealed = Sealed.make(DATA)
    block = sides.shelf.sealed_block(sealed.offer)
    mine, another = (cast("memoryview", sides.reader.fetch(reference_of(block))) for _ in range(2))
    mine[:5] = b"spoil"
    assert bytes(mine) == b"spoil" + DATA[5:]
    assert bytes(another) == DATA
    assert block.read() == DATA


def test_the_system_lets_nobody_write_to_it() -> None:
    sealed = Sealed.make(DATA)
    with pytest.raises(PermissionError):
        os.pwrite(sealed.reference.descriptor, b"!", SEALED_DATA_AT)
    with pytest.raises(PermissionError):
        mmap.mmap(sealed.reference.descriptor, LENGTH, offset=0)
    with pytest.raises(PermissionError):
        os.ftruncate(sealed.reference.descriptor, SEALED_DATA_AT)


def test_what_is_mapped_stays_when_its_maker_and_the_broker_have_let_go(sides: Sides) -> None:
    before = segments_open()
    sealed = Sealed.make(DATA)
    block = sides.shelf.sealed_block(sealed.offer)
    mine = sides.reader.fetch(reference_of(block))
    del sealed, block
    assert len(opened_since(before)) == 1
    assert bytes(mine) == DATA
    del mine
    assert not opened_since(before)


def test_the_broker_has_it_in_memory_when_its_maker_has_gone(sides: Sides) -> None:
    sealed = Sealed.make(DATA)
    block = sides.shelf.sealed_block(sealed.offer)
    del sealed
    assert block.read() == DATA
    assert bytes(sides.reader.fetch(reference_of(block))) == DATA


def test_a_piece_of_it_is_what_was_put_there(sides: Sides) -> None:
    data = bytes(range(256)) * (LENGTH // 256 + 1)
    sealed = Sealed.make(data)
    block = sides.shelf.sealed_block(sealed.offer)
    assert block.piece(1000, memoryview(bytearray(300))) == data[1000:1300]


@pytest.mark.parametrize("page_bytes", [4096, 16384, 65536])
def test_it_begins_at_a_page_of_every_system(page_bytes: int) -> None:
    assert Sealed.make(DATA).reference.offset % page_bytes == 0


class Text(bytearray):
    """As in Python's documentation of out-of-band buffers: it is made of all the memory behind its buffer."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[object, ...]:
        return Text.made, (PickleBuffer(self),)

    @staticmethod
    def made(buffer: PickleBuffer) -> Text:
        with memoryview(buffer) as view:
            return Text(cast("memoryview", view.obj))


def test_what_begins_within_a_page_is_copied_so_that_nothing_else_is_behind_it(sides: Sides) -> None:
    data, *buffers = encode(Text(DATA), sides.arena.keep).read()
    table = GENERATION.pack(1)
    descriptor, identity = make_sealed(buffers[0], DATA_AT + 1, table, generation_at(0))
    offer = Offer(os.getpid(), Reference(identity, descriptor, 0, 1, DATA_AT + 1, LENGTH))
    block = sides.shelf.sealed_block(offer)
    os.close(descriptor)
    fetched = cast("bytes", sides.reader.fetch(reference_of(block)))
    assert decode(Payload(PICKLE, (data, fetched))) == DATA


def test_what_is_on_disk_stays_in_memory_while_its_maker_has_a_connection(sides: Sides) -> None:
    sealed = Sealed.make(DATA)
    block = sides.shelf.sealed_block(sealed.offer)
    Recent().keep(block)  # as a journal does
    visitors = [Visitor(sides.shelf) for _ in range(2)]
    for visitor in visitors:
        assert visitor.show(Opening(os.getpid(), 0, b""))
    for visitor, stays in zip(visitors, [True, False], strict=True):
        visitor.leave()
        while sides.errands:
            sides.errands.pop()()
        assert block.is_in_memory is stays


# --- what an arena seals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [memoryview(DATA)[: SMALLEST_BYTES - 1], DATA], ids=["too small", "a whole pickle"]
)
def test_other_data_for_many_go_to_the_arena(sides: Sides, data: bytes | memoryview) -> None:
    block = sides.arena.keep_for_many(data)
    assert block is not None
    assert not isinstance(block.shared, Sealed)


def test_a_process_makes_only_so_many(sides: Sides) -> None:
    made = [sides.arena.keep_for_many(memoryview(DATA)) for _ in range(MOST_MADE + 1)]
    kinds = [block is not None and isinstance(block.shared, Sealed) for block in made]
    assert kinds == [True] * MOST_MADE + [False]


def test_what_is_more_than_an_arena_may_have_is_not_sealed() -> None:
    arena = Arena(DATA_AT + SMALLEST_BYTES)
    arena.serve(b"a broker")
    assert arena.keep_for_many(memoryview(bytes(2 * LENGTH))) is None


def test_nothing_is_sealed_for_a_broker_that_could_not_open_it() -> None:
    assert Arena(1 << 24).keep_for_many(memoryview(DATA)) is None


def test_a_forked_child_makes_nothing_and_does_not_wait_for_its_parents_threads(sides: Sides) -> None:
    child = os.fork()
    if not child:  # whoever begins a segment has taken the lock
        kept = sides.arena.keep_for_many(memoryview(DATA))
        os._exit(0 if kept is None and sides.arena.segment is None else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


# --- bounds, and what a client may name -----------------------------------------------------------


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """Half of all are in use."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * lowest_free, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_descriptors")
def test_who_has_too_many_descriptors_copies() -> None:
    sealed = Sealed.make(DATA)
    assert sealed_memory.mapped(sealed.reference.descriptor, sealed.reference) is None


def test_who_may_have_very_many_descriptors_leaves_most_of_them_to_the_tasks() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4 * MOST_IN_USE <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4 * MOST_IN_USE, hard))
    sealed = Sealed.make(DATA)
    descriptor = fcntl.fcntl(sealed.reference.descriptor, fcntl.F_DUPFD_CLOEXEC, MOST_IN_USE)
    assert sealed_memory.mapped(descriptor, sealed.reference) is None
    os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def one_descriptor() -> Iterator[None]:
    """All but one are in use, and it is one of the lower half."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (2 * lowest_free + 2, hard))
    used: list[int] = []
    with suppress(OSError):
        while True:
            used.append(os.dup(0))
    os.close(used.pop(0))
    yield
    for descriptor in used:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_who_has_no_descriptor_for_what_would_be_mapped_copies(
    sides: Sides, request: pytest.FixtureRequest
) -> None:
    sealed = Sealed.make(DATA)
    block = sides.shelf.sealed_block(sealed.offer)
    request.getfixturevalue("one_descriptor")
    assert bytes(sides.reader.fetch(reference_of(block))) == DATA


def test_a_broker_with_too_many_segments_asks_for_the_bytes(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyrotask.arena.shelf.MOST_SEGMENTS", 2)
    first, second = Sealed.make(DATA), Sealed.make(DATA)
    block = sides.shelf.sealed_block(first.offer)
    with pytest.raises(StaleReference, match="send the bytes"):
        sides.shelf.sealed_block(second.offer)
    del block
    assert sides.shelf.sealed_block(second.offer).read() == DATA


def test_what_is_offered_often_is_one_block_and_open_once(sides: Sides) -> None:
    sealed = Sealed.make(DATA)
    before = segments_open()
    first, *others = [sides.shelf.sealed_block(sealed.offer) for _ in range(3)]
    assert all(other is first for other in others)
    assert len(opened_since(before)) == 1


def test_memory_that_can_still_be_written_to_is_refused(sides: Sides) -> None:
    descriptor, identity = make(1 << 21)
    offer = Sealed.make(DATA).offer
    false = offer.reference._replace(descriptor=descriptor, identity=identity)
    with pytest.raises(StaleReference):
        sides.shelf.sealed_block(Offer(os.getpid(), false))
    os.close(descriptor)


@pytest.mark.parametrize(
    "change",
    [
        {"identity": b"?" * 16},
        {"nbytes": LENGTH + 1},
        {"offset": SEALED_DATA_AT + 1},
        {"generation": 7},  # each worker that copies would find out, and break its connection
    ],
    ids=str,
)
def test_an_offer_of_what_is_not_there_is_refused(sides: Sides, change: dict[str, int]) -> None:
    sealed = Sealed.make(DATA)
    false = sealed.reference._replace(**change)  # type: ignore[arg-type]
    with pytest.raises(StaleReference):
        sides.shelf.sealed_block(Offer(os.getpid(), false))


def test_a_refused_offer_leaves_nothing_open(sides: Sides) -> None:
    sealed = Sealed.make(DATA)
    before = segments_open()
    with pytest.raises(NoSegment):
        Sealed.open(Offer(os.getpid(), sealed.reference._replace(nbytes=1 << 40)))
    assert not opened_since(before)


def test_bytes_that_are_no_offer_are_refused() -> None:
    with pytest.raises(ValueError, match="a reference has"):
        Offer.unpack(b"short")


# --- at a broker ----------------------------------------------------------------------------------


def test_a_worker_maps_what_a_session_has_stored_for_many() -> None:
    with serving() as server, Session(server.address) as session:
        assert isinstance(stored_by(session, server.address), memoryview)


def test_it_is_mapped_too_if_the_session_is_in_the_brokers_own_process() -> None:
    with serving() as server, Session("", broker=server.task_manager.broker) as session:
        assert isinstance(stored_by(session, server.address), memoryview)


def test_a_client_without_an_arena_stores_the_same() -> None:
    with serving() as server, Session(server.address, settings=Settings(arena_bytes=0)) as session:
        assert stored_by(session, server.address) == DATA


def test_a_broker_without_an_arena_gets_the_bytes() -> None:
    with serving(Settings(arena_bytes=0)) as server, Session(server.address) as session:
        assert stored_by(session, server.address) == DATA


@contextmanager
def no_descriptors() -> Iterator[None]:
    """This process, and so the broker in it, can open nothing more."""
    lowest_free = os.dup(0)
    os.close(lowest_free)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_the_broker_cannot_open_is_sent_as_bytes() -> None:
    arena = Arena(1 << 24)
    with serving() as server, BulkProxy(server.address, arena=arena) as client:
        usual, big = arena.keep(DATA), arena.keep_for_many(memoryview(DATA))
        client.call("store_data", {"usual": ["pickle", [b"x", usual]]})  # it knows our arena from then on
        with no_descriptors():
            client.call("store_data", {"big": ["pickle", [b"x", big]]})
        block = block_in(server)
        assert block.shared is None
        assert block.read() == DATA


def test_many_tasks_that_have_a_value_which_the_broker_cannot_open_come_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyrotask.arena.shelf.MOST_SEGMENTS", 1)  # that is the arena
    settings = Settings(max_message_bytes=2 * LENGTH)
    with serving() as server, Session(server.address, settings=settings) as session:
        big = session.encode(PickleBuffer(bytearray(DATA)), for_many=True)
        session.store("big", big)
        assert session.flush(PATIENCE_S)
        futures = [session.submit_payload("nobody", big) for _ in range(5)]
        assert session.flush(PATIENCE_S)
        assert all(future.task is not None for future in futures)
        assert block_in(server).shared is None
        session.abort(RuntimeError("enough"))


def test_less_than_a_message_is_packed_of_a_value_that_goes_as_bytes_for_many_tasks() -> None:
    block = Block(Sealed.make(DATA))
    assert len(pack_call([block] * 2, None, 2 * LENGTH)) > 2 * LENGTH
    with pytest.raises(ValueError, match="send less at a time"):
        pack_call([block] * 3, None, 2 * LENGTH)


def test_a_value_that_many_tasks_have_is_open_once_at_the_broker() -> None:
    with serving() as server, Session(server.address) as session:
        big = session.encode(PickleBuffer(bytearray(DATA)), for_many=True)
        before = segments_open()
        for _ in range(5):
            session.submit_payload("nobody", big)
        assert session.flush(PATIENCE_S)
        assert len(opened_since(before)) <= 2  # this one, and the arena
        session.abort(RuntimeError("enough"))


@contextmanager
def durable(journal: Path, port: int = 0) -> Iterator[Server]:
    with (
        TaskManager(journal=journal) as task_manager,
        Server(task_manager, "sealed", port=port, name_server="off", connection_file=False) as server,
    ):
        yield server


def block_in(server: Server) -> Block:
    _, buffer = server.task_manager.broker.engine.machine.state.data["big"].buffers
    assert isinstance(buffer, Block)
    return buffer


def test_after_a_restart_of_the_broker_it_is_offered_again(tmp_path: Path) -> None:
    with durable(tmp_path / "journal") as server:
        session = Session(server.address, settings=Settings(reconnect_timeout_s=PATIENCE_S))
        big = session.encode(PickleBuffer(bytearray(DATA)), for_many=True)
    session.store("big", big)
    with durable(tmp_path / "journal", server.port) as server:
        assert session.flush(PATIENCE_S)
        assert isinstance(block_in(server).shared, Sealed)
        session.close()


def test_a_journal_has_it_when_the_broker_is_started_again(tmp_path: Path) -> None:
    with durable(tmp_path / "journal") as server, Session(server.address) as session:
        assert isinstance(stored_by(session, server.address), memoryview)
    with durable(tmp_path / "journal") as server:
        assert block_in(server).read() == DATA


def test_a_journal_has_a_value_that_many_tasks_have_once(tmp_path: Path) -> None:
    with durable(tmp_path / "journal") as server:
        session = Session(server.address, "many")
        big = session.encode(PickleBuffer(bytearray(DATA)), for_many=True)
        for _ in range(3):
            session.submit_payload("nobody", big)
        assert session.flush(PATIENCE_S)
        session.close()
    with durable(tmp_path / "journal") as server:
        tasks = server.task_manager.broker.engine.machine.state.tasks.values()
        blocks = [block for task in tasks for block in task.payload.buffers if isinstance(block, Block)]
        assert [block.read() == DATA for block in blocks] == [True] * 3
        assert len({(block.home, block.offset) for block in blocks}) == 1


def test_what_is_on_disk_leaves_the_memory_with_the_client_that_made_it(tmp_path: Path) -> None:
    with durable(tmp_path / "journal") as server:
        with Session(server.address) as session:
            stored_by(session, server.address)
            block = block_in(server)
            assert block.is_in_memory
        until(lambda: not block.is_in_memory)
        assert block.read() == DATA


def test_a_reader_who_only_copies_finds_the_generation_of_the_reference() -> None:
    shelf = Shelf(lambda _: None)
    assert Visitor(shelf).plate is not None
    assert shelf.plate is not None
    small = Sealed.make(b"y" * 10)  # smaller than what is mapped
    assert bytes(Reader(shelf.plate).fetch(small.reference)) == b"y" * 10
