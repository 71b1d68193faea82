"""Waits in the main thread, as a user's master does, and tells how that ended.

Usage: ctrl_c_waiting.py METHOD
"""

import sys
import threading
import time

from pyrotask.taskmanager import TaskManager

tm = TaskManager()


def waiting() -> int:
    return int(tm.broker.engine.execute(lambda m, _: len(m.task_wants) + len(m.result_wants)).reply)


def tell() -> None:
    while not waiting():
        time.sleep(0.001)
    print("waiting", flush=True)


threading.Thread(target=tell, daemon=True).start()
try:
    getattr(tm, sys.argv[1])()
except KeyboardInterrupt:
    print("interrupted,", waiting(), "wait", flush=True)
