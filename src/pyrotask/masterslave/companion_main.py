"""What a companion does: it beats until its slave's goodbye, or its death. See `companion`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from pyrotask.errors import PyrotaskError
from pyrotask.masterslave.companion import Orders
from pyrotask.masterslave.telling import about_this_process
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.worker.begun import Number, Slate
from pyrotask.worker.orders import read_inherited
from pyrotask.worker.reporter import Reporter

LOOK_S = 1.0
"""How often the companion looks whether the slave is still its parent, where nothing else tells."""

FAREWELL_S = 2.0
"""How long the last report may take."""

A_LONG_TIME_S = 1e9
"""The manager may be away for as long as it likes: the companion ends with its slave, not with that."""


class Watch:
    """The companion's own work.

    Raises:
        PyrotaskError: there is no manager. The slave was connected a moment ago, so it is over.
    """

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._slate = Slate(orders.slate)
        self._reporter = Reporter(
            BulkProxy(orders.where, orders.settings),
            orders.period_s,
            f"companion, {about_this_process()}",
            alive=self._alive,
            registered=self._registered,
            given_up=lambda _error: None,
            patience_s=A_LONG_TIME_S,
        )
        self._reporter.start()

    def run(self) -> None:
        """Be the companion, to the end."""
        if not self._wait_for_end():
            self._report_death()
        self._reporter.finish(FAREWELL_S)

    def _wait_for_end(self) -> bool:
        """Wait until the slave ends. False: it has died."""
        pipe, rope, exit_of_slave = sys.stdin.fileno(), self._orders.rope, _pidfd(self._orders.slave_pid)
        while True:
            watched = [fd for fd in (pipe, exit_of_slave, rope) if fd is not None]
            ready, _, _ = select.select(watched, [], [], LOOK_S if exit_of_slave is None else None)
            if pipe in ready:
                return bool(os.read(pipe, 1))
            if rope in ready:
                rope = None
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._orders.slave_pid, signal.SIGKILL)
            elif ready or os.getppid() != self._orders.slave_pid:
                return False

    def _report_death(self) -> None:
        process = self._slate.process
        if process is None:
            return
        begun = [task for task in self._slate.begun() if task.is_running]
        doing = f" while running {begun[0].story}" if begun else ""
        detail = f"slave process {self._orders.slave_pid} died{doing}"
        self._reporter.child_exited(process, [[task.task, task.attempt] for task in begun], detail)

    # --- called by the reporter, in its thread --------------------------------------------------

    def _registered(self, node: Number) -> None:
        self._slate.node = node

    def _alive(self) -> list[Number]:
        process = self._slate.process
        return [] if process is None or _is_stopped(self._orders.slave_pid) else [process]


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
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        state = listed.stdout.strip()
    return state[:1] in {"T", "t"}


def main(letter: int) -> int:
    """Be a companion. Returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # who ends is the slave, and we after it
    try:
        watch = Watch(Orders.from_json(read_inherited(letter)))
    except PyrotaskError:
        return 1
    watch.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[-1])))
