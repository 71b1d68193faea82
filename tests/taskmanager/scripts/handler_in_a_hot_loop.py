"""A signal handler that calls the manager, wherever the main thread is in it, many times over.

Usage: handler_in_a_hot_loop.py SIGNALS
"""

import contextlib
import os
import signal
import sys
import threading
import time

from pyrotask.core.invariants import check
from pyrotask.errors import TaskManagerTermination
from pyrotask.taskmanager import TaskManager

signals = int(sys.argv[1])
tm = TaskManager()
handled = answered = 0


def handler(_signum: int, _frame: object) -> None:
    global handled  # noqa: PLW0603 - a script
    number = handled + 1
    tm.addTaskRequest("from the handler", number)
    if number % 7 == 0:
        tm.getTaskWithTag("from the handler", timeout=0.0001)
    if number == signals:
        tm.terminate()
    handled = number


def send() -> None:
    for number in range(1, signals + 1):
        os.kill(os.getpid(), signal.SIGTERM)
        while handled < number:  # on a busy machine they would pile up, one handler in the other
            time.sleep(0)
        time.sleep(0.0005)


signal.signal(signal.SIGTERM, handler)
threading.Thread(target=send, daemon=True).start()
try:
    while True:
        task_id = tm.addTaskRequest("hot", None)
        tm.storeResult(tm.getTaskWithTag("hot")[0], None)
        tm.getResultWithTag("hot")
        answered += 1
        with contextlib.suppress(TimeoutError):
            tm.getResultWithTag("never", timeout=0.001)
except TaskManagerTermination:
    pass
signal.signal(signal.SIGTERM, signal.SIG_IGN)
tm.broker.call(lambda m, _: check(m))
waiting, running, _ = tm.numberOfTasks()
seen = waiting.get("from the handler", 0) + running.get("from the handler", 0)
print(f"{handled} signals handled, {answered} tasks answered meanwhile")
sys.exit(0 if seen == handled and answered else 1)
