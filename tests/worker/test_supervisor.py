"""Workers as real processes: what happens to tasks when something happens to those."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from pyrotask import Session
from pyrotask.config import Settings
from pyrotask.core.model import NodeId
from pyrotask.errors import (
    BrokerNotFound,
    HandlerError,
    TaskRaisedException,
    TimeLimitExceeded,
    WorkerCrashed,
)
from pyrotask.worker.supervisor import Supervisor
from tests.cable import Cable
from tests.waiting import until
from tests.worker.nodes import (
    PATIENCE_S,
    TASKS,
    Broker,
    Node,
    Rendezvous,
    closing_all,
    wait_until_gone,
)

# --- computing ------------------------------------------------------------------------------------


pytestmark = pytest.mark.slow  # real processes, and real silences


def test_tasks_are_computed(broker: Broker, tasks: Path) -> None:
    with Node(broker.address, tasks, count=2):
        for x in range(20):
            broker.manager.addTaskRequest("sqrt", (float(x * x),))
        assert sorted(broker.result() for _ in range(20)) == list(range(20))


def test_what_a_task_raises_is_its_answer_and_the_worker_lives_on(broker: Broker, tasks: Path) -> None:
    with Node(broker.address, tasks) as node:
        (pid,) = node.wait_until_ready()
        broker.manager.addTaskRequest("raise", ("no such atom",))
        with pytest.raises(TaskRaisedException, match="no such atom"):
            broker.result()
        broker.manager.addTaskRequest("pid", ())
        assert broker.result() == pid


def test_a_task_cannot_end_its_worker(broker: Broker, tasks: Path) -> None:
    with Node(broker.address, tasks) as node:
        (pid,) = node.wait_until_ready()
        broker.manager.addTaskRequest("leave", ())
        with pytest.raises(TaskRaisedException, match="SystemExit"):
            broker.result()
        broker.manager.addTaskRequest("pid", ())
        assert broker.result() == pid


def test_a_result_that_the_broker_cannot_take_becomes_an_error_of_the_task(tasks: Path) -> None:
    with closing_all() as closing:
        broker = closing(Broker(settings=Settings.load(max_message_bytes=1 << 20)))
        with Node(broker.address, tasks):
            broker.manager.addTaskRequest("large", (2 << 20,))
            with pytest.raises(TaskRaisedException, match="max_message_bytes"):
                broker.result()
            broker.manager.addTaskRequest("large", (1000,))
            assert broker.result() == bytes(1000)


def test_a_tag_without_a_handler_is_never_leased(broker: Broker, tasks: Path) -> None:
    with Node(broker.address, tasks):
        unknown = broker.manager.addTaskRequest("unknown", ())
        broker.manager.addTaskRequest("sqrt", (9.0,))
        assert broker.result() == 3.0
        assert broker.attempts(unknown) == 0


def test_the_end_of_the_task_manager_ends_the_workers(broker: Broker, tasks: Path) -> None:
    with Node(broker.address, tasks, count=2) as node:
        pids = node.wait_until_ready()
        broker.manager.terminate()
        assert node.supervisor.wait(PATIENCE_S)
        assert wait_until_gone(pids) == []


def test_a_thread_that_a_task_has_left_does_not_keep_the_worker_from_ending(
    broker: Broker, tasks: Path
) -> None:
    settings = Settings.load(drain_timeout_s=0.5)
    with Node(broker.address, tasks, settings=settings) as node:
        broker.manager.addTaskRequest("start_thread", ())
        broker.result()
        broker.manager.terminate()
        ended = node.wait_for("ended")
        assert (ended.detail, ended.in_order) == ("exit code 0", True)
        assert node.supervisor.wait(PATIENCE_S)


def test_a_worker_that_has_not_found_a_terminated_broker_before_it_went_ends_with_the_others(
    broker: Broker, tmp_path: Path
) -> None:
    module, go = tmp_path / "slow_to_start.py", tmp_path / "go"
    module.write_text(ONE_AFTER_THE_OTHER.format(first=str(tmp_path / "first"), go=str(go)))
    with Node(broker.address, module, count=2) as node:
        node.wait_for("registered")
        broker.manager.terminate()
        node.wait_for("ended")
        broker.close()
        go.touch()
        assert node.supervisor.wait(PATIENCE_S)


ONE_AFTER_THE_OTHER = """
import os, pathlib, time
try:
    os.close(os.open({first!r}, os.O_CREAT | os.O_EXCL))
except FileExistsError:
    while not pathlib.Path({go!r}).exists():
        time.sleep(0.01)

def do_nothing():
    pass
"""


def test_a_result_at_the_end_of_the_task_manager_is_still_handed_in(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks) as node:
        broker.manager.addTaskRequest("meet", (rendezvous.port,))
        meeting = rendezvous.meet()
        broker.manager.terminate()
        meeting.let_go()
        assert node.supervisor.wait(PATIENCE_S)
        assert broker.result() == meeting.pid


def test_the_command_line_of_a_child_names_its_broker_and_hides_it_behind_nothing(
    broker: Broker, tasks: Path
) -> None:
    with Node(broker.address, tasks) as node:
        (pid,) = node.wait_until_ready()
        *_, module, where, letter = psutil.Process(pid).cmdline()
        assert (module, where, letter.isdigit()) == ("pyrotask.worker.child", broker.address, True)


# --- dying ----------------------------------------------------------------------------------------


def test_the_task_of_a_killed_child_is_back_at_once_and_answered_once(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks, count=2) as node:
        node.wait_until_ready()
        broker.manager.addTaskRequest("meet", (rendezvous.port,))
        first = rendezvous.meet()
        killed_at = time.monotonic()
        os.kill(first.pid, signal.SIGKILL)
        second = rendezvous.meet()
        print(f"\nthe task of a killed child runs again after {(time.monotonic() - killed_at) * 1e3:.1f} ms")
        second.let_go()
        assert broker.result() == second.pid
        with pytest.raises(TimeoutError):
            broker.manager.getAnyResult(timeout=0)


def test_a_killed_child_is_replaced_and_its_end_is_told(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks) as node:
        node.wait_until_ready()
        task = broker.manager.addTaskRequest("meet", (rendezvous.port,))
        first = rendezvous.meet()
        killed_at = time.monotonic()
        os.kill(first.pid, signal.SIGKILL)
        ended = node.wait_for("ended")
        assert (ended.pid, ended.tasks, ended.detail) == (
            first.pid,
            (task,),
            f"killed by signal 9 (SIGKILL) while running {task}, attempt 1",
        )
        second = rendezvous.meet()
        print(f"\nanother child runs its task after {(time.monotonic() - killed_at) * 1e3:.0f} ms")
        (story,) = story_of(broker, task)
        assert story.startswith(f"{ended.detail} (pid {first.pid} on ")
        second.let_go()


def let_a_child_die_while(
    what: str, refused: object, node: Node, broker: Broker, rendezvous: Rendezvous
) -> str:
    """Kill the idle one of two children while the system refuses what the next needs: why it is not started.

    The other one goes on, and the next is started as soon as that is possible.
    """
    node.wait_until_ready()
    broker.manager.addTaskRequest("meet", (rendezvous.port,))
    busy = rendezvous.meet()
    (idle,) = {child.pid for child in node.supervisor.children} - {busy.pid}
    with pytest.MonkeyPatch.context() as crowded:
        crowded.setattr(what, refused)
        os.kill(idle, signal.SIGKILL)
        why = node.wait_for("not started").detail
        assert [child.pid for child in psutil.Process().children()] == [busy.pid]
    assert node.wait_for("started").pid not in {idle, busy.pid}
    busy.let_go()
    assert broker.result() == busy.pid
    return why


def test_a_moment_without_a_free_process_harms_no_child_that_works(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks, count=2) as node:
        why = let_a_child_die_while(
            "pyrotask.worker.offspring.subprocess.Popen", refuse, node, broker, rendezvous
        )
        assert why.endswith("Resource temporarily unavailable")


@pytest.mark.parametrize("thread", ["pyrotask-stderr", "pyrotask-child-"])
def test_a_moment_without_a_free_thread_harms_no_child_that_works(
    broker: Broker, tasks: Path, rendezvous: Rendezvous, thread: str
) -> None:
    class Refused(threading.Thread):
        def start(self) -> None:
            if self.name.startswith(thread):
                raise RuntimeError("can't start new thread")
            super().start()

    with Node(broker.address, tasks, count=2) as node:
        why = let_a_child_die_while("threading.Thread", Refused, node, broker, rendezvous)
        assert why.endswith("can't start new thread")


def test_of_many_children_the_first_work_before_the_last_are_started(
    broker: Broker, tmp_path: Path, rendezvous: Rendezvous, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    module = tmp_path / "slow_to_import.py"
    module.write_text(f"{TASKS}\ndo_meet({rendezvous.port})\n", encoding="utf-8")
    with Node(broker.address, module, count=4) as node:
        first, second = rendezvous.meet(), rendezvous.meet()
        assert len(node.supervisor.children) == 2
        first.let_go()
        assert node.wait_for("registered").pid == first.pid
        rendezvous.meet().let_go()
        assert node.wait_for("registered").pid != second.pid
        rendezvous.meet().let_go()
        second.let_go()
        assert second.pid in {node.wait_for("registered").pid for _ in range(2)}


def refuse(*_: object, **__: object) -> None:
    """As the system does when there are too many processes."""
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def story_of(broker: Broker, task_id: str) -> list[str]:
    trouble = broker.task(task_id).trouble
    return [] if trouble is None else [end.detail for end in trouble.story]


def test_the_last_words_of_a_dead_child_stand_in_the_story_of_its_task(broker: Broker, tasks: Path) -> None:
    with Node(broker.address, tasks):
        task = broker.manager.addTaskRequest("complain_and_exit", ("no such atom: Xx",))
        with pytest.raises(TaskRaisedException, match="no such atom: Xx") as caught:
            broker.result()
        assert "its last lines:" in str(caught.value.exception), task


def test_what_a_child_writes_to_stderr_is_passed_on(
    broker: Broker, tasks: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Node(broker.address, tasks) as node:
        broker.manager.addTaskRequest("complain_and_exit", ("no such atom: Xx",))
        node.wait_for("ended")
        assert "no such atom: Xx\n" in capfd.readouterr().err


def test_a_task_that_kills_its_workers_fails_with_its_story(broker: Broker, tasks: Path) -> None:
    with Node(broker.address, tasks):
        broker.manager.addTaskRequest("exit", (3,))
        with pytest.raises(TaskRaisedException) as caught:
            broker.result()
        assert isinstance(caught.value.exception, WorkerCrashed)
        assert "exit code 3 while running exit_0, attempt 3" in str(caught.value.exception)
        broker.manager.addTaskRequest("sqrt", (9.0,))
        assert broker.result() == 3.0


def test_a_child_that_ends_itself_in_order_in_a_task_has_crashed_all_the_same(
    broker: Broker, tasks: Path
) -> None:
    with Node(broker.address, tasks) as node:
        broker.manager.addTaskRequest("exit", (0,))
        assert node.wait_for("ended").in_order is False
        with pytest.raises(TaskRaisedException, match="exit code 0 while running"):
            broker.result()


def test_what_a_killed_childs_task_has_started_is_ended_too(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks) as node:
        (child,) = node.wait_until_ready()
        broker.manager.addTaskRequest("start_process", (rendezvous.port,))
        grandchild = rendezvous.meet()
        os.kill(child, signal.SIGKILL)
        assert wait_until_gone([grandchild.pid]) == []


def test_what_ignores_the_first_signal_is_ended_too(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks) as node:
        broker.manager.addTaskRequest("start_stubborn_process", (rendezvous.port,))
        grandchild = rendezvous.meet()
        node.supervisor.stop()
        assert wait_until_gone([grandchild.pid]) == []


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="shared memory is not seen as files here")
def test_shared_memory_of_a_task_that_is_ended_is_removed_by_multiprocessing_as_always(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    memory = Path("/dev/shm") / f"pyrotask-test-{os.getpid()}"
    try:
        with Node(broker.address, tasks) as node:
            broker.manager.addTaskRequest("share_memory", (rendezvous.port, memory.name))
            rendezvous.meet()
            assert memory.exists()
            node.supervisor.stop()
            assert node.supervisor.wait(PATIENCE_S)
            until(lambda: not memory.exists())
    finally:
        memory.unlink(missing_ok=True)


def test_a_task_that_reaches_its_limit_ends_with_its_child_and_is_no_crash(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks) as node:
        (pid,) = node.wait_until_ready()
        broker.manager.addTaskRequest("meet", (rendezvous.port,), time_limit=0.3)
        ended = node.wait_for("ended")
        assert (ended.pid, ended.in_order) == (pid, True)
        with pytest.raises(TaskRaisedException) as caught:
            broker.result()
        assert isinstance(caught.value.exception, TimeLimitExceeded)


def test_a_time_limit_of_decades_fits_and_one_of_centuries_harms_no_worker(
    broker: Broker, tasks: Path
) -> None:
    with Node(broker.address, tasks), Session(broker.address) as session:
        with pytest.raises(ValueError, match="at most"):
            session.submit("sqrt", 4.0, time_limit_s=1e10).result(PATIENCE_S)
        assert session.submit("sqrt", 9.0, time_limit_s=1e9).result(PATIENCE_S) == 3.0


# --- silence --------------------------------------------------------------------------------------


def test_a_task_that_holds_the_gil_keeps_its_lease(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    period_s = 0.3
    with Node(broker.address, tasks, count=2, period_s=period_s) as node:
        node.wait_until_ready()
        task = broker.manager.addTaskRequest("hold_gil", (rendezvous.port, 6 * period_s))
        meeting = rendezvous.meet()
        # Nobody else leases it, though the other child is idle: its first attempt answers.
        broker.manager.addTaskRequest("sqrt", (9.0,))
        assert broker.result() == 3.0
        assert broker.attempts(task) == 1
        assert broker.result() == meeting.pid


def test_the_result_of_a_stopped_child_counts_if_it_is_the_first_and_the_child_goes_on(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with (
        Node(broker.address, tasks, period_s=0.3) as one,
        Node(broker.address, tasks, period_s=0.3) as two,
    ):
        one.wait_until_ready()
        two.wait_until_ready()
        broker.manager.addTaskRequest("meet", (rendezvous.port,))
        first = rendezvous.meet()
        os.kill(first.pid, signal.SIGSTOP)
        second = rendezvous.meet()  # after four silent periods
        os.kill(first.pid, signal.SIGCONT)
        first.let_go()
        assert broker.result() == first.pid
        for _ in range(2):
            broker.manager.addTaskRequest("meet", (rendezvous.port,))
        both = [rendezvous.meet(), rendezvous.meet()]
        assert first.pid in {meeting.pid for meeting in both}
        assert second.pid not in {meeting.pid for meeting in both}, "it went on in vain"
        for meeting in both:
            meeting.let_go()


def test_stopping_and_continuing_a_child_is_told(broker: Broker, tasks: Path) -> None:
    with Node(broker.address, tasks) as node:
        (pid,) = node.wait_until_ready()
        os.kill(pid, signal.SIGSTOP)
        assert node.wait_for("stopped").pid == pid
        assert [child.state for child in node.supervisor.children] == ["stopped"]
        os.kill(pid, signal.SIGCONT)
        assert node.wait_for("continued").pid == pid


# --- broken connections -----------------------------------------------------------------------------


def test_a_task_goes_on_when_the_connection_breaks(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with closing_all() as closing:
        cable = closing(Cable(broker.port))
        with Node(cable.address, tasks) as node:
            node.wait_until_ready()
            task = broker.manager.addTaskRequest("meet", (rendezvous.port,))
            meeting = rendezvous.meet()
            cable.cut()
            cable.mend()
            meeting.let_go()
            assert broker.result() == meeting.pid
            assert task.startswith("meet")


def test_a_supervisor_whose_connection_broke_comes_back_and_keeps_the_tasks_of_its_children(
    tasks: Path, rendezvous: Rendezvous
) -> None:
    with closing_all() as closing:
        broker = closing(Broker(settings=Settings.load(reconnect_grace_s=20.0)))
        cable = closing(Cable(broker.port))
        with Node(cable.address, tasks, period_s=60.0) as node:
            node.wait_until_ready()
            task = broker.manager.addTaskRequest("meet", (rendezvous.port,))
            meeting = rendezvous.meet()
            before = connections_of_the_first_node(broker)
            cable.cut()
            cable.mend()
            until(lambda: connections_of_the_first_node(broker) not in (before, set()))
            assert (broker.state_of(task), broker.attempts(task)) == ("running", 1)
            meeting.let_go()
            assert broker.result() == meeting.pid


def connections_of_the_first_node(broker: Broker) -> set[int]:
    return set(broker.manager.broker.engine.machine.presence.nodes[NodeId(0)].connections)


def test_a_broker_that_is_away_and_one_that_is_back_are_told(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with closing_all() as closing:
        cable = closing(Cable(broker.port))
        with Node(cable.address, tasks) as node:
            node.wait_until_ready()
            task = broker.manager.addTaskRequest("meet", (rendezvous.port,))
            meeting = rendezvous.meet()
            cable.cut()
            assert f"broker {cable.address} is away; {task} goes on" in node.wait_for("broker lost").detail
            cable.mend()
            assert node.wait_for("broker found").detail == f"broker {cable.address} is back"
            meeting.let_go()
            assert broker.result() == meeting.pid


def test_a_result_is_handed_in_after_a_long_break(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with closing_all() as closing:
        cable = closing(Cable(broker.port))
        with Node(cable.address, tasks) as node:
            node.wait_until_ready()
            broker.manager.addTaskRequest("meet", (rendezvous.port,))
            meeting = rendezvous.meet()
            cable.cut()
            until(lambda: broker.manager.numberOfActiveProcesses() == 0)
            meeting.let_go()
            cable.mend()
            assert broker.result() == meeting.pid


def test_workers_go_on_with_a_new_broker_at_the_same_place(tasks: Path) -> None:
    with closing_all() as closing:
        first = Broker()
        try:
            with Node(first.address, tasks, count=2) as node:
                pids = set(node.wait_until_ready())
                first.close()
                second = closing(Broker(first.port))
                back_at = time.monotonic()
                for _ in range(2):
                    second.manager.addTaskRequest("pid", ())
                assert second.result() in pids
                print(f"\nwork goes on {time.monotonic() - back_at:.2f} s after a broker's return")
                assert second.result() in pids
        finally:
            first.close()


# --- ending ---------------------------------------------------------------------------------------


def test_draining_finishes_what_runs_and_takes_nothing_new(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks, count=2) as node:
        node.wait_until_ready()
        broker.manager.addTaskRequest("meet", (rendezvous.port,))
        meeting = rendezvous.meet()
        node.supervisor.drain()
        node.wait_for("ended")  # the idle child
        waiting = broker.manager.addTaskRequest("sqrt", (9.0,))
        meeting.let_go()
        assert node.supervisor.wait(PATIENCE_S)
        assert broker.result() == meeting.pid
        assert broker.state_of(waiting) == "waiting"
        assert broker.manager.numberOfActiveProcesses() == 0


def test_draining_finishes_what_runs_also_where_an_earlier_task_has_changed_what_the_signal_does(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks) as node:
        broker.manager.addTaskRequest("change_sigterm", ("SIG_DFL",))
        broker.result()
        broker.manager.addTaskRequest("meet", (rendezvous.port,))
        meeting = rendezvous.meet()
        node.supervisor.drain()
        node.wait_for("draining")
        meeting.let_go()
        assert node.wait_for("ended").tasks == ()
        assert broker.result() == meeting.pid


def test_an_idle_child_can_be_drained_also_where_a_task_has_had_it_ignore_the_signal(
    broker: Broker, tasks: Path
) -> None:
    settings = Settings.load(drain_timeout_s=2 * PATIENCE_S)
    with Node(broker.address, tasks, settings=settings) as node:
        broker.manager.addTaskRequest("change_sigterm", ("SIG_IGN",))
        broker.result()
        node.supervisor.drain()
        assert node.wait_for("ended").detail == "exit code 0"


def test_what_is_not_finished_in_time_after_a_drain_is_given_back(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    settings = Settings.load(drain_timeout_s=0.2)
    with Node(broker.address, tasks, settings=settings) as node:
        task = broker.manager.addTaskRequest("meet", (rendezvous.port,))
        rendezvous.meet()
        node.supervisor.drain()
        assert node.supervisor.wait(PATIENCE_S)
        assert (broker.state_of(task), broker.task(task).trouble) == ("waiting", None)


def test_stopping_gives_back_what_runs_without_blame(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks) as node:
        task = broker.manager.addTaskRequest("meet", (rendezvous.port,))
        meeting = rendezvous.meet()
        node.supervisor.stop()
        assert node.supervisor.wait(PATIENCE_S)
        assert wait_until_gone([meeting.pid]) == []
        assert (broker.state_of(task), broker.task(task).trouble) == ("waiting", None)


def test_draining_and_stopping_can_be_said_again(broker: Broker, tasks: Path) -> None:
    with Node(broker.address, tasks) as node:
        node.supervisor.drain()
        node.supervisor.drain()
        node.supervisor.stop()
        node.supervisor.stop()
        assert node.supervisor.wait(PATIENCE_S)
    node.supervisor.stop()


# --- not getting to work ------------------------------------------------------------------------------


def test_a_missing_module_ends_the_supervisor_with_the_childs_own_message(
    broker: Broker, tmp_path: Path
) -> None:
    with (
        Node(broker.address, tmp_path / "nowhere.py", count=2) as node,
        pytest.raises(HandlerError, match=r"there is no file .*nowhere\.py"),
    ):
        node.supervisor.wait(PATIENCE_S)


def test_a_module_without_handlers_is_told(broker: Broker, tmp_path: Path) -> None:
    module = tmp_path / "tasks_of_nothing.py"
    module.write_text("def helper(): ...\n")
    with Node(broker.address, module) as node, pytest.raises(HandlerError, match="there is no handler in"):
        node.supervisor.wait(PATIENCE_S)


def test_children_that_die_before_they_get_to_work_end_the_supervisor(broker: Broker, tmp_path: Path) -> None:
    module = tmp_path / "tasks_deadly.py"
    module.write_text("import os\nos._exit(9)\n")
    with Node(broker.address, module) as node, pytest.raises(HandlerError, match="exit code 9"):
        node.supervisor.wait(PATIENCE_S)


def test_a_module_that_is_spoiled_for_a_while_harms_no_child_that_works(
    broker: Broker, tasks: Path, rendezvous: Rendezvous
) -> None:
    with Node(broker.address, tasks, count=2) as node:
        node.wait_until_ready()
        broker.manager.addTaskRequest("meet", (rendezvous.port,))
        busy = rendezvous.meet()
        (idle,) = {child.pid for child in node.supervisor.children} - {busy.pid}
        tasks.write_text("def do_meet(:\n", encoding="utf-8")
        os.kill(idle, signal.SIGKILL)
        assert "SyntaxError" in node.wait_for("not started").detail
        tasks.write_text(TASKS, encoding="utf-8")
        assert node.wait_for("registered").pid not in {idle, busy.pid}
        busy.let_go()
        assert broker.result() == busy.pid


def test_without_a_broker_there_is_nothing_to_start(tasks: Path) -> None:
    with pytest.raises(BrokerNotFound, match="pyrotask"):
        Supervisor("no such label", 1, [str(tasks)]).start()


@pytest.mark.parametrize("count", [0, -1])
def test_a_worker_needs_a_child(count: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Supervisor("label", count, ["module"])
