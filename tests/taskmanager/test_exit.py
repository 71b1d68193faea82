"""How an interpreter ends that has a manager: by itself, at once, without a word."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time

import pytest

ENDS = {
    "with a manager that was not closed": """
        tm = TaskManager()
        tm.registerProcess(100.0)
        tm.addTaskRequest("t", 1)
    """,
    "with parked daemon threads": """
        tm = TaskManager()
        for get in (tm.getAnyTask, tm.getAnyResult, lambda: tm.getAnyTask(timeout=1000)):
            threading.Thread(target=get, daemon=True).start()
        while tm.broker.engine.execute(lambda m, _: len(m.task_wants) + len(m.result_wants)).reply < 3:
            time.sleep(0.001)
    """,
    "with daemon threads in full swing": """
        tm = TaskManager()
        def swing():
            while True:
                tm.addTaskRequest("t", 1)
                tm.storeResult(tm.getAnyTask()[0], 1)
                tm.getAnyResult()
        for _ in range(4):
            threading.Thread(target=swing, daemon=True).start()
        time.sleep(0.1)
    """,
    "with terminate in atexit": """
        tm = TaskManager()
        tm.registerProcess(100.0)
        atexit.register(tm.terminate)
        def slave():
            try:
                tm.getAnyTask()
            except Exception:
                pass
        threading.Thread(target=slave, daemon=True).start()
    """,
    "with everything in atexit": """
        tm = TaskManager()
        def last():
            tm.registerProcess(0.5)
            tm.addTaskRequest("t", 1)
            tm.storeResult(tm.getAnyTask()[0], 2)
            assert tm.getAnyResult() == ("t_0", "t", 2)
            try:
                tm.getAnyResult(timeout=0.01)
            except TimeoutError:
                tm.terminate()
                print("all done")
        atexit.register(last)
    """,
    "with a manager that is made in atexit": """
        def last():
            tm = TaskManager()
            tm.registerProcess(0.5)
            tm.addTaskRequest("t", 1)
            assert tm.getAnyTask() == ("t_0", "t", 1)
            print("all done")
        atexit.register(last)
    """,
    "with terminate in a finalizer of a module": """
        class Master:
            def __init__(self):
                self.task_manager = TaskManager()
                self.task_manager.registerProcess(100.0)
            def __del__(self):
                self.task_manager.terminate()
                self.task_manager.close()
        master = Master()
        master.myself = master
    """,
    "with terminate in a finalizer while daemon threads are in full swing": """
        class Master:
            def __init__(self):
                self.task_manager = TaskManager()
            def __del__(self):
                try:
                    self.task_manager.terminate()
                except RuntimeError:
                    pass
        master = Master()
        def swing(tm=master.task_manager):
            while True:
                tm.addTaskRequest("t", 1)
                tm.storeResult(tm.getAnyTask()[0], 1)
                tm.getAnyResult()
        for _ in range(4):
            threading.Thread(target=swing, daemon=True).start()
        time.sleep(0.1)
    """,
    "with a stock daemon and a waiting client": """
        import Pyro5.api
        tm = TaskManager()
        daemon = Pyro5.api.Daemon(host="127.0.0.1")
        uri = daemon.register(tm)
        threading.Thread(target=daemon.requestLoop, daemon=True).start()
        def client():
            with Pyro5.api.Proxy(uri) as proxy:
                proxy.getAnyTask()
        threading.Thread(target=client, daemon=True).start()
        while not tm.broker.engine.execute(lambda m, _: len(m.task_wants)).reply:
            time.sleep(0.001)
    """,
    "after sys.exit in the main thread": """
        tm = TaskManager()
        tm.registerProcess(100.0)
        threading.Thread(target=tm.getAnyTask, daemon=True).start()
        sys.exit(0)
    """,
    "after a thread that was no daemon has ended it all": """
        tm = TaskManager()
        threading.Thread(target=lambda: (time.sleep(0.1), tm.terminate())).start()
        atexit.register(lambda: tm.numberOfTasks())
    """,
}


@pytest.mark.parametrize("how", ENDS)
def test_the_interpreter_ends_by_itself(how: str) -> None:
    script = "import atexit, sys, threading, time\nfrom pyrotask.taskmanager import TaskManager\n"
    before = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script + textwrap.dedent(ENDS[how])],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    print(f"{time.monotonic() - before:.2f} s")
    assert (done.returncode, done.stderr) == (0, "")
    assert ("all done" in done.stdout) == ("all done" in ENDS[how])
