"""What the tests of real workers are made of: a broker, nodes, and tasks that meet the test."""

from __future__ import annotations

import contextlib
import queue
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import psutil

from pyrotask.config import Settings
from pyrotask.core.model import Task, TaskNumber
from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager
from pyrotask.worker.events import Event
from pyrotask.worker.supervisor import Supervisor

PATIENCE_S = 30.0
"""How long a test waits for what must happen; a slow machine is no defect."""

TASKS = '''
import ctypes, os, signal, socket, subprocess, sys, threading, time

def do_sqrt(x):
    return x ** 0.5

def do_pid():
    return os.getpid()

def do_meet(port, then="return"):
    """Tell the test that it runs, and wait for the test."""
    with socket.create_connection(("127.0.0.1", port)) as meeting:
        meeting.sendall(b"%d\\n" % os.getpid())
        meeting.recv(1)
    return os.getpid()

def do_meet_if(port):
    """A short task, or one that meets the test."""
    return do_meet(port) if port else 0

def do_hold_gil(port, seconds):
    """Tell the test that it runs, and let no other thread run for some time."""
    with socket.create_connection(("127.0.0.1", port)) as meeting:
        meeting.sendall(b"%d\\n" % os.getpid())
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return os.getpid()

def do_exit(code):
    os._exit(code)

def do_complain_and_exit(text):
    print(text, file=sys.stderr)
    os._exit(1)

def do_large(size):
    return bytes(size)

def do_raise(text):
    raise ValueError(text)

def do_leave():
    sys.exit("a task cannot end its worker")

def do_change_sigterm(name):
    """Have the signal mean something else in this process: SIG_DFL or SIG_IGN."""
    signal.signal(signal.SIGTERM, getattr(signal, name))

def do_start_thread():
    """Start a thread that does not end."""
    threading.Thread(target=threading.Event().wait).start()

def do_share_memory(port, name):
    """Make shared memory, which is to go with its maker, and meet the test."""
    from multiprocessing.shared_memory import SharedMemory
    memory = SharedMemory(name, create=True, size=1)
    return do_meet(port)

def do_start_stubborn_process(port):
    """Start a process that ignores SIGTERM, and have it meet the test."""
    subprocess.Popen([sys.executable, "-c", f"""
import os, signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with socket.create_connection(("127.0.0.1", {port})) as meeting:
    meeting.sendall(b"%d\\\\n" % os.getpid())
time.sleep(600)
"""]).wait()

def do_start_process(port):
    """Start a process of its own, and meet the test."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with socket.create_connection(("127.0.0.1", port)) as meeting:
        meeting.sendall(b"%d\\n" % process.pid)
        meeting.recv(1)
'''


class Meeting:
    """A running task that has told its pid, and waits for us."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(PATIENCE_S)
        with connection.makefile("r") as lines:
            self.pid = int(lines.readline())

    def let_go(self) -> None:
        """Have the task return. Harmless if its process is gone."""
        with contextlib.suppress(OSError):
            self._connection.sendall(b"!")
        self.close()

    def close(self) -> None:
        self._connection.close()


class Rendezvous:
    """Where tasks meet the test."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)
        self.port: int = self._listener.getsockname()[1]
        self._meetings: list[Meeting] = []

    def meet(self) -> Meeting:
        """Wait for the next task."""
        connection, _ = self._listener.accept()
        meeting = Meeting(connection)
        self._meetings.append(meeting)
        return meeting

    def close(self) -> None:
        self._listener.close()
        for meeting in self._meetings:
            meeting.close()


class Broker:
    """A task manager and its server."""

    def __init__(self, port: int = 0, settings: Settings | None = None) -> None:
        self.manager = TaskManager(settings)
        self.server = Server(
            self.manager,
            "test broker",
            port=port,
            settings=settings,
            name_server="off",
            connection_file=False,
        )
        self.server.start()
        self.address = self.server.address
        self.port = self.server.port

    def close(self) -> None:
        self.server.stop()

    def result(self) -> Any:
        return self.manager.getAnyResult(timeout=PATIENCE_S)[2]

    def attempts(self, task_id: str) -> int:
        """How often an uncollected task was leased."""
        return self.task(task_id).attempt

    def task(self, task_id: str) -> Task:
        number = TaskNumber(int(task_id.rpartition("_")[2]))
        return cast("Task", self.manager.broker.call(lambda m, _now: m.state.tasks[number]))

    def state_of(self, task_id: str) -> str:
        return str(self.task(task_id).state.value)

    def late_answers(self) -> int:
        return self.manager.broker.call(lambda m, _now: m.state.late_answers) or 0


class Node:
    """A supervisor in the test's process, whose events can be waited for."""

    def __init__(self, where: str, module: Path, count: int = 1, **options: Any) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.supervisor = Supervisor(where, count, [str(module)], on_event=self._events.put, **options)
        self._count = count

    def __enter__(self) -> Self:
        self.supervisor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.supervisor.__exit__(kind, error, trace)

    def wait_for(self, kind: str) -> Event:
        """The next event of that kind."""
        until = time.monotonic() + PATIENCE_S
        while True:
            event = self._events.get(timeout=max(0.0, until - time.monotonic()))
            if event.kind == kind:
                return event

    def wait_until_ready(self) -> list[int]:
        """All first children have registered. Returns their pids."""
        return [self.wait_for("registered").pid or 0 for _ in range(self._count)]


class WorkerProcess:
    """``python -m pyrotask.worker`` as a process of its own, its events read line by line."""

    def __init__(self, where: str, *modules: str, count: int = 1, options: tuple[str, ...] = ()) -> None:
        command = [sys.executable, "-m", "pyrotask.worker", where, "-n", str(count), "--events", *options]
        for module in modules:
            command += ["--module", module]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, kind: str) -> list[str]:
        """The next event of that kind: kind, pid, process, detail."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            fields = line.rstrip("\n").split("\t")
            if fields[0] == kind:
                return fields
        raise AssertionError(f"the worker ended without {kind!r}: {self.process.communicate()[1]}")

    def wait_until_ready(self, count: int = 1) -> list[int]:
        """Its children have registered. Returns their pids."""
        return [int(self.wait_for("registered")[1]) for _ in range(count)]

    def end(self) -> tuple[int, str]:
        """Wait for its end. Returns its exit code and what it wrote to stderr."""
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, errors

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def closing_all() -> Iterator[Callable[[Any], Any]]:
    """Have whatever is handed over closed at the end, the last first."""
    with contextlib.ExitStack() as stack:

        def closing(thing: Any) -> Any:
            stack.callback(thing.close)
            return thing

        yield closing


def wait_until_gone(pids: list[int]) -> list[int]:
    """Wait for the end of these processes. Returns those that are still there."""
    until = time.monotonic() + PATIENCE_S
    while (left := [pid for pid in pids if _runs(pid)]) and time.monotonic() < until:
        time.sleep(0.002)  # they are not our children: nobody tells us
    return left


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
