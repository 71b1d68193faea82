"""Workers that lease several tasks at once: what nobody may notice of it, but for the speed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pyrotask.core.model import NewTask
from pyrotask.errors import TaskRaisedException
from pyrotask.payload import encode_plain
from tests.worker.nodes import PATIENCE_S, Broker, Node, Rendezvous

pytestmark = pytest.mark.slow  # real processes

SHORT = 400
"""Enough for a child to learn that they are short, and to lease many at once."""


def submit_short(broker: Broker) -> None:
    for x in range(SHORT):
        broker.manager.addTaskRequest("sqrt", (float(x * x),))


def test_all_short_tasks_are_answered_once(broker: Broker, tasks: Path) -> None:
    submit_short(broker)
    with Node(broker.address, tasks, count=2):
        assert sorted(broker.result() for _ in range(SHORT)) == list(range(SHORT))
        with pytest.raises(TimeoutError):
            broker.manager.getAnyResult(timeout=0)


def test_long_tasks_behind_short_ones_run_at_once_on_idle_workers(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    submit_short(broker)
    for _ in range(3):
        broker.manager.addTaskRequest("meet", (rendezvous.port,))
    with Node(broker.address, tasks) as one, Node(broker.address, tasks, count=2) as others:
        one.wait_until_ready()
        others.wait_until_ready()
        meetings = [rendezvous.meet() for _ in range(3)]  # none is let go before all have come
        assert len({meeting.pid for meeting in meetings}) == 3


def test_tasks_that_are_longer_than_others_of_their_tag_were_run_at_once_on_idle_workers(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    for _ in range(SHORT):
        broker.manager.addTaskRequest("meet_if", (0,))
    with Node(broker.address, tasks, count=3) as node:
        node.wait_until_ready()
        assert [broker.result() for _ in range(SHORT)] == [0] * SHORT
        long = [NewTask("meet_if", encode_plain((rendezvous.port,)))] * 3
        broker.manager.broker.call(lambda m, now: m.submit_many(now, long))
        meetings = [rendezvous.meet() for _ in range(3)]  # none is let go before all have come
        assert len({meeting.pid for meeting in meetings}) == 3


def test_a_task_that_lets_no_other_thread_run_keeps_none_from_idle_workers(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    submit_short(broker)
    for _ in range(2):
        broker.manager.addTaskRequest("hold_gil", (rendezvous.port, 60.0))
    with Node(broker.address, tasks) as one:
        one.wait_until_ready()
        first = rendezvous.meet()
        with Node(broker.address, tasks):
            assert rendezvous.meet().pid != first.pid


def test_the_answers_of_short_tasks_do_not_wait_for_a_long_one(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    submit_short(broker)
    broker.manager.addTaskRequest("meet", (rendezvous.port,))
    with Node(broker.address, tasks):
        assert sorted(broker.result() for _ in range(SHORT)) == list(range(SHORT))
        rendezvous.meet().let_go()


def test_only_the_task_that_ran_is_to_blame_when_its_worker_dies(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    submit_short(broker)
    meet = broker.manager.addTaskRequest("meet", (rendezvous.port,))
    for x in range(SHORT):
        broker.manager.addTaskRequest("sqrt", (float(x * x),))
    with Node(broker.address, tasks) as node:
        first = rendezvous.meet()
        os.kill(first.pid, signal.SIGKILL)
        ended = node.wait_for("ended")
        assert meet in ended.tasks
        rendezvous.meet().let_go()
        assert crashed(broker) - {SHORT} == set()
        assert len([broker.result() for _ in range(2 * SHORT + 1)]) == 2 * SHORT + 1


def crashed(broker: Broker) -> set[int]:
    """The tasks that a worker has died of, and that are not collected."""
    found: set[int] | None = broker.manager.broker.call(
        lambda m, _now: {t.number for t in m.state.tasks.values() if t.trouble and t.trouble.crashes}
    )
    return found or set()


def test_a_deadly_task_among_short_ones_fails_alone(broker: Broker, tasks: Path) -> None:
    submit_short(broker)
    broker.manager.addTaskRequest("exit", (3,))
    submit_short(broker)
    with Node(broker.address, tasks, count=2):
        for _ in range(SHORT):
            broker.manager.getResultWithTag("sqrt", timeout=PATIENCE_S)
        with pytest.raises(TaskRaisedException, match="exit code 3 while running"):
            broker.manager.getResultWithTag("exit", timeout=PATIENCE_S)
        for _ in range(SHORT):
            broker.manager.getResultWithTag("sqrt", timeout=PATIENCE_S)


def test_draining_gives_back_what_was_not_begun_without_blame(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    submit_short(broker)
    broker.manager.addTaskRequest("meet", (rendezvous.port,))
    behind = broker.manager.addTaskRequest("sqrt", (9.0,))
    with Node(broker.address, tasks) as node:
        meeting = rendezvous.meet()
        node.supervisor.drain()
        node.wait_for("draining")
        meeting.let_go()
        assert node.supervisor.wait(PATIENCE_S)
    assert (broker.state_of(behind), broker.task(behind).trouble) == ("waiting", None)
