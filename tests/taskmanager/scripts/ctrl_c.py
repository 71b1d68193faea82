"""SIGINT at the moment when an answer comes, many times over. Exits with 1 if one was lost.

Usage: ctrl_c.py getAnyResult|getAnyTask TRIALS
"""

import os
import random
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from pyrotask.taskmanager import TaskManager

method, trials = sys.argv[1], int(sys.argv[2])
tm = TaskManager()
interrupted = delivered = 0


def interrupt(_signum: int, frame: FrameType | None) -> None:
    # Not in this file: between "returned" and "assigned", no library can help.
    signalled.set()
    if frame is not None and frame.f_code.co_filename != __file__:
        raise KeyboardInterrupt


def meanwhile() -> None:
    """Bring the answer about, and the signal, in any order."""
    while not tm.broker.engine.execute(lambda m, _: len(m.task_wants) + len(m.result_wants)).reply:
        time.sleep(0)
    steps = [lambda: os.kill(os.getpid(), signal.SIGINT), bring]
    random.shuffle(steps)
    steps[0]()
    if random.random() < 0.8:
        time.sleep(random.random() * 300e-6)
    steps[1]()


def bring() -> None:
    if method == "getAnyTask":
        tm.addTaskRequest("t", trial)
    else:
        tm.storeResult(f"t_{trial}", trial)


signal.signal(signal.SIGINT, interrupt)
for trial in range(trials):
    signalled = threading.Event()
    if method == "getAnyResult":
        tm.addTaskRequest("t", trial)
        tm.getAnyTask()
    helper = threading.Thread(target=meanwhile)
    helper.start()
    answer: Any = None
    while True:
        try:
            answer = getattr(tm, method)()
            break
        except KeyboardInterrupt:
            interrupted += 1
            helper.join()
            break
    while helper.is_alive() or not signalled.is_set():
        time.sleep(0)
    if answer is None:
        try:
            answer = getattr(tm, method)(timeout=0)
        except TimeoutError:
            print(f"trial {trial}: lost")
            sys.exit(1)
    else:
        delivered += 1
    if answer[2] != trial:
        print(f"trial {trial}: {answer}")
        sys.exit(1)
    if method == "getAnyTask":
        tm.storeResult(answer[0], None)
        tm.getAnyResult()
if tm.numberOfTasks() != ({}, {}, {}):
    print("left behind:", tm.numberOfTasks())
    sys.exit(1)
print(f"{delivered} delivered, {interrupted} interrupted, none lost")
sys.exit(0 if interrupted and delivered else 2)
