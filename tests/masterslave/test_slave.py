"""Slaves as real processes, with a master in the test's own."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pyrotask.core.model import Task, TaskNumber, Trouble
from pyrotask.errors import TaskRaisedException, UnknownLabel, WorkerCrashed
from pyrotask.masterslave import GlobalStateValue, MasterProcess
from pyrotask.remote.connection_file import ConnectionFile
from tests.cable import Cable
from tests.masterslave.running import LONG_S, Running, script
from tests.waiting import until

if TYPE_CHECKING:
    from tests.figures import Figure
    from tests.masterslave.conftest import MakeMaster

pytestmark = pytest.mark.slow

SLAVE = """
import ctypes, os, signal, sys, threading, time
from pyrotask.masterslave import SlaveProcess

calls = 0

class Travelling:
    '''Counts in the slave how often one arrives there.'''
    arrivals = 0

class Slave(SlaveProcess):
    def do_add(self, *terms):
        return sum(terms)

    def do_raise(self, text):
        raise ValueError(text)

    def do_exit(self):
        sys.exit("no reason")

    def do_interrupt(self):
        raise KeyboardInterrupt

    def do_unpicklable(self):
        return threading.Lock()

    def do_unpicklable_error(self):
        raise ValueError(threading.Lock())

    def do_pid(self):
        return os.getpid()

    def do_sleep(self, seconds):
        print("sleeping", flush=True)
        time.sleep(seconds)
        return os.getpid()

    def do_wait_for(self, path):
        print("waiting", flush=True)
        while not os.path.exists(path):
            time.sleep(0.01)
        return os.getpid()

    def do_hold_the_gil(self, seconds):
        print("holding", flush=True)
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
        return os.getpid()

    def do_die(self):
        os._exit(3)

    def do_identity(self, value):
        return value

    def do_id(self, value):
        return id(value)

    def do_cached(self):
        return {state: sorted(values) for state, values in self.global_state_cache.items()}

    def do_process_id(self):
        return self.process_id

def do_count(self=None):
    global calls
    calls += 1
    return calls

period = float(sys.argv[2]) if len(sys.argv) > 2 else 120.0
Slave(sys.argv[1], watchdog_period=period or None).start()
print("ended", flush=True)
"""


@contextmanager
def slave_of(master: MasterProcess, folder: Path, *args: object, text: str = SLAVE) -> Iterator[Running]:
    """A slave process of the master, once it has registered."""
    before = master.task_manager.numberOfActiveProcesses()
    with script(folder, "slave.py", text, master.label, *args) as running:
        until(
            lambda: (
                master.task_manager.numberOfActiveProcesses() > before or running.process.poll() is not None
            )
        )
        assert running.process.poll() is None, running.output
        yield running


def ask(master: MasterProcess, tag: str, *parameters: Any) -> Any:
    """Ask for a task and wait for its result."""
    master.requestTask(tag, *parameters)
    return master.retrieveResult(tag)[2]


def first_task(master: MasterProcess) -> Task:
    """What the manager knows of the first task that was asked for."""
    return master.task_manager.broker.engine.machine.state.tasks[TaskNumber(0)]


# --- handlers -------------------------------------------------------------------------------------


def test_methods_and_globals_are_handlers_and_globals_are_kept(
    make_master: MakeMaster, tmp_path: Path
) -> None:
    master = make_master()
    with slave_of(master, tmp_path):
        assert ask(master, "add", 1, 2, 3) == 6
        assert [ask(master, "count"), ask(master, "count")] == [1, 2]
        assert ask(master, "process_id") == 1


def test_a_slave_never_takes_a_task_it_has_no_handler_for(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master()
    master.requestTask("something_else")
    with slave_of(master, tmp_path):
        assert ask(master, "add", 1) == 1
    assert master.task_manager.numberOfTasks()[0]["something_else"] == 1


def test_parameters_and_results_can_be_any_objects(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master()
    value = {"a": [1, (2, {3})], 4: 5.0, None: complex(1, 2)}
    with slave_of(master, tmp_path):
        assert ask(master, "identity", value) == value
        assert ask(master, "identity", lambda x: x + 1)(1) == 2


def test_a_slave_without_handlers_says_what_to_do(make_master: MakeMaster, tmp_path: Path) -> None:
    make_master("empty")
    text = "from pyrotask.masterslave import startSlaveProcess\nstartSlaveProcess('empty')\n"
    with script(tmp_path, "slave.py", text) as running:
        assert running.end() == 1
    assert "named do_<tag>" in running.output


def test_a_slave_without_its_master_says_where_it_looked(tmp_path: Path) -> None:
    with script(tmp_path, "slave.py", SLAVE, "nobody") as running:
        assert running.end() == 1
    assert "no broker of label 'nobody' was found. Looked in:" in running.output


# --- the end ----------------------------------------------------------------------------------------


def test_slaves_end_when_the_master_shuts_down(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master()
    with slave_of(master, tmp_path) as running:
        companions = psutil.Process(running.pid).children()
        master.shutdown()
        assert running.end() == 0
    assert running.output == "ended\n"
    assert companions
    _, alive = psutil.wait_procs(companions, timeout=LONG_S)
    assert not alive


def test_a_slave_that_is_told_enough_ends_and_hands_in_what_it_has(
    make_master: MakeMaster, tmp_path: Path
) -> None:
    master = make_master()
    text = SLAVE.replace(
        "    def do_add", "    def terminationTest(self):\n        return calls >= 2\n\n    def do_add"
    )
    with slave_of(master, tmp_path, text=text) as running:
        assert [ask(master, "count"), ask(master, "count")] == [1, 2]
        assert running.end() == 0
    assert master.task_manager.numberOfActiveProcesses() == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_a_slave_that_is_told_to_end_gives_its_task_back(
    make_master: MakeMaster, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    master = make_master()
    with slave_of(master, tmp_path) as running:
        master.requestTask("sleep", 1000)
        running.wait_for("sleeping")
        running.send(number)
        assert running.end() in {code, -number}
        until(lambda: master.task_manager.numberOfTasks()[0] == {"sleep": 1})
        until(lambda: master.task_manager.numberOfActiveProcesses() == 1)
        trouble = first_task(master).trouble or Trouble()
        assert (trouble.crashes, trouble.losses) == (0, 0)


def test_a_waiting_slave_that_is_told_to_end_does(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master()
    with slave_of(master, tmp_path) as running:
        assert ask(master, "add", 1) == 1
        running.send(signal.SIGTERM)
        assert running.end() == 143
        until(lambda: master.task_manager.numberOfActiveProcesses() == 1)


# --- what tasks may do ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("raise", "ValueError: on purpose"),
        ("exit", "SystemExit: no reason"),
        ("interrupt", "KeyboardInterrupt"),
        ("unpicklable", "cannot be pickled"),
        ("unpicklable_error", "<unlocked _thread.lock"),
    ],
)
def test_whatever_a_task_raises_the_slave_lives_on(
    make_master: MakeMaster, tmp_path: Path, tag: str, text: str
) -> None:
    master = make_master()
    with slave_of(master, tmp_path):
        pid = ask(master, "pid")
        with pytest.raises(TaskRaisedException) as caught:
            ask(master, tag, *(["on purpose"] if tag == "raise" else []))
        assert text in str(caught.value)
        assert ask(master, "pid") == pid


def test_a_wrong_number_of_parameters_is_an_error_of_the_task(
    make_master: MakeMaster, tmp_path: Path
) -> None:
    master = make_master()
    with slave_of(master, tmp_path):
        with pytest.raises(TaskRaisedException, match="do_raise"):
            ask(master, "raise", 1, 2, 3)
        assert ask(master, "add", 1) == 1


# --- global states ------------------------------------------------------------------------------------


def test_a_global_value_travels_to_a_slave_once(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master()
    state = master.setGlobalState(numbers=list(range(10)), other="x")
    with slave_of(master, tmp_path):
        first = ask(master, "id", GlobalStateValue(state, "numbers"))
        master.task_manager.storeData(global_state_1_numbers="changed")  # it is not asked for again
        assert ask(master, "id", GlobalStateValue(state, "numbers")) == first
        assert ask(master, "identity", GlobalStateValue(state, "numbers")) == list(range(10))
        assert ask(master, "cached") == {1: ["numbers"]}


def test_only_parameters_themselves_are_replaced(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master()
    value = GlobalStateValue(master.setGlobalState(x=5), "x")
    with slave_of(master, tmp_path):
        assert ask(master, "identity", value) == 5
        assert ask(master, "identity", [value]) == [value]
        assert ask(master, "add", 1, value, value) == 11


def test_several_states_are_alive_at_once(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master()
    states = [master.setGlobalState(x=10**i) for i in range(3)]
    with slave_of(master, tmp_path):
        assert ask(master, "add", *(GlobalStateValue(state, "x") for state in states)) == 111


def test_a_task_that_needs_a_deleted_state_fails(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master()
    state = master.setGlobalState(x=5)
    master.deleteGlobalState(state)
    with slave_of(master, tmp_path):
        with pytest.raises(TaskRaisedException, match="global state 1 does not exist") as caught:
            ask(master, "identity", GlobalStateValue(state, "x"))
        assert isinstance(caught.value.exception, UnknownLabel)


def test_a_slave_forgets_deleted_states(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master()
    first, second = master.setGlobalState(x=5), master.setGlobalState(x=6)
    with slave_of(master, tmp_path):
        ask(master, "add", GlobalStateValue(first, "x"))
        master.deleteGlobalState(first)
        ask(master, "add", GlobalStateValue(second, "x"))
        assert ask(master, "cached") == {second: ["x"]}


# --- when slaves die ----------------------------------------------------------------------------------


def test_the_task_of_a_killed_slave_is_back_at_once(
    make_master: MakeMaster, tmp_path: Path, figure: Figure
) -> None:
    master = make_master()
    with slave_of(master, tmp_path) as victim:
        master.requestTask("sleep", 1000)
        victim.wait_for("sleeping")
        killed_at = time.monotonic()
        victim.send(signal.SIGKILL)
        until(lambda: master.task_manager.numberOfTasks()[0] == {"sleep": 1})
        back_s = time.monotonic() - killed_at
    figure(f"the task was back after {back_s * 1000:.0f} ms")
    assert back_s < 10
    trouble = first_task(master).trouble
    assert trouble is not None
    assert re.search(r"slave process \d+ died while running sleep_0, attempt 1", trouble.story[0].detail)


def test_a_shutdown_does_not_wait_for_a_slave_that_was_killed(
    make_master: MakeMaster, tmp_path: Path
) -> None:
    master = make_master()
    with slave_of(master, tmp_path) as victim:
        master.requestTask("sleep", 1000)
        victim.wait_for("sleeping")
        victim.send(signal.SIGKILL)
        master.shutdown()
    assert master.task_manager.numberOfTasks() == ({"sleep": 1}, {"sleep": 0}, {"sleep": 0})


def test_a_task_that_kills_its_slaves_ends(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master(max_crashes=2)
    master.requestTask("die")
    for _ in range(2):
        with script(tmp_path, "slave.py", SLAVE, master.label) as running:
            assert running.end() == 3
    with pytest.raises(TaskRaisedException) as caught:
        master.retrieveResult()
    assert isinstance(caught.value.exception, WorkerCrashed)
    assert "died while running die_0" in str(caught.value.exception)


def test_a_task_that_holds_the_gil_does_not_silence_its_slave(
    make_master: MakeMaster, tmp_path: Path
) -> None:
    master = make_master()
    with slave_of(master, tmp_path, 0.2) as running:
        master.requestTask("hold_the_gil", 3.0)  # fifteen periods
        until(lambda: master.task_manager.numberOfTasks()[2] == {"hold_the_gil": 1})
        assert first_task(master).attempt == 1
        assert master.retrieveResult()[2] == running.pid


def test_a_stopped_slave_loses_its_task_and_can_go_on(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master()
    with slave_of(master, tmp_path, 0.2) as running:
        master.requestTask("wait_for", str(tmp_path / "go on"))
        running.wait_for("waiting")
        running.send(signal.SIGSTOP)
        until(lambda: master.task_manager.numberOfTasks()[0] == {"wait_for": 1})
        running.send(signal.SIGCONT)
        (tmp_path / "go on").touch()
        assert master.retrieveResult("wait_for")[2] == running.pid
        assert ask(master, "add", 2) == 2


def test_a_slave_whose_companion_was_killed_works_on_and_gets_another(
    make_master: MakeMaster, tmp_path: Path
) -> None:
    master = make_master()
    with slave_of(master, tmp_path, 0.5) as running:
        (companion,) = psutil.Process(running.pid).children()
        companion.kill()

        def has_another() -> bool:
            assert ask(master, "add", 1, 2) == 3
            return psutil.Process(running.pid).children() not in ([], [companion])

        until(has_another)


def test_a_slave_that_promises_nothing_needs_no_companion(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master()
    with slave_of(master, tmp_path, 0) as running:
        assert ask(master, "add", 1) == 1
        assert not psutil.Process(running.pid).children()


def test_a_slave_keeps_its_task_when_its_connections_break(make_master: MakeMaster, tmp_path: Path) -> None:
    master = make_master(reconnect_grace_s=2.0)
    text = SLAVE.replace("Slave(sys.argv[1],", "Slave(sys.argv[1], f'127.0.0.1:{sys.argv[3]}',")
    cable = Cable(master.pyro_daemon.port)
    with cable, slave_of(master, tmp_path, 120.0, cable.port, text=text) as running:
        master.requestTask("sleep", 4.0)  # twice the grace
        running.wait_for("sleeping")
        cable.cut()
        cable.mend()
        until(lambda: master.task_manager.numberOfTasks()[2] == {"sleep": 1})
        assert first_task(master).attempt == 1
        assert master.retrieveResult()[2] == running.pid
        cable.cut()
        cable.mend()
        assert ask(master, "add", 1, 2) == 3
        master.shutdown()
        assert running.end() == 0


def test_a_process_that_the_slave_has_forked_does_not_hide_its_death(
    make_master: MakeMaster, tmp_path: Path
) -> None:
    text = SLAVE.replace(
        "    def do_add",
        "    def do_fork(self):\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(1000)\n"
        "        print('forked', flush=True)\n"
        "        time.sleep(1000)\n\n"
        "    def do_add",
    )
    master = make_master()
    with slave_of(master, tmp_path, text=text) as running:
        master.requestTask("fork")
        running.wait_for("forked")
        children = psutil.Process(running.pid).children()
        try:
            running.send(signal.SIGKILL)
            until(lambda: master.task_manager.numberOfTasks()[0] == {"fork": 1})
        finally:
            for child in children:
                with suppress(psutil.NoSuchProcess):  # its companion ends by itself
                    child.kill()


def test_a_master_that_dies_takes_its_waiting_slaves_with_it(tmp_path: Path) -> None:
    text = """
        from pyrotask.masterslave import initializeMasterProcess
        master = initializeMasterProcess("short-lived", use_name_server=False)
        master.requestTask("sleep", 0.5)
        master.task_manager.getTaskWithTag("never", 0)
    """
    with script(tmp_path, "master.py", text) as master:
        until(ConnectionFile.path(Path(os.environ["PYROTASK_RUNTIME_DIR"]), "short-lived").exists)
        with script(tmp_path, "slave.py", SLAVE, "short-lived") as running:
            running.wait_for("sleeping")
            master.send(signal.SIGKILL)
            assert running.end() == 0
        assert "this slave ends, since its master is gone" in running.output
