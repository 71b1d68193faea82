"""Ctrl-C and SIGTERM for a slave: it gives back what it has, says that it ends, and ends.

A signal is told from a task that raises `KeyboardInterrupt` by itself: the handler notes it.
Where the script has handlers of its own, they stay.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

_OWN = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
"""The handlers that Python begins with: these we replace."""


class Interrupted(BaseException):
    """Raised where the signal came, unless the slave is handing something in."""


class Interrupts:
    """Use it with ``with``. In another thread than the main one it does nothing: no signal comes there.

    Attributes:
        by: the signal that came, None: none.
        may_raise: whether a signal may end what is done at the moment: a task, or a wait.
    """

    def __init__(self) -> None:
        self.by: signal.Signals | None = None
        self.may_raise = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number, default in _OWN.items():
                if signal.getsignal(number) is default:
                    self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def raising(self, call: Callable[[], Any]) -> Any:
        """Call something that a signal may end."""
        self.may_raise = True
        try:
            if self.by is not None:
                raise Interrupted
            return call()
        finally:
            self.may_raise = False

    def end_as_told(self) -> None:
        """End as the signal would have, if one came: `KeyboardInterrupt`, or exit code 143."""
        if self.by is signal.SIGINT:
            raise KeyboardInterrupt
        if self.by is not None:
            raise SystemExit(128 + self.by)

    def _came(self, number: int, _frame: FrameType | None) -> None:
        self.by = signal.Signals(number)
        if self.may_raise:
            self.may_raise = False
            raise Interrupted
