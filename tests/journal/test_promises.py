"""What every journal promises: one suite for all kinds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyrotask.core import events as e
from pyrotask.core.blocks import BLOCK_BYTES
from pyrotask.core.model import Payload
from pyrotask.journal import Journal, MemoryJournal, Policy, open_journal

WAIT_S = 60.0

KINDS: dict[str, Callable[[Path], Journal]] = {
    "memory": lambda _: MemoryJournal(),
    **{
        policy.value: lambda path, policy=policy: open_journal(path, policy, recent_bytes=0).journal  # type: ignore[misc]
        for policy in Policy
    },
}


@pytest.fixture(params=list(KINDS))
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    journal = KINDS[request.param](tmp_path / "journal")
    yield journal
    journal.close()


def event(number: int = 0) -> e.Event:
    return e.DataDeleted(str(number))


def test_tickets_grow_by_the_number_of_events(journal: Journal) -> None:
    start = journal.newest
    first = journal.append([event()])
    second = journal.append([event(), event()])

    assert (first - start, second - start, journal.newest) == (1, 3, second)


def test_a_ticket_that_was_waited_for_is_durable(journal: Journal) -> None:
    ticket = journal.append([event()])
    journal.wait(ticket)
    called: list[bool] = []
    journal.on_durable(ticket, lambda: called.append(True))

    assert called == [True]


def test_a_callback_is_called_once(journal: Journal) -> None:
    calls: list[int] = []
    for number in range(50):
        journal.on_durable(journal.append([event(number)]), lambda number=number: calls.append(number))  # type: ignore[misc]
    journal.wait(journal.newest)
    journal.close()

    assert sorted(calls) == list(range(50))


def test_a_callback_that_fails_hinders_nobody(journal: Journal) -> None:
    def fail() -> None:
        raise RuntimeError("on purpose")

    ticket = journal.append([event()])
    with contextlib.suppress(RuntimeError):  # if it is durable already, this is a plain call
        journal.on_durable(ticket, fail)
    journal.wait(journal.append([event()]))


def test_what_is_durable_is_durable_up_to_there(journal: Journal) -> None:
    tickets = [journal.append([event(number)]) for number in range(100)]
    journal.wait(tickets[-1])
    late: list[int] = []
    for ticket in tickets:
        journal.on_durable(ticket, lambda ticket=ticket: late.append(ticket))  # type: ignore[misc]

    assert late == tickets


def test_many_threads_append_and_wait_at_once(journal: Journal) -> None:
    lock, done = threading.Lock(), []

    def work() -> None:
        for number in range(25):
            with lock:  # the broker's lock
                ticket = journal.append([event(number)])
            journal.wait(ticket)
            done.append(ticket)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)

    assert len(set(done)) == 200


def test_waiting_for_what_there_always_was_returns_at_once(journal: Journal) -> None:
    journal.wait(journal.newest)


def test_closing_twice_is_closing_once(journal: Journal) -> None:
    journal.append([event()])
    journal.close()
    journal.close()


def test_a_healthy_journal_never_calls_on_broken(journal: Journal) -> None:
    calls: list[object] = []
    journal.on_broken(calls.append)
    journal.wait(journal.append([event()]))
    journal.close()
    journal.on_broken(calls.append)

    assert calls == []


def test_there_is_room(journal: Journal) -> None:
    assert journal.has_room
    assert journal.room_bytes > 0


def test_a_large_value_can_be_read_before_and_after_it_is_durable(journal: Journal) -> None:
    value = Payload("plain", (b"x" * BLOCK_BYTES,)).in_blocks()
    ticket = journal.append([e.DataStored((("large", value),))])

    assert value.read() == (b"x" * BLOCK_BYTES,)
    journal.wait(ticket)
    assert value.read() == (b"x" * BLOCK_BYTES,)


def test_a_large_value_leaves_the_memory_where_the_journal_says_so(journal: Journal) -> None:
    value = Payload("plain", (b"x" * BLOCK_BYTES,)).in_blocks()
    journal.wait(journal.append([e.DataStored((("large", value),))]))

    assert value.bytes_away == (BLOCK_BYTES if journal.keeps_blocks else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_each_empty_journal_has_a_lineage_of_its_own(kind: str, tmp_path: Path) -> None:
    journals = [KINDS[kind](tmp_path / name) for name in "ab"]
    for journal in journals:
        journal.close()

    assert journals[0].lineage != journals[1].lineage
    assert all(journal.lineage for journal in journals)
