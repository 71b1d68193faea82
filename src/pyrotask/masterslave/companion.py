"""The companion of a slave: a process of its own that is heard when the slave is not.

A task can keep its whole process from doing anything else, and for hours: so the slave's signs
of life are sent by this process, as a supervisor's are for its children. It also sees the
slave's end at once, however that ends, and tells the manager which task it had begun.

What the two share is a slate (`worker.begun`), and a pipe that the slave holds: a byte in it
is the slave's goodbye, and its end without one is the slave's death. When there is a rope, the
slave was started by a master in whose hand the other end is: then the slave ends with it.

Here is what the slave needs; what the companion does stands in `companion_main`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pyrotask.worker.orders import OrdersAsText, inheritable

if TYPE_CHECKING:
    from types import TracebackType

    from pyrotask.config import Settings
    from pyrotask.worker.begun import Slate

START_S = 10.0
"""How long the slave waits for its companion to be registered; then it starts without."""

LOOK_S = 0.01
"""How often it looks, meanwhile."""

REVIVE_S = 2.0
"""How long a companion must have been away from its start on before another one is tried."""

GOODBYE_S = 3.0
"""How long the companion may take to end after the goodbye."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders(OrdersAsText):
    """What the slave tells its companion."""

    where: str
    period_s: float
    slave_pid: int
    slate: int
    rope: int | None
    """Descriptors that the companion inherits."""


class Companion:
    """The slave's side: starts the process, and ends it. Use it with ``with``.

    Args:
        where: the manager, as `BulkProxy` takes it.
        period_s: the sign of life that the slave promises.
        slate: shared by the two; the companion notes its node there before this returns, if
            it can.
        rope: a descriptor that ends when the master does, if the slave shall end with it.
    """

    def __init__(
        self, where: str, period_s: float, slate: Slate, settings: Settings, rope: int | None = None
    ) -> None:
        self._orders = Orders(
            where=where,
            period_s=period_s,
            slave_pid=os.getpid(),
            slate=slate.descriptor,
            rope=rope,
            settings=settings,
        )
        self._process = self._start()
        self._started_at = time.monotonic()
        give_up_at = self._started_at + START_S
        while slate.node is None and self._process.poll() is None and time.monotonic() < give_up_at:
            time.sleep(LOOK_S)

    def revive(self) -> None:
        """Start another one, if it has died. Does not wait for it."""
        if self._process.poll() is not None and time.monotonic() > self._started_at + REVIVE_S:
            self._close_pipe()
            self._started_at = time.monotonic()
            self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        inherited = [self._orders.slate] + ([] if self._orders.rope is None else [self._orders.rope])
        with inheritable(self._orders.to_json()) as letter:
            command = [sys.executable, "-P", "-m", "pyrotask.masterslave.companion_main"]
            # A session of its own: Ctrl-C is for the slave, which ends in good order and says so.
            return subprocess.Popen(
                [*command, self._orders.where, str(letter)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[*inherited, letter],
                start_new_session=True,
            )

    def close(self) -> None:
        """Say goodbye, and wait for its end. Idempotent. Blocks for `GOODBYE_S` at most."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(b"!")
        self._close_pipe()
        try:
            self._process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _close_pipe(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # what is in it cannot be written any more
            self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
