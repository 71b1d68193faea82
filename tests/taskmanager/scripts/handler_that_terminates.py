"""A signal handler that terminates a manager that the main thread is using, many times over.

Usage: handler_that_terminates.py TIMES
"""

import os
import random
import signal
import sys
import threading
import time

from pyrotask.errors import TaskManagerTermination
from pyrotask.taskmanager import TaskManager

times = int(sys.argv[1])
tm = TaskManager()
signal.signal(signal.SIGTERM, lambda _signum, _frame: tm.terminate())


def send(after_s: float) -> None:
    time.sleep(after_s)
    os.kill(os.getpid(), signal.SIGTERM)


ended = 0
for _ in range(times):
    tm = TaskManager()
    helper = threading.Thread(target=send, args=(random.random() * 0.003,))
    helper.start()
    try:
        while True:
            tm.addTaskRequest("t", None)
            tm.storeResult(tm.getAnyTask()[0], None)
            tm.getAnyResult()
            if random.random() < 0.05:
                tm.getAnyResult()  # there is none: waits for the end
    except TaskManagerTermination:
        ended += 1
    helper.join()
print(f"{ended} of {times} ended by their handler")
sys.exit(0 if ended == times else 1)
