"""Ctrl-C at a chosen point."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from types import FrameType, FunctionType
from typing import Any


class Interruption:
    """A Ctrl-C at one of the points in our code where the interpreter looks for signals.

    Those are where a function of Python begins, and where one of C has returned.

    Args:
        point: at which one, counted from 0.
        also: functions of others whose points count, too.
        meanwhile: what others do at that moment.
    """

    def __init__(
        self,
        point: int,
        also: Iterable[Callable[..., Any]] = (),
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        self._left = point
        self._meanwhile = meanwhile
        self._also = {function.__code__ for function in also if isinstance(function, FunctionType)}
        self.has_come = False

    def __enter__(self) -> None:
        gc.disable()  # what earlier tests have left to it has finalizers, which are our code as well
        sys.setprofile(self._look)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _look(self, frame: FrameType, event: str, _what: object) -> None:
        is_ours = "pyrotask" in frame.f_globals["__name__"] or frame.f_code in self._also
        if event not in {"call", "c_return"} or not is_ours:
            return
        self._left -= 1
        if self._left < 0:
            sys.setprofile(None)
            self.has_come = True
            self._meanwhile()
            raise KeyboardInterrupt
