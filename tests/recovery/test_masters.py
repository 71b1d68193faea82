"""Masters and slaves of a broker with a journal: when it is killed, they notice the delay only."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold
from pyrotask.masterslave import (
    GlobalStateValue,
    RemoteMasterProcess,
    TaskRaisedException,
    initializeMasterProcess,
)
from tests.masterslave.running import started, write
from tests.recovery.houses import LABEL, Broker, working
from tests.remote.serving import in_thread
from tests.waiting import until

AWAY_S = 2.5
"""Longer than a slave looks for a master that is gone on its own machine."""

pytestmark = pytest.mark.slow

SLAVES = """
    import os
    import time

    def do_square(x, seconds=0):
        time.sleep(seconds)
        with open("runs", "a") as runs:
            runs.write(f"{x}\\n")
        return x * x

    def do_scaled(x, scale):
        return x * scale

    def do_raise(text):
        raise ValueError(text)

    def do_pid():
        return os.getpid()
"""


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@contextmanager
def master_with_slaves(folder: Path, slaves: int) -> Iterator[RemoteMasterProcess]:
    """A master of the running broker, and slaves that run the functions above."""
    write(folder, "slaves_of_a_broker.py", SLAVES)
    with ExitStack() as stack:
        here = Path.cwd()
        os.chdir(folder)
        stack.callback(os.chdir, here)
        master = initializeMasterProcess(LABEL, slave_module="slaves_of_a_broker", broker=True)
        stack.callback(master.shutdown)
        master.launchSlaveJobs(slaves)
        yield master


def test_a_master_of_a_running_broker_gets_each_of_its_results_once(journal: Path, tmp_path: Path) -> None:
    with Broker(journal), master_with_slaves(tmp_path, 1) as master:
        ids = [master.requestTask("square", x) for x in range(5)]
        results = [master.retrieveResult() for _ in ids]
        assert sorted(results) == sorted((task, "square", x * x) for x, task in enumerate(ids))


def test_its_errors_and_global_states_are_those_of_any_master(journal: Path, tmp_path: Path) -> None:
    with Broker(journal), master_with_slaves(tmp_path, 1) as master:
        state = master.setGlobalState(scale=3)
        master.requestTask("scaled", 5, GlobalStateValue(state, "scale"))
        assert master.retrieveResult("scaled")[2] == 15
        master.requestTask("raise", "wrong")
        with pytest.raises(TaskRaisedException, match="wrong") as raised:
            master.retrieveResult()
        assert isinstance(raised.value.exception, ValueError)
        assert "do_raise" in raised.value.traceback
        master.deleteGlobalState(state)
        assert master.global_states == {}


def test_two_masters_of_one_broker_get_their_own_results_only(journal: Path, tmp_path: Path) -> None:
    with Broker(journal), working(tmp_path, 1):
        first, second = RemoteMasterProcess(LABEL), RemoteMasterProcess(LABEL)
        for number in range(10):
            first.requestTask("double", number, 0.0)
            second.requestTask("double", 100 + number, 0.0)
        assert sorted(first.retrieveResult()[2] for _ in range(10)) == [2 * n for n in range(10)]
        assert sorted(second.retrieveResult()[2] for _ in range(10)) == [200 + 2 * n for n in range(10)]
        first.shutdown()
        second.shutdown()
        assert first.retrieveResult() == (None, None, None)


def test_a_master_that_waits_while_its_broker_is_killed_notices_the_delay_only(
    journal: Path, tmp_path: Path
) -> None:
    with Broker(journal) as first, ExitStack() as stack:
        master = stack.enter_context(master_with_slaves(tmp_path, 2))
        master.requestTask("pid")
        _, _, slave = master.retrieveResult()
        tasks = {master.requestTask("square", x, 0.02): x * x for x in range(300)}
        results = in_thread(lambda: [master.retrieveResult() for _ in tasks])
        until((tmp_path / "runs").exists)
        first.kill()
        time.sleep(AWAY_S)  # what happens meanwhile is that nothing is there
        stack.enter_context(Broker(journal))
        assert sorted(results()) == sorted((task, "square", value) for task, value in tasks.items())
        assert slave in master._launched.alive
        runs = sorted(map(int, (tmp_path / "runs").read_text(encoding="utf-8").split()))
        master.shutdown()
    assert runs == list(range(300))
    assert fold(Folder(journal)).state.tasks == {}


def test_a_job_in_one_file_runs_at_a_broker_that_is_killed(journal: Path, tmp_path: Path) -> None:
    script = write(
        tmp_path,
        "job.py",
        f"""
        import time
        from pyrotask.masterslave import RemoteMasterProcess, SlaveProcess, runJob

        class Master(RemoteMasterProcess):
            def run(self):
                for x in range(20):
                    self.requestTask("square", x)
                print("asked")
                time.sleep(0.5)
                print(sum(self.retrieveResult()[2] for _ in range(20)))

        class Slave(SlaveProcess):
            def do_square(self, x):
                return x * x

        runJob({LABEL!r}, Master, Slave, launch_slaves=2)
        """,
    )
    with Broker(journal) as first, started([sys.executable, script], tmp_path) as job:
        job.wait_for("asked")
        first.kill()
        with Broker(journal):
            assert job.end() == 0, job.output
    assert "2470" in job.output
