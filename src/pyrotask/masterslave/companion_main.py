"""What a companion does: it beats until its slave's goodbye, or its death. See `companion`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from pyrotask.errors import PyrotaskError, UnknownProcess
from pyrotask.masterslave.companion import Orders
from pyrotask.masterslave.telling import about_this_process
from pyrotask.remote.proxy import BulkProxy
from pyrotask.worker.begun import Number, Slate

BEATS_A_PERIOD = 2.5
"""More than two, so that one may be late."""

RETRY_S = 0.5
"""How soon a beat that did not get through is tried again."""


class Watch:
    """The companion's own work: it beats until the slave's goodbye, or its death."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._slate = Slate(orders.slate)
        self._way: BulkProxy | None = None
        self._node: Number | None = None
        self._slave_exits = _pidfd(orders.slave_pid)

    def run(self) -> None:
        """Be the companion, to the end; which is at once if there is no manager."""
        rope = self._orders.rope
        is_heard = self._beat()
        if not is_heard:
            return  # the slave was connected a moment ago, so it is over; it shall not wait for us
        while True:
            pause_s = self._orders.period_s / BEATS_A_PERIOD if is_heard else RETRY_S
            watched = [fd for fd in (sys.stdin.fileno(), self._slave_exits, rope) if fd is not None]
            ready, _, _ = select.select(watched, [], [], pause_s)
            if rope in ready:
                rope = None
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._orders.slave_pid, signal.SIGKILL)
            elif sys.stdin.fileno() in ready and os.read(sys.stdin.fileno(), 1):
                self._leave()
                return
            elif ready or os.getppid() != self._orders.slave_pid:
                self._report()
                self._leave()
                return
            is_heard = self._beat()

    def _beat(self) -> bool:
        try:
            way = self._connected()
            if self._node is None or self._node.lineage != way.lineage:
                self._register(way)
            assert self._node is not None
            try:
                way.call("beat", self._node.number, self._alive())
            except UnknownProcess:
                self._register(way)
        except (PyrotaskError, OSError):
            self._way = None
            return False  # the manager may come back; and if not, the slave ends, and we with it
        return True

    def _connected(self) -> BulkProxy:
        if self._way is None:
            self._way = BulkProxy(self._orders.where, self._orders.settings)
        return self._way

    def _register(self, way: BulkProxy) -> None:
        number = way.call("register_node", self._orders.period_s, f"companion, {about_this_process()}")
        self._node = self._slate.node = Number(way.lineage, number)

    def _alive(self) -> list[int]:
        process = self._slate.process
        assert self._node is not None
        if process is None or process.lineage != self._node.lineage or _is_stopped(self._orders.slave_pid):
            return []
        return [process.number]

    def _report(self) -> None:
        process = self._slate.process
        if process is None:
            return
        begun = [task for task in self._slate.begun() if task.is_running]
        doing = f" while running {begun[0].story}" if begun else ""
        detail = f"slave process {self._orders.slave_pid} died{doing}"
        with contextlib.suppress(PyrotaskError, OSError):
            self._connected().call(
                "child_exited", process.number, [[task.task, task.attempt] for task in begun], detail
            )

    def _leave(self) -> None:
        if self._node is not None:
            with contextlib.suppress(PyrotaskError, OSError):
                self._connected().call("unregister_node", self._node.number)


def _pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends, where there is such a thing.

    The pipe is not enough: a process that the slave has forked may hold it open.
    """
    try:
        return os.pidfd_open(pid)  # type: ignore[attr-defined,unused-ignore]
    except (AttributeError, OSError):
        return None


def _is_stopped(pid: int) -> bool:
    """Whether the process was stopped (SIGSTOP, Ctrl-Z): then it is alive, and does nothing."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        command = ["ps", "-o", "state=", "-p", str(pid)]
        listed = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        state = listed.stdout.strip()
    return state[:1] in {"T", "t"}


def main(text: str) -> int:
    """Be a companion. Returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # who ends is the slave, and we after it
    Watch(Orders.from_json(text)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
