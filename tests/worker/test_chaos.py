"""Everything at once: whatever dies, stops or breaks, each task is answered once."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import pytest

from tests.cable import Cable
from tests.worker.nodes import Broker, Node

TASKS = 1200
NODES = 3
MISHAPS_EVERY_S = 0.15


class Chaos:
    """Does harm to nodes, until it is told to end."""

    def __init__(self, nodes: list[Node], cables: list[Cable], seed: int) -> None:
        self._nodes = nodes
        self._cables = cables
        self._random = random.Random(seed)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.done: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        mishaps: list[Callable[[], None]] = [self._kill, self._stop_for_a_while, self._cut_for_a_while]
        while not self._end.wait(MISHAPS_EVERY_S):
            mishap = self._random.choice(mishaps)
            self.done.append(mishap.__name__)
            mishap()

    def _child(self) -> int:
        children = [child.pid for node in self._nodes for child in node.supervisor.children]
        return self._random.choice(children) if children else 0

    def _kill(self) -> None:
        _send(self._child(), signal.SIGKILL)

    def _stop_for_a_while(self) -> None:
        child = self._child()
        _send(child, signal.SIGSTOP)
        self._end.wait(self._random.uniform(0.0, 1.0))
        _send(child, signal.SIGCONT)

    def _cut_for_a_while(self) -> None:
        cable = self._random.choice(self._cables)
        cable.cut()
        self._end.wait(self._random.uniform(0.0, 1.5))
        cable.mend()


def _send(pid: int, number: signal.Signals) -> None:
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_each_task_is_answered_once_whatever_happens(tmp_path: Path, seed: int) -> None:
    module = tmp_path / "tasks_of_chaos.py"
    module.write_text(
        "import time\n\ndef do_work(number, seconds):\n    time.sleep(seconds)\n    return number\n"
    )
    chance = random.Random(seed)
    with ExitStack() as stack:
        broker = Broker()
        stack.callback(broker.close)
        cables = [Cable(broker.port) for _ in range(NODES)]
        for cable in cables:
            stack.callback(cable.close)
        nodes = [stack.enter_context(Node(cable.address, module, count=2, period_s=0.5)) for cable in cables]
        for number in range(TASKS):
            # Two of three are short, so that they are leased in batches.
            seconds = 0.0 if number % 3 else chance.uniform(0.0, 0.1)
            broker.manager.addTaskRequest("work", (number, seconds))
        with Chaos(nodes, cables, seed) as chaos:
            answers = sorted(broker.result() for _ in range(TASKS))
        assert answers == list(range(TASKS))
        with pytest.raises(TimeoutError):
            broker.manager.getAnyResult(timeout=0)
        print(f"\n{len(chaos.done)} mishaps, {broker.late_answers()} late answers")
