"""The process that runs tasks: it leases one, runs it in its main thread, and hands in.

A child is started by a supervisor, as ``python -m pyrotask.worker.child LABEL LETTER``, where the
letter is a descriptor with its `Orders`, and ends with it. Its life::

    register -> exchange (hand in, lease) -> run -> exchange -> ...

Before a task runs, it is noted on the slate (`worker.begun`), and stays there until its result
was acknowledged: whatever happens to this process, its supervisor knows what it had begun.

When the connection breaks, the child keeps what it has in hand, finds the broker again, names
what it holds (`resume`), and goes on. At a broker of another lineage, numbers mean something
else: it registers anew and drops what it has.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from types import FrameType

from pyrotask.arena import Arena, Recycling
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
from pyrotask.remote.bulk_proxy import FIRST_PAUSE_S, LONGEST_PAUSE_S, BulkProxy
from pyrotask.worker import running, tether
from pyrotask.worker.begun import Goodbye, Number, Slate
from pyrotask.worker.exchanges import MOMENT_S, Exchanges
from pyrotask.worker.functions import Functions, fetcher
from pyrotask.worker.handlers import Handlers, working_directory_first
from pyrotask.worker.orders import Orders, read_inherited
from pyrotask.worker.outbox import Outbox
from pyrotask.worker.pace import Pace
from pyrotask.worker.porter import Porter
from pyrotask.worker.tray import Tray

log = logging.getLogger("pyrotask.worker")

NODE_PAUSE_S = 0.02
"""How often a child looks whether its supervisor has found the (new) broker."""


class _ToldToEndError(BaseException):
    """Raised by the signal handler where the child merely waits."""


class Child:
    """The child's work, in its main thread."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._slate = Slate(orders.slate)
        self._slate.close_descriptor()
        self._tray = Tray(*orders.tray)
        self._handlers = Handlers({})
        self._arena = Arena(orders.settings.arena_bytes)
        self._broker = BulkProxy(
            orders.where, orders.settings, connect=False, arena=self._arena, recycling=Recycling()
        )
        self._lineage = ""
        """Whose numbers our process and results have."""
        self._process: int | None = None
        self._unbegun: deque[running.Assigned] = deque()
        """What was leased. Of several it is begun what is still in the tray."""
        self._is_batch = False
        self._outbox = Outbox(self._slate, orders.settings.max_message_bytes)
        self._exchanges = Exchanges(self._broker, self._outbox)
        self._has_waited = False
        """The last tasks had to be waited for: so the next will have to be."""
        self._porter = Porter(self._outbox, self._hand_in_meanwhile)
        self._pace = Pace()
        self._line = threading.Lock()
        """Held by whoever speaks to the broker; by the main thread, unless it runs a task."""
        self._pause_s = 0.0
        """Before the next reconnect: longer each time, while calls break that follow one at once."""
        self._draining = False
        self._may_be_interrupted = False

    def run(self) -> Goodbye:
        """Work until there is nothing more to do. Returns why."""
        try:
            with self._interruptible():
                working_directory_first()
                of_executors = Functions(fetcher(self._orders.where, self._orders.settings)).handlers()
                self._handlers = Handlers({**Handlers.of_modules(self._orders.modules), **of_executors})
            self._resume()
            while not self._draining or self._outbox:
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
        """The next task, or the next exchange."""
        if self._slate.is_draining and not self._draining:
            self._draining = True
            return
        if self._unbegun and not self._draining and not self._outbox.is_due(time.monotonic_ns()):
            self._run_next()
            return
        try:
            with self._line:
                tasks = self._ask()
        except UnknownProcess as error:
            log.warning("%s", error)
            self._process = None
            self._drop_unbegun()
        except ConnectError as error:
            log.info("%s", error)
            with self._line:
                self._resume()
        else:
            self._pause_s = 0.0
            if tasks:
                self._take_on(tasks)

    def _take_on(self, tasks: list[running.Assigned]) -> None:
        self._unbegun.extend(tasks)
        self._is_batch = len(tasks) > 1
        if self._is_batch:
            self._tray.put((task.task, task.attempt) for task in tasks)
            self._porter.be_awake()
            if not self._slate.is_watched:
                self._ring()

    def _run_next(self) -> None:
        task = self._unbegun.popleft()
        if self._is_batch and self._tray.take() is None:
            self._exchanges.recalled = [running.not_begun(left) for left in (task, *self._unbegun)]
            self._unbegun.clear()
            return
        limit_ns = None if task.time_limit_s is None else round(task.time_limit_s * 1e9)
        began_at_ns = time.monotonic_ns()
        self._slate.begin(task.task, task.attempt, task.tag, began_at_ns, limit_ns)
        if limit_ns is not None:
            self._ring()
        result = running.run(task, self._handlers, self._arena.keep)
        ended_at_ns = time.monotonic_ns()
        self._slate.finish()
        self._outbox.add(result, ended_at_ns)
        self._pace.ran(task.tag, ended_at_ns - began_at_ns)

    def _drop_unbegun(self) -> None:
        """What was leased is not ours any more."""
        self._unbegun.clear()
        self._exchanges.recalled = []
        self._tray.take_all()

    def _ask(self) -> list[running.Assigned]:
        """Hand in what there is, and ask for tasks."""
        process, exchanges = self._registered(), self._exchanges
        may_have_more = not self._unbegun and not self._draining and self._outbox.is_one_portion
        if not may_have_more:
            return exchanges.hand_in(process, 0)
        ran, waited = self._pace.report(), self._has_waited
        count = self._pace.count
        self._has_waited = not self._outbox and not exchanges.recalled
        if self._has_waited:
            with self._interruptible():
                return exchanges.wait(process, count, ran)
        if waited and not exchanges.recalled:
            self._has_waited = True
            return exchanges.hand_in(process, count, ran, MOMENT_S)
        return exchanges.hand_in(process, count, ran)

    def _hand_in_meanwhile(self) -> None:
        """In the porter's thread, while the main thread runs a task."""
        if self._process is None or not self._line.acquire(blocking=False):
            return
        try:
            self._exchanges.hand_in(self._process, 0)
        except (UnknownProcess, ConnectError) as error:
            log.info("%s", error)  # the main thread will come to it
        finally:
            self._line.release()

    # --- the broker ---------------------------------------------------------------------------

    def _resume(self) -> None:
        """Find the broker, again, and go on where the connection broke."""
        with self._interruptible(unless=bool(self._outbox)):
            while True:
                time.sleep(self._pause_s)
                self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
                try:
                    self._broker.reconnect()
                    if self._broker.lineage != self._lineage:
                        self._lineage, self._process = self._broker.lineage, None
                        self._slate.process = None
                        self._outbox.clear()
                        self._drop_unbegun()
                    unbegun = [[task.task, task.attempt] for task in self._unbegun]
                    held = [*self._outbox.held(), *unbegun]
                    if self._process is not None and not self._broker.call("resume", self._process, held):
                        self._process = None
                        self._drop_unbegun()
                    self._exchanges.recalled = []
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

    @contextlib.contextmanager
    def _interruptible(self, *, unless: bool = False) -> Iterator[None]:
        """While the child merely waits it may be told to end at once.

        What the broker hands out at that moment goes back to the front: the supervisor
        unregisters a child that has ended.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._drain)  # a task may have changed what they do
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


def main(letter: int) -> int:
    """Be a child. Returns the exit code."""
    orders = Orders.from_json(read_inherited(letter))
    tether.die_with(orders.parent_pid)
    for descriptor in (orders.slate, orders.rope, orders.bell):
        os.set_inheritable(descriptor, False)
    tether.watch(orders.rope, tether.end_now)
    child = Child(orders)
    code = 1
    try:
        child.say_goodbye(child.run())
        code = 0
    except PyrotaskError as error:
        child.say_goodbye(Goodbye.CANNOT_WORK, str(error))
    finally:
        _end_for_sure(code, orders.settings.drain_timeout_s)
    return code


def _end_for_sure(code: int, timeout_s: float) -> None:
    """This process ends after that, also if the interpreter still waits for a thread that a task has left."""
    last_resort = threading.Timer(min(timeout_s, threading.TIMEOUT_MAX), os._exit, (code,))
    last_resort.daemon = True
    with contextlib.suppress(RuntimeError):  # the system has no thread for us
        last_resort.start()
    running.flush_printed()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[-1])))
