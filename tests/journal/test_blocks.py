"""Large values live in files of the journal, and not in memory."""

from __future__ import annotations

import gc
import queue
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrotask.core import events as e
from pyrotask.core.blocks import BLOCK_BYTES, Block
from pyrotask.core.invariants import check
from pyrotask.core.machine import Machine
from pyrotask.core.model import (
    DEFAULT_OPTIONS,
    PLAIN,
    PUBLIC,
    Delivery,
    NewTask,
    Payload,
    State,
    TaskNumber,
)
from pyrotask.core.state import DurableState
from pyrotask.errors import BrokerBroken, KeyConflict
from pyrotask.journal import FileJournal, JournalDamaged, Opened, Policy, blocks, open_journal
from pyrotask.journal.blocks import blocks_of
from pyrotask.journal.folder import Folder
from pyrotask.journal.mark import read_mark
from pyrotask.journal.recovery import fold
from pyrotask.journal.repair import compact

WAIT_S = 60.0
FILE_BYTES = 4 * BLOCK_BYTES
RESERVED = e.NumbersReserved(100, 100, 100, 100, 100, 100)


def value(number: int, nbytes: int = BLOCK_BYTES) -> Payload:
    return Payload(PLAIN, (number.to_bytes(4, "big") * (nbytes // 4),)).in_blocks()


def submitted(number: int, payload: Payload | None = None) -> e.Event:
    payload = value(number) if payload is None else payload
    return e.TasksSubmitted(number, TaskNumber(number), "a", (payload,), DEFAULT_OPTIONS, PUBLIC)


def ended(number: int) -> list[e.Event]:
    task = TaskNumber(number)
    return [e.TaskCancelled(number, task, ""), e.ResultsDelivered((task,)), e.TasksForgotten((task,))]


class Book:
    """A journal, and the state that its events have made: what a broker has."""

    def __init__(
        self,
        path: Path,
        policy: Policy = Policy.ALWAYS,
        *,
        file_bytes: int = FILE_BYTES,
        recent_bytes: int = 0,
    ) -> None:
        opened: Opened = open_journal(path, policy, file_bytes=file_bytes, recent_bytes=recent_bytes)
        self.journal: FileJournal = opened.journal
        self.state: DurableState = opened.state
        self.folder = Folder(path)

    def add(self, *events: e.Event) -> None:
        for event in events:
            self.state.apply(event)
        ticket = self.journal.append(list(events))
        del events, event
        self.journal.wait(ticket)

    def block(self, number: int) -> Block:
        (buffer,) = self.state.tasks[TaskNumber(number)].payload.buffers
        assert isinstance(buffer, Block)
        return buffer

    def files(self) -> list[int]:
        """The numbers of the files, when the journal has done all that it was asked to."""
        done = threading.Event()
        self.journal._flusher.afterwards(done.set)
        assert done.wait(WAIT_S)
        return [part.position for part in self.folder.blocks()]


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "journal")


def test_a_large_value_that_may_not_stay_has_left_the_memory_when_it_is_durable(book: Book) -> None:
    book.add(submitted(1))

    assert not book.block(1).is_in_memory
    assert book.block(1).read() == value(1).read()[0]


def test_a_large_value_can_be_read_before_it_is_on_disk(book: Book) -> None:
    payload = value(1)
    ticket = book.journal.append([submitted(1, payload)])

    assert payload.read() == value(1).read()
    book.journal.wait(ticket)


def test_a_small_value_stays_in_memory(book: Book) -> None:
    book.add(submitted(1, value(1, BLOCK_BYTES - 4)))

    assert list(blocks_of(book.state)) == []
    assert book.files() == []


def test_large_values_take_little_memory(tmp_path: Path, figure: Callable[[str], None]) -> None:
    count, most_bytes = 1000, 800
    book = Book(tmp_path / "journal", file_bytes=blocks.FILE_BYTES)
    book.add(*[submitted(number, value(number, 10_000)) for number in range(count)])
    gc.collect()
    tracemalloc.start()
    try:
        more = [submitted(count + number, value(number, 10_000)) for number in range(count)]
        book.add(*more)
        del more
        gc.collect()
        each = tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()

    figure(f"a waiting task of 10 kB takes {each:.0f} bytes")
    assert each < most_bytes


@pytest.mark.parametrize("policy", Policy)
def test_large_values_come_back(policy: Policy, tmp_path: Path) -> None:
    first = Book(tmp_path / "journal", policy)
    first.add(*[submitted(number, value(number, BLOCK_BYTES * number)) for number in range(1, 8)])
    first.journal.close()
    second = Book(tmp_path / "journal", policy)
    second.journal.close()

    assert second.state.image() == first.state.image()
    assert [second.block(n).read() for n in range(1, 8)] == [
        value(n, BLOCK_BYTES * n).read()[0] for n in range(1, 8)
    ]


def test_a_file_goes_when_nobody_needs_anything_in_it(book: Book) -> None:
    book.add(*[submitted(number) for number in range(12)])
    first, second, third = book.files()
    book.add(*ended(0), *ended(1), *ended(2))
    assert book.files() == [first, second, third]
    book.add(*ended(3))
    assert book.files() == [second, third]


def test_a_file_stays_for_an_answer_that_is_on_its_way(book: Book) -> None:
    book.add(*[submitted(number) for number in range(8)])
    first, second = book.files()
    on_its_way = book.block(2)
    book.add(*[event for number in range(4) for event in ended(number)])

    assert book.files() == [first, second]
    assert on_its_way.read() == value(2).read()[0]
    del on_its_way
    book.add(*ended(4))
    assert book.files() == [second]


def test_a_file_goes_only_when_the_end_of_its_values_is_on_disk(tmp_path: Path) -> None:
    book = Book(tmp_path / "journal", Policy.NEVER)
    book.add(*[submitted(number) for number in range(8)])
    book.add(*[event for number in range(4) for event in ended(number)])

    assert len(book.files()) == 1
    mark = read_mark(book.folder.mark)
    assert mark is not None
    assert mark.position == book.journal.newest


def test_files_that_nobody_needs_are_gone_after_the_next_start(tmp_path: Path) -> None:
    first = Book(tmp_path / "journal")
    first.add(submitted(1), *ended(1))
    first.journal.close()
    assert len(first.folder.blocks()) == 1
    second = Book(tmp_path / "journal")

    assert second.files() == []


def test_numbers_of_files_are_not_used_again(tmp_path: Path) -> None:
    first = Book(tmp_path / "journal")
    first.add(submitted(1))
    before = first.files()
    first.journal.close()
    second = Book(tmp_path / "journal")
    second.add(submitted(2))

    assert len(set(second.files()) - set(before)) == 1
    assert (second.block(1).read(), second.block(2).read()) == (value(1).read()[0], value(2).read()[0])


def test_a_commit_whose_values_never_reached_the_disk_was_never_completed(tmp_path: Path) -> None:
    book = Book(tmp_path / "journal", Policy.INTERVAL)
    book.add(submitted(1))
    book.journal.wait(book.journal.newest)
    book.journal._flusher._sync()  # the second after which the disk is asked
    mark = book.folder.mark.read_bytes()
    book.add(submitted(2))
    book.add(submitted(3))
    book.journal.close()
    book.folder.mark.write_bytes(mark)  # as a power failure leaves it: the log was written, ...
    (file,) = book.folder.blocks()
    with file.path.open("r+b") as blocks:  # ... the value was not
        blocks.seek(BLOCK_BYTES)
        blocks.write(bytes(BLOCK_BYTES))

    assert list(fold(book.folder).state.tasks) == [1]


def test_an_image_has_the_places_of_large_values_only(tmp_path: Path) -> None:
    book = Book(tmp_path / "journal")
    book.add(*[submitted(number) for number in range(20)])
    book.journal.close()
    compact(tmp_path / "journal")
    (image,) = book.folder.images()

    assert image.path.stat().st_size < BLOCK_BYTES
    assert [block.read() for block in blocks_of(fold(book.folder).state)] == [
        value(number).read()[0] for number in range(20)
    ]


# --- when they are damaged --------------------------------------------------------------------


def damage(path: Path) -> None:
    """Change the first byte of each file of large values."""
    for part in Folder(path).blocks():
        with part.path.open("r+b") as file:
            file.write(b"\xff")


def test_a_damaged_value_is_never_handed_out_and_stops_the_broker(book: Book) -> None:
    book.add(submitted(1))
    told: queue.SimpleQueue[BrokerBroken] = queue.SimpleQueue()
    book.journal.on_broken(told.put)
    damage(book.folder.path)
    with pytest.raises(JournalDamaged, match=r"4096 bytes, from byte 0 of 0*1\.blocks on.*--accept-loss"):
        book.block(1).read()

    assert "is not what was written" in str(told.get(timeout=WAIT_S))


def test_after_an_accepted_loss_tasks_without_their_parameters_are_cancelled(tmp_path: Path) -> None:
    book = Book(tmp_path / "journal")
    book.add(RESERVED, submitted(0), submitted(1))
    book.journal.close()
    damage(book.folder.path)
    compacted = compact(tmp_path / "journal", accept_loss=True)
    back = Book(tmp_path / "journal")

    assert compacted.lost_values == 1
    assert compacted.kept is not None
    assert [task.state for task in back.state.tasks.values()] == [State.CANCELLED, State.WAITING]
    assert back.block(1).read() == value(1).read()[0]
    check_that_a_broker_goes_on(back)


def test_after_an_accepted_loss_a_lost_result_counts_as_lost_with_its_worker(tmp_path: Path) -> None:
    book = Book(tmp_path / "journal")
    small = Payload(PLAIN, (b"",))
    source, needy = TaskNumber(0), TaskNumber(1)
    book.add(
        RESERVED,
        submitted(0, small),
        e.TasksLeased(1, (source,), None, (1,)),
        e.TasksSubmitted(1, needy, "a", (small,), DEFAULT_OPTIONS, PUBLIC, None, (source,)),
        e.TasksSucceeded(2, (source,), (value(0),)),
        e.InputsReady(needy),
    )
    book.journal.close()
    damage(book.folder.path)
    compact(tmp_path / "journal", accept_loss=True)
    back = Book(tmp_path / "journal")

    assert back.state.tasks[source].state is State.FAILED
    assert back.state.tasks[source].delivery is Delivery.NONE
    assert "was damaged on the disk" in str(back.state.tasks[source].detail)
    assert back.state.tasks[needy].state is State.CANCELLED
    check_that_a_broker_goes_on(back)


def test_after_an_accepted_loss_a_lost_label_is_not_there(tmp_path: Path) -> None:
    book = Book(tmp_path / "journal")
    book.add(e.DataStored((("x", value(1)), ("y", value(2)))))
    book.journal.close()
    damage(book.folder.path)
    compact(tmp_path / "journal", accept_loss=True)
    back = Book(tmp_path / "journal")

    assert {label: payload.read() for label, payload in back.state.data.items()} == {"y": value(2).read()}


def check_that_a_broker_goes_on(book: Book) -> None:
    machine = Machine(state=book.state)
    machine.start(10**18, book.journal.lineage)
    check(machine)


# --- what the core sees of it -------------------------------------------------------------------


def test_a_key_knows_its_large_value_again_wherever_that_is(tmp_path: Path) -> None:
    book = Book(tmp_path / "journal")
    machine = Machine(state=book.state)
    book.journal.append(machine.start(1, book.journal.lineage).events)
    first = machine.submit(2, "a", value(1), key="k")
    book.journal.wait(book.journal.append(first.events))
    assert not book.block(0).is_in_memory

    assert machine.submit_many(3, [NewTask("a", value(1), key="k")]).reply == (first.reply,)
    with pytest.raises(KeyConflict):
        machine.submit(4, "a", value(2), key="k")


def test_blocks_are_equal_when_their_bytes_are() -> None:
    block = Block(b"abc")

    assert block == Block(b"abc")
    assert block == b"abc"
    assert block != Block(b"abd")
    assert block != b"ab"


def test_large_buffers_become_blocks_and_small_ones_do_not() -> None:
    payload = Payload(PLAIN, (b"small", bytes(BLOCK_BYTES))).in_blocks()

    assert [type(buffer) for buffer in payload.buffers] == [bytes, Block]
    assert payload.nbytes == 5 + BLOCK_BYTES
    assert payload.bytes_away == 0
    assert payload.read() == (b"small", bytes(BLOCK_BYTES))


def test_nothing_is_kept_of_values_that_are_gone(book: Book) -> None:
    for number in range(100):
        book.add(submitted(number), *ended(number))
    gc.collect()

    assert len(book.files()) <= 2
