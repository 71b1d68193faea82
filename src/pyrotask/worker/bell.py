"""How children call their supervisor: a pipe that all of them inherit, and ring by a byte."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Self


class Bell:
    """Rings for the supervisor, from the beginning of ``with`` to its end.

    Args:
        rung: called in a thread of the bell's own.

    Attributes:
        ring: the descriptor to inherit: whatever is written to it rings.
    """

    def __init__(self, rung: Callable[[], object]) -> None:
        self._rung = rung
        self._bell, self.ring = os.pipe()

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, name="pyrotask-bell", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.ring)

    def _listen(self) -> None:
        """Ends when nobody has the bell any more."""
        while os.read(self._bell, 4096):
            self._rung()
        os.close(self._bell)
