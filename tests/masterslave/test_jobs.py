"""Scripts as users write them: both roles in a file, several jobs, odd labels, odd ends."""

from __future__ import annotations

import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from tests.masterslave.running import Running, script, started, task_manager, write
from tests.waiting import until

pytestmark = pytest.mark.slow

ONE_FILE = """
    import os, sys, time
    from pyrotask.masterslave import MasterProcess, SlaveProcess, runJob

    class Master(MasterProcess):
        def run(self):
            for i in range(4):
                self.requestTask("square", i)
            print("master sees", sorted(self.retrieveResult("square")[2] for _ in range(4)), flush=True)

    class Slave(SlaveProcess):
        def do_square(self, i):
            return i * i

    runJob({label}, Master, Slave, launch_slaves={slaves})
    print("the master goes on", flush=True)
"""


def one_file(label: str = '"a job"', slaves: int = 2) -> str:
    return ONE_FILE.format(label=label, slaves=slaves)


# --- runJob -----------------------------------------------------------------------------------------


def test_a_file_with_both_roles_runs_as_either(tmp_path: Path) -> None:
    with script(tmp_path, "job.py", one_file()) as running:
        assert running.end() == 0
    assert running.output == "master sees [0, 1, 4, 9]\nthe master goes on\n"


@pytest.mark.parametrize("label", ["msd_Sun_Nov_22_10:10:09_2026", "a job @ home", "é/ü %41 .. #?&"])
def test_labels_can_be_any_text(tmp_path: Path, label: str) -> None:
    job = script(tmp_path, "job.py", one_file(repr(label), slaves=0))
    with job as running, task_manager(tmp_path, "-w", "slave", label) as slave:
        assert running.end() == 0
        assert slave.end() == 0
    assert "master sees [0, 1, 4, 9]" in running.output


def test_a_label_that_is_made_of_the_time_means_the_same_job_in_the_slave(tmp_path: Path) -> None:
    with script(tmp_path, "job.py", one_file('f"job of {time.time()} {os.getpid()}"')) as running:
        assert running.end() == 0
    assert "master sees [0, 1, 4, 9]" in running.output


def test_a_script_can_have_several_jobs_one_after_the_other(tmp_path: Path) -> None:
    text = """
        import os
        from pyrotask.masterslave import MasterProcess, SlaveProcess, runJob

        class First(MasterProcess):
            tag = "first"
            def run(self):
                self.requestTask(self.tag)
                print(self.retrieveResult()[2], flush=True)

        class Second(First):
            tag = "second"

        class SlaveOfFirst(SlaveProcess):
            def do_first(self):
                return "one"

        class SlaveOfSecond(SlaveProcess):
            def do_second(self):
                return "two"

        runJob(f"1 {os.getpid()}", First, SlaveOfFirst, launch_slaves=1)
        runJob(f"2 {os.getpid()}", Second, SlaveOfSecond, launch_slaves=1)
    """
    with script(tmp_path, "jobs.py", text) as running:
        assert running.end() == 0
    assert running.output == "one\ntwo\n"


def test_slaves_run_in_the_masters_directory_and_find_its_modules_and_arguments(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "data").mkdir()
    write(tmp_path / "code", "helper.py", "def read(name):\n    return open(name).read()\n")
    write(tmp_path / "data", "input.txt", "42")
    text = """
        import sys
        import helper
        from pyrotask.masterslave import MasterProcess, SlaveProcess, runJob

        name = sys.argv[1]

        class Master(MasterProcess):
            def run(self):
                self.requestTask("read")
                print(self.retrieveResult())

        class Slave(SlaveProcess):
            def do_read(self):
                return helper.read(name)

        runJob("reading", Master, Slave, launch_slaves=1)
    """
    path = write(tmp_path / "code", "job.py", text)
    with started([sys.executable, path, "input.txt"], tmp_path / "data") as running:
        assert running.end() == 0
    assert running.output == "('read_0', 'read', '42')\n"


def test_a_task_error_shows_the_line_of_the_script(tmp_path: Path) -> None:
    text = """
        from pyrotask.masterslave import MasterProcess, SlaveProcess, TaskRaisedException, runJob

        class Master(MasterProcess):
            def run(self):
                self.requestTask("divide", 1, 0)
                try:
                    self.retrieveResult()
                except TaskRaisedException as error:
                    print(type(error.exception).__name__, error.task_id, error.traceback, flush=True)

        class Slave(SlaveProcess):
            def do_divide(self, a, b):
                return a / b  # here it is

        runJob("dividing", Master, Slave, launch_slaves=1)
    """
    with script(tmp_path, "job.py", text) as running:
        assert running.end() == 0
    assert "ZeroDivisionError divide_0" in running.output
    assert "return a / b  # here it is" in running.output


def test_launched_slaves_die_with_a_master_that_is_killed(tmp_path: Path) -> None:
    text = """
        import ctypes
        from pyrotask.masterslave import MasterProcess, SlaveProcess, runJob

        class Master(MasterProcess):
            def run(self):
                for _ in range(2):
                    self.requestTask("hold_the_gil")
                self.retrieveResult()

        class Slave(SlaveProcess):
            def do_hold_the_gil(self):
                print("holding", flush=True)
                ctypes.PyDLL(None).sleep(1000)

        runJob("killed", Master, Slave, launch_slaves=2)
    """
    with script(tmp_path, "job.py", text) as running:
        until(lambda: running.output.count("holding") == 2)
        below = psutil.Process(running.pid).children(recursive=True)
        assert len(below) == 4  # two slaves, each with a companion
        running.send(signal.SIGKILL)
        gone, alive = psutil.wait_procs(below, timeout=30)
        assert not alive, gone


DYING = """
    import os, signal
    from pyrotask.masterslave import MasterProcess, SlaveProcess, TaskRaisedException, runJob

    class Master(MasterProcess):
        def run(self):
            self.requestTask("die")
            self.retrieveResult()

    class Slave(SlaveProcess):
        def do_die(self):
            os.kill(os.getpid(), signal.SIGKILL)

    runJob("dying", Master, Slave, launch_slaves=1)
"""


def test_a_launched_slave_that_dies_is_told(tmp_path: Path) -> None:
    with script(tmp_path, "job.py", DYING, PYROTASK_EXPLAIN_AFTER_S="0.3") as running:
        running.wait_for("was killed by signal 9 (SIGKILL)")
        running.wait_for("1 task tagged die waits; no worker is registered")


def test_a_launched_slave_that_dies_leaves_no_zombie(tmp_path: Path) -> None:
    with script(tmp_path, "job.py", DYING) as running:
        running.wait_for("was killed by signal 9 (SIGKILL)")
        assert running.process.poll() is None
        until(lambda: not psutil.Process(running.pid).children())


# --- masters without a class --------------------------------------------------------------------------


def test_a_script_of_the_slaves_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        "slave.py",
        """
        from pyrotask.masterslave import startSlaveProcess
        def do_double(x):
            return 2 * x
        startSlaveProcess()
        """,
    )
    text = """
        from pyrotask.masterslave import initializeMasterProcess
        master = initializeMasterProcess("doubling", slave_script="slave.py")
        master.launchSlaveJobs(1)
        for i in range(3):
            master.requestTask("double", i)
        print([master.retrieveResult()[2] for _ in range(3)])
        master.shutdown()
    """
    with script(tmp_path, "master.py", text) as running:
        assert running.end() == 0
    assert running.output == "[0, 2, 4]\n"


def test_a_module_of_the_slaves_own(tmp_path: Path) -> None:
    write(tmp_path, "handlers.py", "def do_double(x):\n    return 2 * x\n")
    text = """
        from pyrotask.masterslave import initializeMasterProcess
        master = initializeMasterProcess("doubling", slave_module="handlers")
        master.launchSlaveJobs(1)
        master.requestTask("double", 21)
        print(master.retrieveResult("double"))
    """
    with script(tmp_path, "master.py", text) as running:
        assert running.end() == 0
    assert running.output == "('double_0', 'double', 42)\n"


def test_a_module_that_starts_the_slave_itself_starts_it_once(tmp_path: Path) -> None:
    module = """
        from pyrotask.masterslave import startSlaveProcess
        def do_double(x):
            return 2 * x
        startSlaveProcess()
        print("over", flush=True)
    """
    write(tmp_path, "handlers.py", module)
    text = """
        from pyrotask.masterslave import initializeMasterProcess
        master = initializeMasterProcess("doubling", slave_module="handlers")
        master.launchSlaveJobs(1)
        master.requestTask("double", 21)
        print(master.retrieveResult("double")[2], flush=True)
        master.shutdown()
    """
    with script(tmp_path, "master.py", text) as running:
        assert running.end() == 0
    assert running.output == "42\nover\n"


# --- ends ---------------------------------------------------------------------------------------------

MASTER = """
    import atexit, os, signal, sys, threading, time
    from pyrotask.masterslave import initializeMasterProcess
    master = initializeMasterProcess("ending", slave_module="handlers", use_name_server=False)
"""
HANDLERS = """
    import time
    def do_note(text):
        time.sleep(0.1)
        with open("notes.txt", "a") as file:
            file.write(text)
"""


def ending(folder: Path, rest: str, **env: str) -> AbstractContextManager[Running]:
    """A script with a master that ends in the way of ``rest``."""
    write(folder, "handlers.py", HANDLERS)
    indented = "".join(f"    {line}\n" for line in rest.splitlines())
    return script(folder, "master.py", MASTER + indented, **env)


def notes(folder: Path) -> int:
    return len((folder / "notes.txt").read_text())


def test_a_script_that_never_shuts_down_ends_when_its_tasks_are_done(tmp_path: Path) -> None:
    rest = "master.launchSlaveJobs(2)\nfor _ in range(5):\n    master.requestTask('note', 'x')\n"
    with ending(tmp_path, rest) as running:
        assert running.end() == 0
    assert (running.output, notes(tmp_path)) == ("", 5)


def test_a_script_that_does_nothing_ends(tmp_path: Path) -> None:
    with ending(tmp_path, "print('done')") as running:
        assert running.end() == 0
    assert running.output == "done\n"


@pytest.mark.parametrize(
    "rest",
    [
        "atexit.register(master.shutdown)",
        "master.shutdown()\natexit.register(master.shutdown)",
        "try:\n    pass\nfinally:\n    master.shutdown()\n    master.shutdown()",
        "class Owner:\n    def __del__(self):\n        master.shutdown()\nowner = Owner()",
        "class Owner:\n    def __del__(self):\n        master.shutdown()\nx = Owner()\nx.itself = x",
        "del master",
        "threading.Thread(target=master.shutdown).start()",
        "threading.Thread(target=master.retrieveResult, daemon=True).start()",
        "signal.signal(15, lambda *_: master.shutdown())\nos.kill(os.getpid(), 15)",
    ],
)
def test_a_script_ends_however_it_shuts_down(tmp_path: Path, rest: str) -> None:
    work = "master.launchSlaveJobs(1)\nmaster.requestTask('note', 'x')\n"
    with ending(tmp_path, work + rest) as running:
        assert running.end() == 0
    assert (running.output, notes(tmp_path)) == ("", 1)


def test_a_script_that_fails_ends_with_its_traceback(tmp_path: Path) -> None:
    with ending(tmp_path, "master.requestTask('note', 'x')\n1 / 0", PYROTASK_PLAIN_GRACE_S="0.3") as running:
        assert running.end() == 1
    assert "ZeroDivisionError" in running.output
    assert "ending ends with work undone: 1 task tagged note waits" in running.output


def test_ctrl_c_ends_a_script_at_once_whatever_is_waiting(tmp_path: Path) -> None:
    rest = "master.requestTask('note', 'x')\nprint('ready', flush=True)\nmaster.retrieveResult()"
    with ending(tmp_path, rest, PYROTASK_PLAIN_GRACE_S="1000") as running:
        running.wait_for("ready")
        running.send(signal.SIGINT)
        running.end()
    assert "KeyboardInterrupt" in running.output


def test_a_slave_that_comes_while_the_interpreter_ends_is_served(tmp_path: Path) -> None:
    rest = "for _ in range(3):\n    master.requestTask('note', 'x')\nprint('ready', flush=True)"
    with ending(tmp_path, rest) as running:
        running.wait_for("ready")
        with task_manager(tmp_path, "slave", "ending") as slave:
            assert slave.end() == 0
        assert running.end() == 0
    assert notes(tmp_path) == 3


def test_a_slave_that_is_killed_while_the_interpreter_ends_is_noticed(tmp_path: Path) -> None:
    handlers = "import time\ndef do_note(text):\n    print('noting', flush=True)\n    time.sleep(1000)\n"
    with ending(tmp_path, "master.requestTask('note', 'x')") as running:
        write(tmp_path, "handlers.py", handlers)
        with task_manager(tmp_path, "-w", "slave", "ending") as slave:
            slave.wait_for("noting")
            slave.send(signal.SIGKILL)
            assert running.end() == 0
    assert "ending ends with work undone: 1 task tagged note waits" in running.output


def test_a_forked_child_of_a_master_does_not_shut_it_down(tmp_path: Path) -> None:
    rest = "master.launchSlaveJobs(1)\nif os.fork() == 0:\n    sys.exit(0)\nos.wait()\n"
    rest += "master.requestTask('note', 'x')"
    with ending(tmp_path, rest) as running:
        assert running.end() == 0
    assert notes(tmp_path) == 1


def test_a_stale_label_is_taken_over(tmp_path: Path) -> None:
    with ending(tmp_path, "print('ready', flush=True)\ntime.sleep(1000)") as first:
        first.wait_for("ready")
        first.send(signal.SIGKILL)
        first.end()
        with ending(tmp_path, "print('mine')") as second:
            assert second.end() == 0
    assert second.output == "mine\n"


def test_a_label_that_a_live_master_holds_is_a_plain_error(tmp_path: Path) -> None:
    with ending(tmp_path, "print('ready', flush=True)\ntime.sleep(1000)") as first:
        first.wait_for("ready")
        with ending(tmp_path, "print('mine')") as second:
            assert second.end() == 1
    assert "LabelHeld" in second.output
    assert "'ending'" in second.output
