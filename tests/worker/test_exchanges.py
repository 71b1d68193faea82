"""Results for tasks: what is acknowledged when."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from pyrotask.config import MIB, Settings
from pyrotask.errors import TaskRaisedException, UnknownProcess
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.worker import running
from pyrotask.worker.begun import Slate
from pyrotask.worker.exchanges import MOMENT_S, Exchanges
from pyrotask.worker.outbox import Outbox
from tests.worker.nodes import PATIENCE_S, Broker


class Worker:
    """A worker without a process of its own."""

    def __init__(self, broker: Broker) -> None:
        self.proxy = BulkProxy(broker.address)
        self.number = int(self.proxy.call("register_worker", None, None, "here", ["sqrt", "large"]))
        self.slate = Slate()
        self.outbox = Outbox(self.slate, 1024 * MIB)
        self.exchanges = Exchanges(self.proxy, self.outbox)

    def compute(self, task: running.Assigned) -> None:
        self.slate.begin(task.task, task.attempt, task.tag, 0)
        handlers = {"sqrt": lambda x: x**0.5, "large": bytes}
        self.outbox.add(running.run(task, handlers), 0)
        self.slate.finish()

    def close(self) -> None:
        self.proxy.close()


@pytest.fixture
def worker(broker: Broker) -> Iterator[Worker]:
    with closing(Worker(broker)) as worker:
        yield worker


def test_a_lone_result_and_the_wait_for_the_next_task_are_one_exchange(
    broker: Broker, worker: Worker
) -> None:
    broker.manager.addTaskRequest("sqrt", (4.0,))
    (task,) = worker.exchanges.wait(worker.number, 1)
    worker.compute(task)

    with ThreadPoolExecutor(1) as master:
        answer = master.submit(broker.result)
        answer.add_done_callback(lambda _: broker.manager.addTaskRequest("sqrt", (9.0,)))
        (task,) = worker.exchanges.hand_in(worker.number, 1, patience_s=PATIENCE_S)
        assert (task.id, answer.result(), len(worker.outbox)) == ("sqrt_1", 2.0, 0)


def test_a_lone_result_is_acknowledged_although_no_other_task_comes(broker: Broker, worker: Worker) -> None:
    broker.manager.addTaskRequest("sqrt", (4.0,))
    (task,) = worker.exchanges.wait(worker.number, 1)
    worker.compute(task)

    assert worker.exchanges.hand_in(worker.number, 1, patience_s=MOMENT_S) == []
    assert (len(worker.outbox), worker.slate.begun(), broker.result()) == (0, [], 2.0)


def test_results_and_the_next_tasks_are_one_exchange(broker: Broker, worker: Worker) -> None:
    for x in (1.0, 4.0, 9.0):
        broker.manager.addTaskRequest("sqrt", (x,))
    for task in worker.exchanges.hand_in(worker.number, 2):
        worker.compute(task)
    (last,) = worker.exchanges.hand_in(worker.number, 2)
    assert (last.id, len(worker.outbox)) == ("sqrt_2", 0)
    assert [broker.result(), broker.result()] == [1.0, 2.0]


def test_what_was_recalled_is_given_back_with_the_next_results(broker: Broker, worker: Worker) -> None:
    broker.manager.addTaskRequest("sqrt", (4.0,))
    (task,) = worker.exchanges.wait(worker.number, 1)
    worker.exchanges.recalled = [running.not_begun(task)]
    assert worker.exchanges.hand_in(worker.number, 0) == []
    assert (broker.state_of("sqrt_0"), worker.exchanges.recalled) == ("waiting", [])


def test_what_the_supervisor_has_given_back_before_us_is_no_trouble(broker: Broker, worker: Worker) -> None:
    broker.manager.addTaskRequest("sqrt", (4.0,))
    (task,) = worker.exchanges.wait(worker.number, 1)
    worker.exchanges.recalled = [running.not_begun(task)]
    broker.manager.returnTask("sqrt_0")
    with closing(Worker(broker)) as other:
        (again,) = other.exchanges.wait(other.number, 1)
        worker.exchanges.hand_in(worker.number, 0)
        assert (again.attempt, broker.state_of("sqrt_0")) == (2, "running")


def test_a_result_counts_although_its_process_is_not_registered_any_more(
    broker: Broker, worker: Worker
) -> None:
    broker.manager.addTaskRequest("sqrt", (4.0,))
    (task,) = worker.exchanges.wait(worker.number, 1)
    worker.compute(task)
    broker.manager.unregisterProcess(worker.number)
    with pytest.raises(UnknownProcess):
        worker.exchanges.hand_in(worker.number, 1)
    assert (broker.result(), len(worker.outbox)) == (2.0, 0)


@pytest.mark.parametrize("patience_s", [0.0, MOMENT_S])
def test_a_result_that_is_too_large_for_the_broker_becomes_an_error_of_its_task(patience_s: float) -> None:
    with (
        closing(Broker(settings=Settings.load(max_message_bytes=MIB))) as broker,
        closing(Worker(broker)) as worker,
    ):
        broker.manager.addTaskRequest("large", (2 * MIB,))
        (task,) = worker.exchanges.wait(worker.number, 1)
        worker.compute(task)
        worker.exchanges.hand_in(worker.number, 1, patience_s=patience_s)
        worker.exchanges.hand_in(worker.number, 0)
        with pytest.raises(TaskRaisedException, match="max_message_bytes"):
            broker.result()
