"""When what is durable: each policy does what its text says."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from pyrotask.core import events as e
from pyrotask.journal import FileJournal, Policy, open_journal
from pyrotask.journal.mark import read_mark

EVENT = e.DataStored(())
WAIT_S = 60.0


def on_disk(journal: FileJournal) -> int:
    mark = read_mark(journal.path / "mark")
    assert mark is not None
    return mark.position


def test_always_means_on_disk_before_it_is_durable(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal", Policy.ALWAYS).journal
    for _ in range(20):
        ticket = journal.append([EVENT, EVENT])
        journal.wait(ticket)
        assert on_disk(journal) >= ticket
    journal.close()


def test_interval_means_on_disk_a_little_later(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal", Policy.INTERVAL, interval_s=0.01).journal
    for _ in range(3):
        ticket = journal.append([EVENT])
        journal.wait(ticket)
        looked = threading.Event()
        while on_disk(journal) < ticket:  # nobody is told, so look
            looked.wait(0.005)
    journal.close()


def test_never_means_on_disk_when_it_is_closed(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal", Policy.NEVER).journal
    ticket = journal.append([EVENT])
    journal.wait(ticket)
    before = on_disk(journal)
    journal.close()

    assert (before, on_disk(journal)) == (0, ticket)


@pytest.mark.parametrize("policy", Policy)
def test_the_start_of_a_run_is_on_disk_before_it_is_durable(policy: Policy, tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal", policy).journal
    ticket = journal.append([e.BrokerStarted(1, journal.lineage)])
    journal.wait(ticket)
    marked = on_disk(journal)
    journal.close()

    assert marked == ticket


@pytest.mark.parametrize("policy", Policy)
def test_every_policy_says_what_can_be_lost(policy: Policy) -> None:
    assert policy.can_lose


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no such signals here")
def test_a_signal_handler_may_wait_in_the_middle_of_a_wait(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal").journal
    handled: list[int] = []

    def handle(*_: object) -> None:
        journal.wait(journal.newest)
        handled.append(journal.newest)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        while len(handled) < 50:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)  # once: on a slow disk they would pile up
            journal.wait(journal.append([EVENT]))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    journal.close()
