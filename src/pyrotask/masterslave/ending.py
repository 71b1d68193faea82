"""How a master waits for the end of its work when it shuts down.

It waits until nothing is unfinished; or nobody is there any more who could do it; or for as
long as the setting ``shutdown_timeout_s`` says. It needs no thread: while the interpreter ends,
none can be started.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pyrotask.core.explain import Explanation, Reason, explain
from pyrotask.core.model import Kind
from pyrotask.masterslave.telling import say, slave_command, stuck

if TYPE_CHECKING:
    from pyrotask.broker import Broker
    from pyrotask.config import Settings
    from pyrotask.core.machine import Machine
    from pyrotask.core.model import Nanoseconds
    from pyrotask.masterslave.launching import LaunchedSlaves

FIRST_LOOK_S, LONGEST_LOOK_S = 0.01, 0.25
"""How long between two looks: short work ends at once, and long work costs nothing."""

LEAVING_S = 2.0
"""How long idle slaves may take to leave once they were told that it is over."""


class _Work(NamedTuple):
    """What there is left to do, and who is there for it."""

    running: int
    waiting: int
    explanations: list[Explanation]
    any_slave_came: bool

    @property
    def is_done(self) -> bool:
        return self.running == 0 and self.waiting == 0

    @property
    def is_hopeless(self) -> bool:
        """Whether nobody is there for any of it."""
        return self.running == 0 and len(stuck(self.explanations)) == len(self.explanations)


class Ending:
    """Waits for the end of a master's work.

    Args:
        broker: the task manager's.
        label: the master's label, for what is said.
        launched: slaves that run but have not registered yet are worth waiting for.
        settings: the bounds.
    """

    def __init__(self, broker: Broker, label: str, launched: LaunchedSlaves, settings: Settings) -> None:
        self._broker = broker
        self._label = label
        self._launched = launched
        self._settings = settings

    def wait_for_work(self, in_a_hurry: Callable[[], bool]) -> None:
        """Block until there is nothing more to wait for. ``in_a_hurry`` is asked now and then."""
        began_at = hopeful_at = time.monotonic()
        told = False
        look_s = FIRST_LOOK_S
        while not in_a_hurry():
            work = self._look()
            now = time.monotonic()
            if work is None or work.is_done:
                return
            if not work.is_hopeless or self._is_somebody_starting(work):
                hopeful_at = now
            left_s = min(
                hopeful_at + self._patience_s(work) - now, began_at + self._settings.shutdown_timeout_s - now
            )
            if left_s <= 0:
                say(f"{self._label} ends with work undone: {self._undone(work)}")
                return
            if not told and now - hopeful_at > self._settings.explain_after_s:
                told = True
                say(f"{self._label} shuts down in {left_s:.0f} s unless somebody comes: {self._undone(work)}")
            time.sleep(min(look_s, left_s))
            look_s = min(2 * look_s, LONGEST_LOOK_S)

    def wait_for_slaves(self) -> None:
        """Block until every slave that has no task has left, `LEAVING_S` at most."""
        give_up_at = time.monotonic() + LEAVING_S
        while time.monotonic() < give_up_at:
            idle: bool | None = self._broker.call(_any_idle_worker)
            if not idle:
                return
            time.sleep(FIRST_LOOK_S)

    def _look(self) -> _Work | None:
        if self._broker.engine.watchdog.is_due_to_start:
            self._broker.engine.tick()  # the interpreter ends, and starts no thread for it any more
        work: _Work | None = self._broker.call(_work)
        return work

    def _is_somebody_starting(self, work: _Work) -> bool:
        nobody = all(e.reason is Reason.NO_WORKER for e in work.explanations)
        return nobody and bool(self._launched.alive)

    def _patience_s(self, work: _Work) -> float:
        """How long to hope: not long for those who were here and have gone."""
        gone = work.any_slave_came and all(e.reason is Reason.NO_WORKER for e in work.explanations)
        return self._settings.reconnect_grace_s if gone else self._settings.plain_grace_s

    def _undone(self, work: _Work) -> str:
        said = [e.sentence for e in work.explanations]
        if work.running:
            said.append(f"{work.running} {'task runs' if work.running == 1 else 'tasks run'}")
        if any(e.reason is Reason.NO_WORKER for e in work.explanations):
            said.append(f"start a slave with `{slave_command(self._label)}`")
        return "; ".join(said)


def _work(machine: Machine, now: Nanoseconds) -> _Work:
    state = machine.state
    running = sum(state.counts().running.values())
    asked = any(
        process.kind is Kind.WORKER or machine.presence.processes[process.id].asks
        for process in state.processes.values()
    )
    came = asked or state.next_process > len(state.processes)
    return _Work(running, state.unstarted, explain(machine, now), came)


def _any_idle_worker(machine: Machine, _now: Nanoseconds) -> bool:
    return any(p.kind is Kind.WORKER and not p.tasks for p in machine.state.processes.values())
