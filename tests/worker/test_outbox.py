"""Results between their task and the broker."""

from __future__ import annotations

import pytest

from pyrotask.config import MIB
from pyrotask.worker.begun import Slate
from pyrotask.worker.outbox import HOLD_NS, PORTION_BYTES, TRIES, Outbox
from pyrotask.worker.running import Result

NOW = 1_000


@pytest.fixture
def slate() -> Slate:
    return Slate()


@pytest.fixture
def outbox(slate: Slate) -> Outbox:
    return Outbox(slate, 10 * MIB)


def result(task: int, size: int = 10) -> Result:
    return [task, 1, "value", ["plain", [bytes(size)]]]


def test_results_are_sent_together_in_the_order_in_which_they_came(outbox: Outbox) -> None:
    for task in range(3):
        outbox.add(result(task), NOW)
    assert [sent[0] for sent in outbox.portion()] == [0, 1, 2]


def test_what_was_acknowledged_is_not_sent_again_and_leaves_the_slate(slate: Slate, outbox: Outbox) -> None:
    for task in range(2):
        slate.begin(task, 1, "sqrt", 0)
        slate.finish()
        outbox.add(result(task), NOW)
    outbox.acknowledged(1)
    assert outbox.held() == [[1, 1]]
    assert [begun.task for begun in slate.begun()] == [1]


class Acknowledging(bytes):
    """A buffer of a result: while its size is counted, the porter hands in what lay before."""

    outbox: Outbox | None = None

    def __len__(self) -> int:
        outbox, self.outbox = self.outbox, None
        if outbox is not None:
            outbox.acknowledged(1)
        return super().__len__()


def test_what_is_acknowledged_while_another_is_added_is_not_counted_any_more(
    slate: Slate, outbox: Outbox
) -> None:
    for task in range(2):
        slate.begin(task, 1, "sqrt", 0)
    outbox.add(result(0, PORTION_BYTES), NOW)
    buffer = Acknowledging(b"1")
    buffer.outbox = outbox
    outbox.add([1, 1, "value", ["plain", [buffer]]], NOW)
    outbox.acknowledged(1)
    outbox.add(result(2), NOW)
    assert not outbox.is_due(NOW)


def test_a_result_is_due_after_a_while(outbox: Outbox) -> None:
    outbox.add(result(0), NOW)
    outbox.add(result(1), NOW + HOLD_NS - 1)
    assert not outbox.is_due(NOW + HOLD_NS - 1)
    assert outbox.is_due(NOW + HOLD_NS)


def test_large_results_are_due_at_once_and_sent_in_portions(outbox: Outbox) -> None:
    for task in range(2):
        outbox.add(result(task, PORTION_BYTES), NOW)
    assert outbox.is_due(NOW)
    assert [sent[0] for sent in outbox.portion()] == [0]


def test_an_empty_outbox_is_never_due(outbox: Outbox) -> None:
    assert not outbox.is_due(NOW + 10 * HOLD_NS)


def test_when_a_portion_is_refused_its_results_are_sent_one_by_one(outbox: Outbox) -> None:
    for task in range(3):
        outbox.add(result(task), NOW)
    assert outbox.refused(len(outbox.portion()), "too large")
    assert [sent[0] for sent in outbox.portion()] == [0]
    outbox.acknowledged(1)
    assert [sent[0] for sent in outbox.portion()] == [1]


def test_a_result_that_is_refused_alone_becomes_an_error_of_its_task(outbox: Outbox) -> None:
    outbox.add(result(7), NOW)
    assert outbox.refused(len(outbox.portion()), "too large")
    ((task, attempt, kind, *_),) = outbox.portion()
    assert (task, attempt, kind) == (7, 1, "error")


def test_a_result_can_be_refused_after_a_broken_connection_too(outbox: Outbox) -> None:
    outbox.add(result(7), NOW)
    outbox.portion()  # the connection breaks
    assert outbox.refused(len(outbox.portion()), "too large")
    assert outbox.portion()[0][2] == "error"


def test_when_the_error_is_refused_too_nothing_can_be_done(outbox: Outbox) -> None:
    outbox.add(result(7), NOW)
    outbox.refused(len(outbox.portion()), "too large")
    assert not outbox.refused(len(outbox.portion()), "whatever it is")


def test_a_large_result_whose_sending_breaks_the_connection_again_and_again_becomes_an_error(
    outbox: Outbox,
) -> None:
    outbox.add(result(7, 2 * MIB), NOW)
    kinds = [outbox.portion()[0][2] for _ in range(TRIES + 1)]
    assert kinds == ["value"] * TRIES + ["error"]
