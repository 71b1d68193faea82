"""The supervisor's line to the broker: it beats for the children, and reports what became of them.

A thread of its own, with a connection of its own: whatever the network does, the supervisor
goes on looking after its children. Reports are sent in the order in which they were made. When
the connection breaks it finds the broker again, registers anew where that is needed, and goes
on; a report about numbers of another lineage is dropped, since they mean something else there.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from pyrotask.errors import ConnectError, Refused, UnknownProcess
from pyrotask.remote.bulk import BEAT_TELLS_WHAT_IS_IN_VAIN
from pyrotask.remote.bulk_proxy import FIRST_PAUSE_S, LONGEST_PAUSE_S, BulkProxy
from pyrotask.worker.begun import Number

log = logging.getLogger("pyrotask.worker")


LONGEST_BEAT_S = 1.0
"""The most between two beats, however long the promised period: a beat also tells which tasks
were cancelled."""


class _Word(enum.Enum):
    """What else is put into the inbox."""

    BEAT = "beat at once"
    END = "that was all"


class InVain(NamedTuple):
    """An attempt that nobody wants any more, and the child that makes it."""

    process: Number
    task: int
    attempt: int


class _Report(NamedTuple):
    lineage: str
    method: str
    arguments: tuple[object, ...]


class Reporter:
    """Keeps a node registered, and its children's signs of life going.

    Args:
        broker: connected; from `start` on it belongs to the reporter.
        period_s: what is promised; a beat is sent at least every half of it.
        info: what the broker shows about this node.
        alive: the children that run at this moment. Called in the reporter's thread.
        registered: called there with the number of the node, at each registration.
        given_up: called there when the broker is lost for good, with the reason.
        patience_s: how long a broker may be away before it is given up.
        in_vain: called there with attempts of the children that were cancelled, or answered by another.
        lost: called there when the broker is away, with the reason; not for a break that is over at once.
        found: called there when it is back.
    """

    def __init__(
        self,
        broker: BulkProxy,
        period_s: float,
        info: str,
        *,
        alive: Callable[[], Iterable[Number]],
        registered: Callable[[Number], None],
        given_up: Callable[[Exception], None],
        patience_s: float,
        in_vain: Callable[[list[InVain]], None] = lambda _attempts: None,
        lost: Callable[[ConnectError], None] = lambda _error: None,
        found: Callable[[], None] = lambda: None,
    ) -> None:
        self._broker = broker
        self._period_s = period_s
        self._info = info
        self._alive = alive
        self._in_vain = in_vain
        self._lost = lost
        self._found = found
        self._registered = registered
        self._given_up = given_up
        self._patience_s = patience_s
        self._call_timeout_s = max(5.0, period_s)
        self._node: Number | None = None
        self._beat_at = time.monotonic()
        self._inbox: queue.SimpleQueue[_Report | _Word] = queue.SimpleQueue()
        self._waking, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._is_asked_to_beat = False
        """A beat is in the inbox: many children may need one at the same moment."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pyrotask-reporter", daemon=True)

    def start(self) -> None:
        """Register the node, and start beating. Raises as the broker does."""
        self._register()
        self._thread.start()

    def child_exited(self, process: Number, begun: list[list[int]], detail: str) -> None:
        """A child has ended by itself, with this begun. Returns at once, as all reports do."""
        self._report(process, "child_exited", process.number, begun, detail)

    def child_left(self, process: Number) -> None:
        """A child has ended in order."""
        self._report(process, "unregister", process.number)

    def time_limit_reached(self, process: Number, task: int, attempt: int) -> None:
        """A child's task has run too long; the child will be killed."""
        self._report(process, "time_limit_reached", process.number, task, attempt)

    def give_back(self, node: Number, leases: list[tuple[int, int]]) -> None:
        """Children of the node will not begin these tasks: others may."""
        self._report(node, "give_back", node.number, leases)

    @property
    def can_give_back(self) -> bool:
        """Whether the broker knows that call: those of the first version of the interface do not."""
        return self._broker.wire >= BEAT_TELLS_WHAT_IS_IN_VAIN

    def beat_soon(self) -> None:
        """Beat at once, and find the broker again if it is gone."""
        if not self._is_asked_to_beat:
            self._is_asked_to_beat = True
            self._put(_Word.BEAT)

    def finish(self, timeout_s: float) -> None:
        """Send what is left, unregister the node, and end. Blocks for at most the timeout."""
        self._put(_Word.END)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        self._stop.set()
        if self._thread.ident is None:
            self._close()

    # --- its thread -------------------------------------------------------------------------------

    def _report(self, process: Number, method: str, *arguments: object) -> None:
        self._put(_Report(process.lineage, method, arguments))

    def _put(self, report: _Report | _Word) -> None:
        self._inbox.put(report)
        with contextlib.suppress(OSError):  # it is awake, or over
            self._wake.send(b"!")

    def _run(self) -> None:
        try:
            self._keep_beating()
            self._deliver(self._unregister)
        except Exception as error:  # noqa: BLE001 - the thread's outermost frame
            if not self._stop.is_set():
                self._given_up(error)
        finally:
            self._close()

    def _close(self) -> None:
        self._broker.close()
        self._waking.close()
        self._wake.close()

    def _keep_beating(self) -> None:
        while True:
            report = self._next()
            if report is _Word.END:
                return
            if isinstance(report, _Report):
                self._deliver(partial(self._send, report))
            else:
                self._is_asked_to_beat = False  # before the beat: whoever asks during it wants another
                self._beat_at = time.monotonic() + min(self._period_s / 2, LONGEST_BEAT_S)
                self._deliver(self._beat)

    def _next(self) -> _Report | _Word:
        while self._beat_at > time.monotonic():  # then it is time to beat, however many reports there are
            with contextlib.suppress(queue.Empty):
                return self._inbox.get_nowait()
            self._wait()
        return _Word.BEAT

    def _wait(self) -> None:
        """For a report, or the next beat; if the broker closes the connection, that is now.

        It gives us a second to come back, and our children with us: those that run a task do
        not see that they are disconnected.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._waking, selectors.EVENT_READ)
            selector.register(self._broker, selectors.EVENT_READ)
            ready = [key.fileobj for key, _ in selector.select(self._beat_at - time.monotonic())]
        if self._waking in ready:
            self._waking.recv(4096)
        if self._broker in ready:
            self._broker.close()
            self._beat_at = time.monotonic()

    def _deliver(self, send: Callable[[], None]) -> None:
        """Do it, however often the connection breaks: each of our messages may be repeated."""
        pause_s = 0.0
        while True:
            try:
                send()
                return
            except ConnectError as error:
                log.info("%s", error)
                self._stop.wait(pause_s)
                pause_s = min(max(FIRST_PAUSE_S, 2 * pause_s), LONGEST_PAUSE_S)
                self._find_broker()
                self._beat_at = time.monotonic()  # it may not know us any more

    def _find_broker(self) -> None:
        try:
            self._broker.connect()
        except ConnectError as error:
            self._lost(error)
            self._broker.reconnect(self._patience_s, self._stop)
            self._found()

    def _send(self, report: _Report) -> None:
        if report.lineage != self._broker.lineage:
            return
        try:
            self._broker.call(report.method, *report.arguments, timeout_s=self._call_timeout_s)
        except Refused as error:
            # It was lost or unregistered before, or the lease had ended: what we report is known.
            log.info("%s: %s", report.method, error)

    def _beat(self) -> None:
        node = self._node
        if node is None or node.lineage != self._broker.lineage:
            node = self._register()
        alive = [process.number for process in self._alive() if process.lineage == node.lineage]
        try:
            reply = self._broker.call("beat", node.number, alive, timeout_s=self._call_timeout_s)
        except UnknownProcess as error:
            log.warning("%s", error)
            self._node = None
            self._beat()
            return
        if self._broker.wire < BEAT_TELLS_WHAT_IS_IN_VAIN:
            return
        ended = [
            InVain(Number(node.lineage, process), task, tried) for process, task, tried in reply["ended"]
        ]
        if ended:
            self._in_vain(ended)

    def _register(self) -> Number:
        number = self._broker.call(
            "register_node", self._period_s, self._info, timeout_s=self._call_timeout_s
        )
        self._node = node = Number(self._broker.lineage, number)
        self._registered(node)
        return node

    def _unregister(self) -> None:
        if self._node is not None:
            self._send(_Report(self._node.lineage, "unregister_node", (self._node.number,)))
