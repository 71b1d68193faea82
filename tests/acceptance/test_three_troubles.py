"""A job of 2,000 tasks on four children, three of which get into trouble."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.cable import Cable
from tests.figures import Figure
from tests.worker.nodes import PATIENCE_S, Broker, Node, Rendezvous

TASKS = 2_000
PERIOD_S = 0.3
"""What the workers promise. A stopped child is lost after four of them."""

WORK = """
import socket

def do_norm(seed, size):
    total = 0.0
    for k in range(size):
        seed = (1103515245 * seed + 12345) % 2**31
        total += (seed / 2**31) ** 2
    return total ** 0.5

def do_meet(port):
    import os
    with socket.create_connection(("127.0.0.1", port)) as meeting:
        meeting.sendall(b"%d\\n" % os.getpid())
        meeting.recv(1)
    return "met"
"""


@pytest.mark.slow
def test_a_killed_a_stopped_and_a_cut_off_child_cost_no_answer_and_double_none(
    tmp_path: Path, figure: Figure
) -> None:
    module = tmp_path / "norms.py"
    module.write_text(WORK)
    broker, rendezvous = Broker(), Rendezvous()
    cable = Cable(broker.port)
    try:
        with (
            Node(broker.address, module, count=3, period_s=PERIOD_S) as near,
            Node(cable.address, module, count=1, period_s=PERIOD_S) as far,
        ):
            near.wait_until_ready()
            far.wait_until_ready()
            manager = broker.manager
            # The first two tasks meet the test, so that it knows whom it harms while they run.
            meeting_ids = [manager.addTaskRequest("meet", (rendezvous.port,)) for _ in range(2)]
            ids = [manager.addTaskRequest("norm", (k, 400)) for k in range(TASKS - 2)]
            victim, stopped = rendezvous.meet(), rendezvous.meet()

            os.kill(stopped.pid, signal.SIGSTOP)
            killed_at = time.monotonic()
            os.kill(victim.pid, signal.SIGKILL)
            again = rendezvous.meet()
            figure(f"the killed child's task runs again after {(time.monotonic() - killed_at) * 1e3:.1f} ms")
            cable.cut()
            cable.mend()
            # Silent for four periods, the stopped child is lost: its task runs elsewhere too.
            third = rendezvous.meet()
            figure(f"the stopped child's task runs again after {time.monotonic() - killed_at:.2f} s")
            os.kill(stopped.pid, signal.SIGCONT)
            for meeting in (again, third, stopped):
                meeting.let_go()

            answers = [manager.getAnyResult(timeout=PATIENCE_S)[0] for _ in range(TASKS)]
            assert sorted(answers) == sorted(meeting_ids + ids)
            with pytest.raises(TimeoutError):
                manager.getAnyResult(timeout=0)
    finally:
        rendezvous.close()
        cable.close()
        broker.close()
