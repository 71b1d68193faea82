"""Below a notebook's cell: whether there is one, and a bar in it.

The bar is one output that is replaced as it grows: it needs no widgets, and a saved notebook shows it
as it was at the end.
"""

from __future__ import annotations

import sys
import time
from html import escape
from typing import Any

DRAW_EVERY_S = 0.1
"""Each drawing is a message to the browser."""

WIDTH = 40
"""Characters of a bar where only text is shown."""


def in_notebook() -> bool:
    """Whether this program is the kernel of a notebook. Imports nothing."""
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return ask is not None and getattr(ask(), "kernel", None) is not None


class CellBar:
    """A progress bar below the cell that runs.

    Args:
        title: the text before it.
        total: how many there will be; None: unknown, and then there is a count only.
    """

    def __init__(self, title: str, total: int | None) -> None:
        from IPython import display  # noqa: PLC0415 - only where it is loaded already

        self._title, self._total = title, total
        self._count = 0
        self._began = self._drawn = time.monotonic()
        show: Any = display.display
        self._handle = show(self, display_id=True)

    def advance(self) -> None:
        """One more."""
        self._count += 1
        now = time.monotonic()
        if now - self._drawn >= DRAW_EVERY_S:
            self._drawn = now
            self._handle.update(self)

    def close(self) -> None:
        """Draw it for the last time."""
        self._handle.update(self)

    def __repr__(self) -> str:
        if not self._total:
            return self._text()
        full = round(WIDTH * min(1.0, self._count / self._total))
        return f"{self._text()} |{'█' * full}{' ' * (WIDTH - full)}|"

    def _repr_html_(self) -> str:
        """What IPython shows in a browser."""
        bar = (
            f' <progress value="{self._count}" max="{self._total}" style="width: 20em"></progress>'
            if self._total
            else ""
        )
        return f"<div>{escape(self._text())}{bar}</div>"

    def _text(self) -> str:
        seconds = time.monotonic() - self._began
        of = "" if self._total is None else f" of {self._total:,}"
        rest = ""
        if self._total and 0 < self._count < self._total:
            rest = f", about {seconds / self._count * (self._total - self._count):,.0f} s left"
        return f"{self._title}: {self._count:,}{of} in {seconds:,.1f} s{rest}"
