"""Whose answer is it? The bookkeeping of a session, without a broker."""

from __future__ import annotations

from pyrotask.client.future import TaskFuture
from pyrotask.client.ledger import Delivery, Ledger


def future(key: str | None = None) -> TaskFuture:
    return TaskFuture("a", key)


def delivery(number: int, task: int) -> Delivery:
    return Delivery(number, task, "a", ["ended", "lost", ""])


def submitted(ledger: Ledger, *numbers: int, key: str | None = None) -> list[TaskFuture]:
    futures = [future(key) for _ in numbers]
    ledger.sending()
    assert ledger.numbered(futures, numbers) == []
    ledger.sent()
    return futures


def test_an_answer_goes_to_the_future_of_its_task() -> None:
    ledger = Ledger()
    one, two = submitted(ledger, 10, 11)
    assert ledger.arrived([delivery(1, 11), delivery(2, 10)]) == [
        (two, delivery(1, 11)),
        (one, delivery(2, 10)),
    ]
    assert (ledger.taken_over, ledger.received) == (2, 2)
    assert not ledger.waiting


def test_an_answer_that_comes_twice_counts_once() -> None:
    ledger = Ledger()
    submitted(ledger, 10)
    assert len(ledger.arrived([delivery(1, 10)])) == 1
    assert ledger.arrived([delivery(1, 10)]) == []
    assert ledger.left == 0


def test_an_answer_may_come_before_the_number_of_its_task() -> None:
    ledger = Ledger()
    early = future()
    ledger.sending()
    assert ledger.arrived([delivery(1, 10)]) == []
    assert ledger.taken_over == 0
    assert ledger.read() is None  # it may be somebody's
    assert ledger.numbered([early], [10]) == [(early, delivery(1, 10))]
    assert ledger.taken_over == 1


def test_what_belongs_to_nobody_is_for_readers() -> None:
    ledger = Ledger()
    ledger.sending()
    ledger.arrived([delivery(1, 10), delivery(2, 11)])
    ledger.numbered([future()], [12])
    ledger.sent()
    assert ledger.read() == delivery(1, 10)
    assert ledger.read() == delivery(2, 11)
    assert ledger.read() is None


def test_what_a_reader_has_is_taken_over_when_it_says_so() -> None:
    ledger = Ledger()
    ledger.arrived([delivery(1, 10), delivery(2, 11)])
    ledger.read()
    assert ledger.taken_over == 0
    ledger.taken_by_readers()
    assert ledger.taken_over == 1


def test_an_answer_of_a_reader_holds_back_later_ones_only_at_the_broker() -> None:
    ledger = Ledger()
    (mine,) = submitted(ledger, 12)
    ledger.arrived([delivery(1, 10)])
    assert ledger.arrived([delivery(2, 12)]) == [(mine, delivery(2, 12))]
    assert (ledger.taken_over, ledger.received) == (0, 2)


def test_a_keyed_answer_of_an_earlier_life_is_claimed_by_a_submit_and_may_come_again() -> None:
    ledger = Ledger()
    ledger.arrived([delivery(1, 10)])
    again = future("k")
    ledger.sending()
    assert ledger.numbered([again], [10]) == [(again, delivery(1, 10))]
    ledger.sent()
    assert ledger.arrived([delivery(2, 10)]) == []
    assert (ledger.left, ledger.taken_over) == (0, 2)


def test_a_third_submit_of_the_key_gets_the_answer_that_comes_again() -> None:
    ledger = Ledger()
    ledger.arrived([delivery(1, 10)])
    ledger.numbered([future("k")], [10])
    (third,) = submitted(ledger, 10, key="k")
    assert ledger.arrived([delivery(2, 10)]) == [(third, delivery(2, 10))]


def test_what_comes_again_may_be_for_a_submit_that_is_under_way() -> None:
    ledger = Ledger()
    ledger.arrived([delivery(1, 10)])
    ledger.numbered([future("k")], [10])
    third = future("k")
    ledger.sending()
    assert ledger.arrived([delivery(2, 10)]) == []
    assert ledger.numbered([third], [10]) == [(third, delivery(2, 10))]
    ledger.sent()
    assert ledger.left == 0


def test_what_comes_twice_during_a_submit_is_settled_once_and_leaves_nothing() -> None:
    ledger = Ledger()
    ledger.arrived([delivery(1, 10)])
    ledger.numbered([future("k")], [10])
    third = future("k")
    ledger.sending()
    ledger.arrived([delivery(2, 10), delivery(3, 10)])
    assert [one for one, _ in ledger.numbered([third], [10])] == [third]
    ledger.sent()
    assert (ledger.left, ledger.taken_over) == (0, 3)


def test_what_comes_again_during_a_submit_of_others_is_for_nobody() -> None:
    ledger = Ledger()
    ledger.arrived([delivery(1, 10)])
    ledger.numbered([future("k")], [10])
    ledger.sending()
    ledger.arrived([delivery(2, 10)])
    ledger.numbered([future()], [11])
    ledger.sent()
    assert (ledger.left, ledger.taken_over) == (0, 2)


def test_a_forgotten_task_has_no_answer_also_if_it_was_on_its_way() -> None:
    ledger = Ledger()
    submitted(ledger, 10, key="k")
    assert ledger.forgotten([10, 99]) == 1
    assert ledger.arrived([delivery(1, 10)]) == []
    assert ledger.left == 0


def test_at_the_end_it_knows_who_waits_in_vain() -> None:
    ledger = Ledger()
    futures = submitted(ledger, 10, 11)
    assert ledger.dropped() == futures
    assert not ledger.waiting
