"""The obvious task manager on Pyro5, for comparison: what one writes in an afternoon.

    python -m benchmarks.peers.naive_manager serve PORT
    python -m benchmarks.peers.naive_manager work PORT

An exposed class in a stock daemon (a thread for each connection, serializer serpent), a lock, a
condition for tasks and one for results, each call a remote call that waits in its thread. No
leases, no batches, nothing on disk. Its methods are named as those of pyrotask's reference API,
so that the same plain proxies can use both.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import threading
import time
from collections import deque
from typing import Any

import Pyro5.api
import Pyro5.errors
import serpent

from benchmarks import tasks
from benchmarks.pyro_speaker import PyroSpeaker

OBJECT = "naive"
MOST_CONNECTIONS = 4_000

STORED = "the value stored as"

Task = tuple[int, str, Any]


@Pyro5.api.expose
class TaskManager:
    """Tasks and results, first in, first out. Callers wait in their own threads."""

    def __init__(self) -> None:
        lock = threading.Lock()
        self._task_came, self._result_came = threading.Condition(lock), threading.Condition(lock)
        self._waiting: deque[Task] = deque()
        self._running: dict[int, Task] = {}
        self._finished: list[Task] = []
        self._data: dict[str, Any] = {}
        self._last = 0

    def addTaskRequest(self, tag: str, parameters: Any) -> int:
        with self._task_came:
            self._last += 1
            self._waiting.append((self._last, tag, parameters))
            self._task_came.notify_all()
            return self._last

    def getAnyTask(self) -> Task:
        with self._task_came:
            while not self._waiting:
                self._task_came.wait()
            task = self._waiting.popleft()
            self._running[task[0]] = task
            return task

    def storeResult(self, number: int, value: Any) -> None:
        with self._result_came:
            _, tag, _ = self._running.pop(number)
            self._finished.append((number, tag, value))
            self._result_came.notify_all()

    def getAnyResult(self) -> Task:
        with self._result_came:
            while not self._finished:
                self._result_came.wait()
            return self._finished.pop(0)

    def getResultWithTag(self, tag: str) -> tuple[int, Any]:
        with self._result_came:
            while True:
                for place, (number, its_tag, value) in enumerate(self._finished):
                    if its_tag == tag:
                        del self._finished[place]
                        return number, value
                self._result_came.wait()

    def storeData(self, label: str, value: Any) -> None:
        self._data[label] = value

    def retrieveData(self, label: str) -> Any:
        return self._data[label]


def stored(label: str) -> tuple[str, str]:
    """What stands for a stored value among a task's arguments."""
    return STORED, label


def packed(value: Any) -> bytes:
    """What serpent cannot carry, an array for example, goes as bytes."""
    return pickle.dumps(value, 5)


def unpacked(data: Any) -> Any:
    return pickle.loads(serpent.tobytes(data))


def work(port: int) -> None:
    """Run tasks until the connection breaks."""
    kept: dict[str, Any] = {}
    with Pyro5.api.Proxy(f"PYRO:{OBJECT}@127.0.0.1:{port}") as manager:

        def argument(value: Any) -> Any:
            if not (isinstance(value, tuple) and value[0] == STORED):
                return value
            label = value[1]
            if label not in kept:
                kept[label] = unpacked(manager.retrieveData(label))
            return kept[label]

        while True:
            number, tag, parameters = manager.getAnyTask()
            if isinstance(parameters, dict):  # serpent's way to carry bytes
                arguments = [argument(value) for value in unpacked(parameters)]
                value = packed(tasks.FUNCTIONS[tag](*arguments))
            else:
                value = tasks.FUNCTIONS[tag](*parameters)
            manager.storeResult(number, value)


class Speaker(PyroSpeaker):
    """The same as a worker of a swarm, for tasks with plain parameters."""

    def __init__(self) -> None:
        super().__init__(OBJECT, "serpent")
        self._asked = False

    def is_waiting(self) -> bool:
        return self._asked

    def connected(self) -> tuple[str, tuple[Any, ...]]:
        self._asked = True
        return "getAnyTask", ()

    def answered(self, value: Any) -> tuple[str, tuple[Any, ...]]:
        if value is None:  # of storeResult
            return "getAnyTask", ()
        number, tag, parameters = value
        return "storeResult", (number, tasks.FUNCTIONS[tag](*parameters))


def serve(port: int) -> None:
    Pyro5.config.THREADPOOL_SIZE = MOST_CONNECTIONS
    with Pyro5.api.Daemon(host="127.0.0.1", port=port) as daemon:
        daemon.register(TaskManager(), OBJECT)
        daemon.requestLoop()


def main() -> None:
    role, port = sys.argv[1], int(sys.argv[2])
    if role == "serve":
        serve(port)
    while True:
        with contextlib.suppress(Pyro5.errors.CommunicationError, OSError):
            work(port)
        time.sleep(0.05)  # it was killed, and comes back


if __name__ == "__main__":
    main()
