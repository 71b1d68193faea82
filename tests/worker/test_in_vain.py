"""Tasks that run and that nobody wants any more: their child is ended, and another one works."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pyrotask.core.model import TaskNumber
from pyrotask.worker.reporter import InVain
from tests.worker.nodes import Broker, Node, Rendezvous, wait_until_gone

pytestmark = pytest.mark.slow  # real processes


def cancel(broker: Broker, task_id: str) -> None:
    number = TaskNumber(int(task_id.rpartition("_")[2]))
    broker.manager.broker.call(lambda m, now: m.cancel(now, number))


def test_a_running_task_that_is_cancelled_is_ended_and_its_child_replaced(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks, period_s=60.0) as node:
        task = broker.manager.addTaskRequest("meet", (rendezvous.port,))
        meeting = rendezvous.meet()
        cancelled_at = time.monotonic()
        cancel(broker, task)
        event = node.wait_for("in vain")
        print(f"\na cancelled task is ended after {time.monotonic() - cancelled_at:.2f} s")
        assert (event.pid, event.detail.split(" was ")[0]) == (meeting.pid, f"{task}, attempt 1")
        assert wait_until_gone([meeting.pid]) == []
        assert node.wait_for("ended").in_order
        broker.manager.addTaskRequest("sqrt", (9.0,))
        assert broker.manager.getResultWithTag("sqrt")[1] == 3.0


def test_a_task_that_ran_in_vain_has_no_crash_in_its_story(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks) as node:
        task = broker.manager.addTaskRequest("meet", (rendezvous.port,))
        rendezvous.meet()
        cancel(broker, task)
        node.wait_for("ended")
        assert (broker.state_of(task), broker.task(task).trouble) == ("cancelled", None)


def test_a_child_that_does_something_else_by_then_lives_on(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks) as node:
        (pid,) = node.wait_until_ready()
        waiting = broker.manager.addTaskRequest("sqrt", (9.0,))
        cancel(broker, waiting)
        broker.manager.addTaskRequest("meet", (rendezvous.port,))
        meeting = rendezvous.meet()
        assert meeting.pid == pid
        meeting.let_go()
        assert broker.manager.getResultWithTag("meet")[1] == pid


def test_one_that_was_on_its_way_to_the_child_when_it_was_cancelled_is_ended_when_it_begins(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks) as node:
        (pid,) = node.wait_until_ready()
        supervisor = node.supervisor
        (child,) = supervisor._living()
        assert child.process is not None
        in_vain = [InVain(child.process, 0, 1)]
        supervisor._inbox.put(lambda: supervisor._heed_in_vain(in_vain))
        assert broker.manager.addTaskRequest("meet", (rendezvous.port,)) == "meet_0"
        assert rendezvous.meet().pid == pid
        event = node.wait_for("in vain")
        assert (event.pid, event.detail.split(" was ")[0]) == (pid, "meet_0, attempt 1")
