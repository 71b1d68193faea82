"""How far something is that takes long: a bar on a terminal, now and then a line elsewhere.

It goes to stderr, so that results can be piped; and not at all with ``--json`` or ``--quiet``.
What is done soon shows nothing.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from pyrotask.cli.output import Output

Show = Callable[[int], None]
"""Called with how much is done by now; cheap, so as often as one likes."""

MB = 1_000_000

BAR_AFTER_S = 0.5
LINE_EVERY_S = 5.0
"""Before the first of each, too: a log wants few lines."""


@contextlib.contextmanager
def progress(
    output: Output, what: str, total: int | None = None, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Show]:
    """Lend a function that shows how far it is.

    Args:
        output: whether, and to whom.
        what: what is counted, as in ``"tasks cancelled"``.
        total: how much there is in all; None: that is not known.
        clock: what time it is, in seconds.
    """
    if not output.for_people:
        yield lambda _done: None
    elif sys.stderr.isatty():
        bar = _Bar(what, total, clock)
        try:
            yield bar.show
        finally:
            bar.close()
    else:
        yield _Lines(what, total, clock).show


@contextlib.contextmanager
def reading(
    output: Output, journal: Path | None, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Show how far it is when this thread reads the journal in that folder; None: there is none."""
    if journal is None or not output.for_people:
        yield
        return
    from pyrotask.journal.folder import Folder
    from pyrotask.journal.watching import watched

    total_mb = Folder(journal).bytes_to_read() // MB
    shown_mb = -1
    with progress(output, "MB of the journal read", total_mb, clock=clock) as show:

        def on_read(read: int) -> None:
            nonlocal shown_mb
            if read // MB != shown_mb:
                shown_mb = read // MB
                show(shown_mb)

        with watched(on_read):
            yield


class _Bar:
    """A bar, drawn from the moment on when it is worth it, and gone at the end."""

    def __init__(self, what: str, total: int | None, clock: Callable[[], float]) -> None:
        self._what = what
        self._total = total
        self._clock = clock
        self._begin_at = clock() + BAR_AFTER_S
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def show(self, done: int) -> None:
        if self._progress is None:
            if self._clock() < self._begin_at:
                return
            self._progress = self._begun()
            self._task = self._progress.add_task(self._what, total=self._total)
        assert self._task is not None
        self._progress.update(self._task, completed=done)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _begun(self) -> Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        shown = Progress(*columns, console=Console(stderr=True), transient=True)
        shown.start()
        return shown


class _Lines:
    """A line now and then."""

    def __init__(self, what: str, total: int | None, clock: Callable[[], float]) -> None:
        self._what = what
        self._of = "" if total is None else f" of {total:,}"
        self._clock = clock
        self._next_at = clock() + LINE_EVERY_S

    def show(self, done: int) -> None:
        now = self._clock()
        if now >= self._next_at:
            self._next_at = now + LINE_EVERY_S
            print(f"{done:,}{self._of} {self._what}", file=sys.stderr, flush=True)
