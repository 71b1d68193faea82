"""The process that runs tasks: it leases one, runs it in its main thread, and hands in.

A child is started by a supervisor, as ``python -m pyrotask.worker.child LABEL {...}``, and
ends with it. Its life::

    register -> exchange (hand in, lease) -> run -> exchange -> ...

Before a task runs, it is noted on the slate (`worker.begun`), and stays there until its result
was acknowledged: whatever happens to this process, its supervisor knows what it had begun.

When the connection breaks, the child keeps what it has in hand, finds the broker again, names
what it holds (`resume`), and goes on. At a broker of another lineage, numbers mean something
else: it registers anew and drops what it has.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from pyrotask.config import MIB, Settings
from pyrotask.errors import (
    AuthenticationFailed,
    ConnectError,
    HandlerError,
    KeyRequired,
    PyrotaskError,
    TaskManagerTermination,
    UnknownProcess,
    VersionMismatch,
)
from pyrotask.remote.proxy import FIRST_PAUSE_S, LONGEST_PAUSE_S, BulkProxy
from pyrotask.worker import running, tether
from pyrotask.worker.begun import Goodbye, Number, Slate
from pyrotask.worker.handlers import Handlers, working_directory_first

log = logging.getLogger("pyrotask.worker")

LEASES_AT_ONCE = 1
"""How many tasks a child asks for. Prefetching begins here: `Child._work` and the slate take
any number; what is missing is the choice of one (short tasks gain, long ones must not wait in
a busy child), and time limits that begin when a task does."""

PATIENCE_S = 60.0
"""How long one request for tasks stays with the broker."""

LATE_S = 30.0
"""How much later than that its answer may come before the connection counts as broken."""

TRIES = 3
"""How often a result is sent whose sending breaks the connection: another message size may
hold at the broker. A result below 1 MiB fits everywhere, and is sent for ever."""

ENVELOPE_BYTES = 4096
"""What a message has besides its payloads."""

NODE_PAUSE_S = 0.02
"""How often a child looks whether its supervisor has found the (new) broker."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a supervisor tells its child, through the command line."""

    where: str
    modules: tuple[str, ...]
    settings: Settings
    period_s: float
    info: str
    parent_pid: int
    slate: int
    """Descriptors that the child inherits, all three."""
    rope: int
    bell: int

    def command(self) -> list[str]:
        """The command that starts the child."""
        values = {name: getattr(self, name) for name in self.__slots__ if name not in ("where", "settings")}
        settings = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self.settings).items()
        }
        orders = json.dumps(values | {"settings": settings})
        return [sys.executable, "-m", "pyrotask.worker.child", self.where, orders]

    @classmethod
    def read(cls, where: str, orders: str) -> Self:
        """Read what `command` wrote."""
        values = json.loads(orders)
        settings = Settings(**values.pop("settings"))
        return cls(where, tuple(values.pop("modules")), settings, **values)


class _ToldToEndError(BaseException):
    """Raised by the signal handler where the child merely waits."""


class Child:
    """The child's work, in its main thread."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._slate = Slate(orders.slate)
        self._slate.close_descriptor()
        self._handlers = Handlers({})
        self._broker = BulkProxy(orders.where, orders.settings, connect=False)
        self._lineage = ""
        """Whose numbers our process and results have."""
        self._process: int | None = None
        self._results: list[running.Result] = []
        self._tries = 0
        self._pause_s = 0.0
        """Before the next reconnect: longer each time, while calls break that follow one at once."""
        self._draining = False
        self._may_be_interrupted = False

    def run(self) -> Goodbye:
        """Work until there is nothing more to do. Returns why."""
        signal.signal(signal.SIGTERM, self._drain)
        signal.signal(signal.SIGINT, self._drain)
        try:
            with self._interruptible():
                working_directory_first()
                self._handlers = Handlers.of_modules(self._orders.modules)
            self._resume()
            while not self._draining or self._results:
                self._work()
        except _ToldToEndError:
            pass
        except TaskManagerTermination:
            return Goodbye.TERMINATED
        return Goodbye.DRAINED

    def say_goodbye(self, goodbye: Goodbye, text: str = "") -> None:
        """Leave a last word for the supervisor."""
        self._slate.say_goodbye(goodbye, text)

    # --- the life of a child --------------------------------------------------------------------

    def _work(self) -> None:
        try:
            tasks = self._hand_in() if self._results else self._wait_for_tasks()
        except UnknownProcess as error:
            log.warning("%s", error)  # the results were taken all the same
            self._acknowledged()
            self._process = None
        except ConnectError as error:
            log.info("%s", error)
            self._resume()
        except (TypeError, ValueError) as error:
            if self._tries != 1:
                raise  # it is not for what the task has returned
            log.warning("the broker refused a result: %s", error)
            self._results = [running.not_handed_in(result, str(error)) for result in self._results]
        else:
            self._pause_s = 0.0
            for task in tasks:
                if self._draining:
                    break  # the supervisor unregisters us: what we hold is free again
                self._run(task)

    def _wait_for_tasks(self) -> list[running.Assigned]:
        with self._interruptible():
            reply = self._broker.call(
                "exchange",
                self._registered(),
                [],
                None,
                LEASES_AT_ONCE,
                PATIENCE_S,
                timeout_s=PATIENCE_S + LATE_S,
            )
        return [running.Assigned.from_wire(task) for task in reply["tasks"]]

    def _hand_in(self) -> list[running.Assigned]:
        """At once, without waiting for tasks: so it is known soon what was taken."""
        self._tries += 1
        results = [self._sendable(result) for result in self._results]
        count = 0 if self._draining else LEASES_AT_ONCE
        reply = self._broker.call("exchange", self._registered(), results, None, count, 0.0)
        for task, why in reply["refused"]:
            log.warning("the result of task %s was refused: %s", task, why)
        self._acknowledged()
        return [running.Assigned.from_wire(task) for task in reply["tasks"]]

    def _run(self, task: running.Assigned) -> None:
        limit_ns = None if task.time_limit_s is None else round(task.time_limit_s * 1e9)
        self._slate.begin(task.task, task.attempt, task.tag, time.monotonic_ns(), limit_ns)
        if limit_ns is not None:
            self._ring()
        self._results.append(running.run(task, self._handlers))
        self._slate.finish()

    def _acknowledged(self) -> None:
        self._results.clear()
        self._slate.clear()
        self._tries = 0

    def _sendable(self, result: running.Result) -> running.Result:
        """The result, or instead of one that no message can carry, an error that says so."""
        size, limit = running.size_of(result), self._orders.settings.max_message_bytes
        if size > limit - ENVELOPE_BYTES or (self._tries > TRIES and size > MIB):
            return running.too_large(result, size, limit)
        return result

    # --- the broker ---------------------------------------------------------------------------

    def _resume(self) -> None:
        """Find the broker, again, and go on where the connection broke."""
        with self._interruptible(unless=bool(self._results)):
            while True:
                time.sleep(self._pause_s)
                self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
                try:
                    self._broker.reconnect()
                    if self._broker.lineage != self._lineage:
                        self._lineage, self._process = self._broker.lineage, None
                        self._slate.process = None
                        self._acknowledged()
                    held = [result[:2] for result in self._results]
                    if self._process is not None and not self._broker.call("resume", self._process, held):
                        self._process = None
                except ConnectError as error:
                    if isinstance(error, (KeyRequired, AuthenticationFailed, VersionMismatch)):
                        raise HandlerError(str(error)) from error
                    log.info("%s", error)
                else:
                    return

    def _registered(self) -> int:
        """Our process number: registers if there is none."""
        if self._process is None:
            self._ring()  # our supervisor may not know yet that the broker is another one
        while self._process is None:
            node = self._slate.node
            if node is not None and node.lineage == self._lineage:
                try:
                    self._process = int(
                        self._broker.call(
                            "register_worker",
                            node.number,
                            self._orders.period_s,
                            f"{self._orders.info}, pid {os.getpid()}",
                            sorted(self._handlers),
                        )
                    )
                    self._slate.process = Number(self._lineage, self._process)
                    self._ring()
                    break
                except UnknownProcess as error:
                    log.info("%s", error)
            time.sleep(NODE_PAUSE_S)  # until our supervisor has registered (anew)
        return self._process

    # --- being told to end ------------------------------------------------------------------------

    def _drain(self, _signal: int, _frame: FrameType | None) -> None:
        self._draining = True
        if self._may_be_interrupted:
            self._may_be_interrupted = False
            raise _ToldToEndError

    @contextmanager
    def _interruptible(self, *, unless: bool = False) -> Iterator[None]:
        """While the child merely waits it may be told to end at once.

        What the broker hands out at that moment goes back to the front: the supervisor
        unregisters a child that has ended.
        """
        self._may_be_interrupted = not unless
        if self._draining and not unless:
            raise _ToldToEndError
        try:
            yield
        finally:
            self._may_be_interrupted = False

    def _ring(self) -> None:
        """There is something new on the slate that the supervisor should look at."""
        os.write(self._orders.bell, b"!")


def main(where: str, text: str) -> int:
    """Be a child. Returns the exit code."""
    orders = Orders.read(where, text)
    tether.die_with(orders.parent_pid)
    for descriptor in (orders.slate, orders.rope, orders.bell):
        os.set_inheritable(descriptor, False)
    tether.watch(orders.rope, tether.end_now)
    child = Child(orders)
    try:
        goodbye = child.run()
    except PyrotaskError as error:
        child.say_goodbye(Goodbye.CANNOT_WORK, str(error))
        return 1
    child.say_goodbye(goodbye)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
