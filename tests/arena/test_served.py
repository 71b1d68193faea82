"""Large values of a served broker: by reference where both sides share memory, the same values anyhow."""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import Pyro5.api
import pytest

from pyrotask import Session
from pyrotask.arena import EXTENSION, SMALLEST_BYTES, Arena, Reference
from pyrotask.arena.layout import DATA_AT, PAGE_BYTES
from pyrotask.arena.memfd import IS_POSSIBLE
from pyrotask.config import Settings
from pyrotask.core.blocks import Block
from pyrotask.core.model import Payload
from pyrotask.errors import ConnectError
from pyrotask.journal.blocks import blocks_of
from pyrotask.payload import decode, encode
from pyrotask.remote.bulk_proxy import VAIN_CONNECTIONS, BulkProxy
from pyrotask.remote.server import Server
from tests.client.serving import PATIENCE_S, HandWorker, ThreadWorker, serving
from tests.waiting import until

pytestmark = pytest.mark.skipif(not IS_POSSIBLE, reason="this system has no files in memory")

LENGTH = 4 * SMALLEST_BYTES


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def shared_bytes(server: Server) -> int:
    """How much of what the broker has lies in memory of others."""
    blocks = blocks_of(server.task_manager.broker.engine.machine.state)
    return sum(block.nbytes for block in blocks if block.shared is not None)


def has_room(arena: Arena) -> bool:
    """Whether there is a place for such a value: whoever had it may be just about to drop it."""
    return arena.keep(bytes(LENGTH)) is not None


def wire(payload: Payload) -> list[Any]:
    return [payload.format, list(payload.buffers)]


def read(value: list[Any]) -> Any:
    return decode(Payload(value[0], tuple(value[1])))


# --- there and back -----------------------------------------------------------------------------


def test_arguments_go_by_reference(server: Server) -> None:
    with Session(server.address) as session, HandWorker(server.address) as worker:
        future = session.submit("reversed", bytearray(b"ab" * LENGTH))
        (task,) = worker.take()
        assert shared_bytes(server) >= 2 * LENGTH
        (argument,) = read(task[3])
        assert argument == b"ab" * LENGTH
        worker.answer(task, "done")
        assert future.result(PATIENCE_S) == "done"


def test_results_go_by_reference(server: Server) -> None:
    arena = Arena(1 << 24)
    with Session(server.address) as session, BulkProxy(server.address, arena=arena) as worker:
        process = worker.call("register_worker", None, None, "by hand", None)
        future = session.submit("make")
        (task,) = worker.call("exchange", process, [], None, 1, 60)["tasks"]
        result = [task[0], task[2], "value", wire(encode(b"r" * LENGTH, arena.keep))]
        worker.call("exchange", process, [result], None, 0, 0)
        assert future.result(PATIENCE_S) == b"r" * LENGTH


def test_a_session_in_the_brokers_own_process_shares_memory_with_its_workers(server: Server) -> None:
    broker = server.task_manager.broker
    with Session("", broker=broker) as session, HandWorker(server.address) as worker:
        future = session.submit("same", b"x" * LENGTH)
        (task,) = worker.take()
        assert shared_bytes(server) >= LENGTH
        worker.answer(task, read(task[3])[0])
        assert future.result(PATIENCE_S) == b"x" * LENGTH


def test_an_answer_lives_longer_than_the_memory_it_came_in(server: Server) -> None:
    with Session(server.address) as session, ThreadWorker(server.address, {"same": lambda x: x}):
        first = session.submit("same", bytearray(b"1" * LENGTH)).result(PATIENCE_S)
        for _ in range(5):
            session.submit("same", bytearray(b"2" * LENGTH)).result(PATIENCE_S)
        assert first == b"1" * LENGTH


def test_a_place_is_free_when_its_task_is_over(server: Server) -> None:
    settings = Settings(arena_bytes=DATA_AT + LENGTH + PAGE_BYTES)
    with (
        Session(server.address, settings=settings) as session,
        HandWorker(server.address) as worker,
    ):
        for letter in (b"a", b"b", b"c"):
            future = session.submit("length", letter * LENGTH)
            (task,) = worker.take()
            assert shared_bytes(server) > 0
            worker.answer(task, letter)
            assert future.result(PATIENCE_S) == letter
            until(lambda: has_room(session._arena))


def test_what_has_no_room_goes_over_the_connection(server: Server) -> None:
    settings = Settings(arena_bytes=DATA_AT + LENGTH + PAGE_BYTES)
    with (
        Session(server.address, settings=settings) as session,
        ThreadWorker(server.address, {"same": lambda x: x}),
    ):
        sent = [bytes([number]) * LENGTH for number in range(5)]
        futures = [session.submit("same", data) for data in sent]
        assert [future.result(PATIENCE_S) for future in futures] == sent


@pytest.mark.parametrize("whose", ["the broker's", "the client's"])
def test_nothing_is_shared_if_either_side_does_not_want_to(whose: str) -> None:
    off = Settings(arena_bytes=0)
    at_broker, at_client = (off, Settings()) if whose == "the broker's" else (Settings(), off)
    with (
        serving(at_broker) as server,
        Session(server.address, settings=at_client) as session,
        HandWorker(server.address) as worker,
    ):
        future = session.submit("same", b"x" * LENGTH)
        (task,) = worker.take()
        assert shared_bytes(server) == 0
        worker.answer(task, read(task[3])[0])
        assert future.result(PATIENCE_S) == b"x" * LENGTH


def test_a_plain_proxy_reads_what_was_shared(server: Server) -> None:
    with Session(server.address) as session, Pyro5.api.Proxy(server.uri) as proxy:
        session.store("large", session.encode("x" * LENGTH))
        assert session.flush(PATIENCE_S)
        assert shared_bytes(server) >= LENGTH
        assert proxy.retrieveData("large") == "x" * LENGTH


def test_with_a_journal_arguments_and_results_go_by_reference_as_well(tmp_path: Path) -> None:
    with (
        serving_with_journal(tmp_path) as server,
        Session(server.address) as session,
        HandWorker(server.address) as worker,
    ):
        future = session.submit("same", b"x" * LENGTH)
        (task,) = worker.take()
        assert shared_bytes(server) >= LENGTH
        worker.answer(task, read(task[3])[0])
        assert future.result(PATIENCE_S) == b"x" * LENGTH


def test_with_a_journal_what_a_client_has_left_behind_is_on_the_disk_only(tmp_path: Path) -> None:
    with serving_with_journal(tmp_path) as server:
        with Session(server.address) as session:
            session.store("large", session.encode(b"y" * LENGTH))
            assert session.flush(PATIENCE_S)
            assert shared_bytes(server) > 0
        until(lambda: in_memory(server) == 0)
        with BulkProxy(server.address) as proxy:
            assert read(proxy.call("retrieve_data", "large")) == b"y" * LENGTH


def in_memory(server: Server) -> int:
    """How many large values the broker need not read from a disk."""
    blocks = blocks_of(server.task_manager.broker.engine.machine.state)
    return sum(block.is_in_memory for block in blocks)


def serving_with_journal(tmp_path: Path) -> Server:
    return Server(label="arena", journal=tmp_path / "journal", name_server="off", connection_file=False)


# --- who leaves -----------------------------------------------------------------------------------


def test_what_a_client_has_left_behind_is_in_the_brokers_own_memory(server: Server) -> None:
    with Session(server.address, "friday") as session:
        session.submit("same", b"x" * LENGTH)
        assert session.flush(PATIENCE_S)
        session.close()
    until(lambda: shared_bytes(server) == 0 or not shared_references(server))
    with HandWorker(server.address) as worker:
        (task,) = worker.take()
        assert read(task[3]) == (b"x" * LENGTH,)


def shared_references(server: Server) -> list[object]:
    blocks = blocks_of(server.task_manager.broker.engine.machine.state)
    shared = [block.shared for block in blocks if block.shared is not None]
    return [each.reference for each in shared if each.reference is not None]


def test_another_run_of_the_broker_is_given_the_same_values(tmp_path: Path) -> None:
    with serving_with_journal(tmp_path) as first:
        port = first.port
        session = Session(first.address)
        future = session.submit("same", b"x" * LENGTH)
        assert session.flush(PATIENCE_S)
    waiting = session.submit("same", b"y" * LENGTH)
    with (
        Server(
            label="arena", port=port, journal=tmp_path / "journal", name_server="off", connection_file=False
        ) as second,
        ThreadWorker(second.address, {"same": lambda x: x}),
        session,
    ):
        assert future.result(PATIENCE_S) == b"x" * LENGTH
        assert waiting.result(PATIENCE_S) == b"y" * LENGTH


def test_a_value_that_was_dropped_on_its_way_is_asked_for_again(server: Server) -> None:
    arena = Arena(DATA_AT + LENGTH + PAGE_BYTES)
    with BulkProxy(server.address, arena=arena) as writer, BulkProxy(server.address) as reader:
        writer.call("store_data", {"a": wire(encode(b"x" * LENGTH, arena.keep))})
        drop_on_its_way(writer, arena, reader)
        assert shared_bytes(server) > 0
        assert read(reader.call("retrieve_data", "a")) == b"y" * LENGTH


def test_who_can_never_read_what_is_referred_to_is_sent_bytes(server: Server) -> None:
    arena = Arena(DATA_AT + LENGTH + PAGE_BYTES)
    with BulkProxy(server.address, arena=arena) as writer, BulkProxy(server.address) as reader:
        writer.call("store_data", {"a": wire(encode(b"x" * LENGTH, arena.keep))})
        for _ in range(VAIN_CONNECTIONS):
            drop_on_its_way(writer, arena, reader)
        _, (buffer,) = reader.call("retrieve_data", "a")
        assert shared_bytes(server) > 0
        assert type(buffer) is bytes


def drop_on_its_way(writer: BulkProxy, arena: Arena, reader: BulkProxy) -> None:
    """What the reader asks for is replaced before it reads it: its connection breaks, and it gets another."""
    reader.send(("retrieve_data", ("a",)))
    select.select([reader.fileno()], [], [], PATIENCE_S)
    writer.call("delete_data", "a")
    until(lambda: has_room(arena))
    writer.call("store_data", {"a": wire(encode(b"y" * LENGTH, arena.keep))})
    with pytest.raises(ConnectError, match="dropped while it was on its way"):
        reader.receive("retrieve_data", PATIENCE_S)
    reader.reconnect(PATIENCE_S)


# --- what is refused ------------------------------------------------------------------------------


def reference(**changes: Any) -> msgpack.ExtType:
    made = Reference(b"?" * 16, 3, 0, 77, DATA_AT, PAGE_BYTES)._replace(**changes)
    return msgpack.ExtType(EXTENSION, made.pack())


def test_a_reference_to_memory_that_was_not_shared_is_refused(server: Server) -> None:
    with BulkProxy(server.address) as proxy:
        with pytest.raises(ValueError, match="not open here"):
            proxy.call("store_data", {"a": ["pickle", [reference()]]})
        assert proxy.call("status")


def test_a_message_refers_to_no_more_bytes_than_a_message_may_have(server: Server) -> None:
    with (
        BulkProxy(server.address) as proxy,
        pytest.raises(ValueError, match="too large: it refers to more than"),
    ):
        proxy.call("store_data", {"a": ["pickle", [reference(nbytes=1 << 31)]]})


def test_a_reference_is_a_buffer_and_nothing_else(server: Server) -> None:
    arena = Arena(1 << 24)
    with BulkProxy(server.address, arena=arena) as proxy:
        block = arena.keep(b"x" * LENGTH)
        assert isinstance(block, Block)
        for call, argument in (("retrieve_data", block), ("hello", block), ("store_data", block)):
            with pytest.raises((TypeError, ValueError)):
                proxy.call(call, argument)


def test_a_plain_proxy_cannot_store_a_reference(server: Server) -> None:
    arena = Arena(1 << 24)
    with BulkProxy(server.address, arena=arena) as own, Pyro5.api.Proxy(server.uri) as proxy:
        block = arena.keep(b"x" * LENGTH)
        assert isinstance(block, Block)
        own.call("store_data", {"a": ["pickle", [block]]})
        assert block.shared is not None
        assert block.shared.reference is not None
        proxy._pyroSerializer = "msgpack"
        with pytest.raises((TypeError, ValueError)):
            proxy.storeData(b=msgpack.ExtType(EXTENSION, block.shared.reference.pack()))


def test_share_refuses_what_is_no_segment(server: Server) -> None:
    with BulkProxy(server.address) as proxy:
        assert proxy.call("share", 1, 0, b"?" * 16) is False
        with pytest.raises(TypeError, match="identity must be bytes"):
            proxy.call("share", 1, 0, "text")
        with pytest.raises(TypeError, match="process"):
            proxy.call("share", -1, 0, b"?" * 16)
