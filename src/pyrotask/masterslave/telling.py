"""What a master or slave tells the person who started it: sentences on stderr."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyrotask.core.explain import Explanation, Reason, explain

if TYPE_CHECKING:
    from pyrotask.broker import Broker
    from pyrotask.core.machine import Machine
    from pyrotask.core.model import Nanoseconds

NEEDS_SOMEBODY = frozenset({Reason.NO_WORKER, Reason.NO_HANDLER, Reason.UNREADABLE})
"""Reasons to wait that do not end by themselves. Busy workers do, for example."""


def say(text: str) -> None:
    """Write a line to stderr, if there is one. Never raises."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # closed: nobody reads it
            sys.stderr.write(f"pyrotask: {text}\n")
            sys.stderr.flush()


def about_this_process() -> str:
    """What this process says about itself when it registers."""
    machine = f"{platform.system()} {platform.machine()}"
    return f"{socket.gethostname()} ({machine}), Python {platform.python_version()}, pid {os.getpid()}"


def slave_command(label: str, master_host: str | None = None, *, wait: bool = False) -> str:
    """The command that starts a slave of the master there; ``wait``: it may come before its master."""
    where = "" if master_host is None else f"-m {shlex.quote(master_host)} "
    return f"task_manager {where}{'-w ' if wait else ''}slave {shlex.quote(label)}"


class Waits:
    """Tells why a master waits, when that needs somebody to do something: once for each change."""

    def __init__(self, broker: Broker, label: str) -> None:
        self._broker = broker
        self._label = label
        self._told: frozenset[object] = frozenset()

    def tell(self) -> None:
        """Look, and say what is new."""
        seen: tuple[list[Explanation], int] | None = self._broker.call(_look)
        assert seen is not None  # that is for finalizers
        explanations, unfinished = seen
        reasons = stuck(explanations)
        new: frozenset[object] = frozenset((e.reason, e.tag, e.workers) for e in reasons)
        new |= {unfinished == 0}
        if new == self._told:
            return
        self._told = new
        for explanation in reasons:
            say(self._sentence(explanation))
        if unfinished == 0:
            say(f"{self._label} waits for a result, and no task waits or runs: none will come by itself")

    def _sentence(self, explanation: Explanation) -> str:
        if explanation.reason is Reason.NO_WORKER:
            return f"{explanation.sentence}: start one with `{slave_command(self._label)}`"
        return explanation.sentence


def _look(machine: Machine, now: Nanoseconds) -> tuple[list[Explanation], int]:
    """Why tasks wait, and how many are unfinished."""
    return explain(machine, now), machine.state.unstarted + sum(machine.state.counts().running.values())


def stuck(explanations: Sequence[Explanation]) -> list[Explanation]:
    """Those that do not end by themselves."""
    return [e for e in explanations if e.reason in NEEDS_SOMEBODY]
