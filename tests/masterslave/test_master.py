from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import Pyro5.api
import pytest

from pyrotask.core.model import Kind
from pyrotask.errors import (
    AddressInUse,
    LabelHeld,
    TaskManagerTermination,
    TaskRaisedException,
    UnknownLabel,
)
from pyrotask.masterslave import GlobalStateValue, MasterProcess
from pyrotask.remote.labels import object_name
from tests.masterslave.running import LONG_S
from tests.waiting import until

if TYPE_CHECKING:
    from tests.masterslave.conftest import MakeMaster


def compute(master: MasterProcess, count: int = 1) -> None:
    """Do the next tasks, in the way of a slave in the master's own process."""
    tm = master.task_manager
    for _ in range(count):
        task_id, _tag, parameters = tm.getAnyTask(timeout=LONG_S)
        tm.storeResult(task_id, sum(parameters))


def test_a_master_listens_where_the_setting_host_says(make_master: MakeMaster) -> None:
    assert make_master("usual")._server.host == "127.0.0.1"
    assert make_master("elsewhere", host="localhost")._server.host == "localhost"


# --- tasks and results --------------------------------------------------------------------------


def test_a_requested_task_has_the_parameters_as_a_tuple(make_master: MakeMaster) -> None:
    master = make_master()
    task_id = master.requestTask("add", 1, 2)
    assert master.task_manager.getAnyTask(timeout=0) == (task_id, "add", (1, 2))


def test_a_result_comes_with_its_id_and_tag(make_master: MakeMaster) -> None:
    master = make_master()
    task_id = master.requestTask("add", 1, 2)
    compute(master)
    assert master.retrieveResult() == (task_id, "add", 3)


def test_a_result_can_be_asked_for_by_its_tag(make_master: MakeMaster) -> None:
    master = make_master()
    master.requestTask("add", 1, 2)
    task_id = master.requestTask("sum", 5, 6)
    compute(master, 2)
    assert master.retrieveResult("sum") == (task_id, "sum", 11)


def test_an_exception_of_a_task_is_raised_where_its_result_is_asked_for(make_master: MakeMaster) -> None:
    master = make_master()
    task_id = master.requestTask("add")
    master.task_manager.getAnyTask(timeout=0)
    master.task_manager.storeException(task_id, ValueError("no terms"), "a traceback")
    with pytest.raises(TaskRaisedException, match="no terms") as caught:
        master.retrieveResult()
    assert caught.value.task_id == task_id


def test_after_the_termination_results_are_none(make_master: MakeMaster) -> None:
    master = make_master()
    master.task_manager.terminate()
    assert master.retrieveResult() == (None, None, None)
    assert master.retrieveResult("add") == (None, None, None)


def test_what_is_there_is_still_handed_out_after_the_termination(make_master: MakeMaster) -> None:
    master = make_master()
    task_id = master.requestTask("add", 4)
    compute(master)
    master.shutdown()
    assert master.retrieveResult() == (task_id, "add", 4)
    assert master.retrieveResult() == (None, None, None)


def test_parameters_can_be_functions_and_other_objects(make_master: MakeMaster) -> None:
    master = make_master()
    master.requestTask("call", lambda x: x + 1, {1: {2}}, GlobalStateValue(1, "x"))
    _, _, (function, *others) = master.task_manager.getAnyTask(timeout=0)
    assert function(1) == 2
    assert others == [{1: {2}}, GlobalStateValue(1, "x")]


def test_the_master_is_process_zero_and_is_counted(make_master: MakeMaster) -> None:
    master = make_master()
    assert master.process_id == 0
    assert master.task_manager.numberOfActiveProcesses() == 1
    assert f"pid {os.getpid()}" in master.task_manager.activeProcessInfo(0)


# --- global states --------------------------------------------------------------------------------


def test_global_states_are_numbered_from_one(make_master: MakeMaster) -> None:
    master = make_master()
    assert [master.setGlobalState(x=1), master.setGlobalState(x=2, y=3)] == [1, 2]
    assert master.global_states == {1: ("x",), 2: ("x", "y")}


def test_the_number_of_a_deleted_state_is_not_used_again(make_master: MakeMaster) -> None:
    master = make_master()
    master.deleteGlobalState(master.setGlobalState(x=1))
    assert master.setGlobalState(x=1) == 2


def test_deleting_a_state_twice_says_which_there_are(make_master: MakeMaster) -> None:
    master = make_master()
    master.setGlobalState(x=1)
    master.deleteGlobalState(master.setGlobalState(x=2))
    with pytest.raises(UnknownLabel, match="no global state 2 .any more.; there are: 1"):
        master.deleteGlobalState(2)


# --- the server -----------------------------------------------------------------------------------


def test_the_port_of_the_daemon_is_the_managers(make_master: MakeMaster) -> None:
    master = make_master("ports")
    master.task_manager.storeData(x=1)
    with Pyro5.api.Proxy(f"PYRO:{object_name('ports')}@127.0.0.1:{master.pyro_daemon.port}") as proxy:
        assert proxy.retrieveData("x") == 1


def test_a_label_is_held_by_one_live_master(make_master: MakeMaster) -> None:
    make_master("twice")
    with pytest.raises(LabelHeld, match="twice"):
        make_master("twice")


def test_a_label_is_free_after_the_shutdown(make_master: MakeMaster) -> None:
    make_master("again").shutdown()
    make_master("again")


def test_two_masters_of_different_labels_get_different_ports(make_master: MakeMaster) -> None:
    assert make_master("one").pyro_daemon.port != make_master("two").pyro_daemon.port


def test_a_port_that_is_asked_for_and_taken_is_an_error(make_master: MakeMaster) -> None:
    port = make_master("first").pyro_daemon.port
    with pytest.raises(AddressInUse, match=str(port)):
        MasterProcess("second", use_name_server=False, port=port)


def test_without_a_name_server_there_is_no_proxy_for_one(make_master: MakeMaster) -> None:
    assert make_master().pyro_ns is None


def test_slaves_cannot_be_launched_without_code_for_them(make_master: MakeMaster) -> None:
    with pytest.raises(ValueError, match="use runJob, or name a slave_script or slave_module"):
        make_master().launchSlaveJobs(1)


# --- the end ----------------------------------------------------------------------------------------


def test_a_shutdown_lets_what_was_asked_for_be_computed(make_master: MakeMaster) -> None:
    master = make_master()
    for i in range(5):
        master.requestTask("add", i)
    with ThreadPoolExecutor() as threads:
        work = threads.submit(compute, master, 5)
        master.shutdown()
        work.result()
    assert sum(master.task_manager.numberOfTasks()[2].values()) == 5


def test_a_shutdown_takes_no_more_requests(make_master: MakeMaster) -> None:
    master = make_master()
    master.shutdown()
    with pytest.raises(TaskManagerTermination):
        master.requestTask("add")


def test_requests_are_refused_as_soon_as_the_shutdown_begins(make_master: MakeMaster) -> None:
    master = make_master()
    master.requestTask("add", 1)
    with ThreadPoolExecutor() as threads:
        down = threads.submit(master.shutdown)
        until(lambda: master._closers)
        with pytest.raises(TaskManagerTermination, match="is shutting down"):
            master.requestTask("add", 2)
        compute(master)
        down.result(LONG_S)


def test_a_second_shutdown_does_nothing(make_master: MakeMaster) -> None:
    master = make_master()
    master.shutdown()
    master.shutdown()


def test_a_shutdown_from_another_thread_waits_for_the_first(make_master: MakeMaster) -> None:
    master = make_master()
    master.requestTask("add", 1)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(master.shutdown)
        until(lambda: master._closers)
        second = threads.submit(master.shutdown)
        until(lambda: len(master._closers) == 2)
        compute(master)
        first.result(LONG_S)
        second.result(LONG_S)
    assert master._has_ended.is_set()


def test_a_signal_in_the_middle_of_a_shutdown_ends_the_waiting(make_master: MakeMaster) -> None:
    master = make_master()
    master.requestTask("add", 1)
    before = signal.signal(signal.SIGUSR1, lambda *_: master.shutdown())
    try:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        master.shutdown()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert master.retrieveResult() == (None, None, None)


def test_a_signal_handler_can_shut_down_a_master_that_waits_for_a_result(make_master: MakeMaster) -> None:
    master = make_master()
    before = signal.signal(signal.SIGUSR1, lambda *_: master.shutdown())
    try:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        assert master.retrieveResult() == (None, None, None)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_shutdown_without_any_slave_does_not_wait_for_ever(
    make_master: MakeMaster, capsys: pytest.CaptureFixture[str]
) -> None:
    master = make_master(plain_grace_s=0.3, explain_after_s=0.1)
    master.requestTask("add", 1)
    master.shutdown()
    said = capsys.readouterr().err
    assert "1 task tagged add waits; no worker is registered" in said
    assert "`task_manager slave 'a job'`" in said


def test_a_shutdown_does_not_wait_for_a_slave_that_has_left(make_master: MakeMaster) -> None:
    master = make_master(plain_grace_s=1000.0, reconnect_grace_s=0.1)
    master.requestTask("add", 1)
    slave = master.task_manager.registerProcess()
    master.task_manager.getAnyTask(slave, timeout=0)
    master.task_manager.unregisterProcess(slave)
    master.shutdown()
    assert master.task_manager.numberOfTasks()[0] == {"add": 1}


def test_a_shutdown_waits_no_longer_than_its_timeout(make_master: MakeMaster) -> None:
    master = make_master(shutdown_timeout_s=0.2)
    master.requestTask("add", 1)
    master.task_manager.getAnyTask(timeout=0)  # somebody runs it, and never ends
    master.shutdown()
    assert master.task_manager.numberOfTasks()[1] == {"add": 1}


class Failing(MasterProcess):
    error: BaseException = ValueError("a mistake")

    def run(self) -> None:
        self.requestTask("add", 1)
        raise self.error


def test_a_master_that_fails_is_shut_down_and_says_so_before(
    make_master: MakeMaster, capsys: pytest.CaptureFixture[str]
) -> None:
    master = make_master(kind=Failing, plain_grace_s=0.1)
    with pytest.raises(ValueError, match="a mistake"):
        master.start()
    assert master._has_ended.is_set()
    assert "a job failed (ValueError: a mistake); the task that" in capsys.readouterr().err


def test_a_master_that_ctrl_c_ends_waits_for_nothing(make_master: MakeMaster) -> None:
    master = make_master(kind=Failing, plain_grace_s=1000.0)
    assert isinstance(master, Failing)
    master.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        master.start()
    assert master._has_ended.is_set()


def test_a_master_without_run_says_what_to_do(make_master: MakeMaster) -> None:
    with pytest.raises(NotImplementedError, match="define one, which calls requestTask and retrieveResult"):
        make_master().start()


# --- why it waits -----------------------------------------------------------------------------------


def wait_in_vain(master: MasterProcess, says: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Wait for a result until something is said, and a while longer; return all that was said."""
    said = ""
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(master.retrieveResult)

        def is_said() -> bool:
            nonlocal said
            said += capsys.readouterr().err
            return says in said

        until(is_said)
        for _ in range(5):  # several more times it could be said again
            with pytest.raises(TimeoutError):
                waiting.result(0.1)
        master.task_manager.terminate()
        waiting.result(LONG_S)
    return said + capsys.readouterr().err


def test_a_master_says_once_that_no_slave_is_there(
    make_master: MakeMaster, capsys: pytest.CaptureFixture[str]
) -> None:
    master = make_master(explain_after_s=0.1)
    master.requestTask("sqrt", 1)
    master.requestTask("sqrt", 2)
    said = wait_in_vain(master, "2 tasks tagged sqrt wait; no worker is registered", capsys)
    assert said.count("tagged sqrt") == 1


@pytest.mark.slow
def test_a_master_says_that_nobody_has_a_handler(
    make_master: MakeMaster, capsys: pytest.CaptureFixture[str]
) -> None:
    master = make_master(explain_after_s=0.1)
    for _ in range(4):
        master.task_manager.broker.call(
            lambda m, now: m.register(now, kind=Kind.WORKER, tags=frozenset({"cbrt"}))
        )
    for i in range(3):
        master.requestTask("sqrt", i)
    said = wait_in_vain(master, "none of 4 workers has a handler", capsys)
    assert said.count("3 tasks tagged sqrt wait; none of 4 workers has a handler for it") == 1


def test_a_master_that_waits_for_nothing_is_told(
    make_master: MakeMaster, capsys: pytest.CaptureFixture[str]
) -> None:
    wait_in_vain(make_master(explain_after_s=0.1), "no task waits or runs: none will come by itself", capsys)
