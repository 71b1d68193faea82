"""How far a loop over answers has come: a bar on a terminal or in a notebook, else a line now and then.

It goes to stderr, so that a program's output stays what it is.
"""

from __future__ import annotations

import concurrent.futures
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from pyrotask.client.cell import CellBar, in_notebook

if TYPE_CHECKING:
    from concurrent.futures import Future

    from rich.console import Console

LINE_EVERY_S = 10.0
"""Where nothing can be drawn over: often enough to see that it lives, seldom enough for a log file."""

T = TypeVar("T")


def as_completed(
    futures: Iterable[Future[T]], timeout: float | None = None, *, progress: bool | str = False
) -> Iterator[Future[T]]:
    """The futures, each once, as they are done: as ``concurrent.futures.as_completed``, with a bar if wanted.

    Args:
        futures: of any executors and sessions.
        timeout: how many seconds from now all may take.
        progress: True, or the text before the bar.

    Raises:
        TimeoutError: not all were done in time.
    """
    wanted = set(futures)
    done = concurrent.futures.as_completed(wanted, timeout)
    return with_progress(done, len(wanted), progress) if progress else done


def with_progress(values: Iterable[T], total: int | None, text: bool | str) -> Iterator[T]:  # noqa: FBT001 - as given to `progress`
    """The same values, and a bar that shows how many there were. Drawn from the first one asked for on."""
    title = text if isinstance(text, str) else "done"
    with closing(_bar(title, total)) as bar:
        for value in values:
            bar.advance()
            yield value


def total_of(iterables: Iterable[Iterable[Any]]) -> int | None:
    """How many items there will be, if that is known before they are taken."""
    sizes = [len(one) if isinstance(one, Collection) else None for one in iterables]
    known = [size for size in sizes if size is not None]
    return min(known) if known and len(known) == len(sizes) else None


class _Lines:
    """A line every ten seconds, and one at the end."""

    def __init__(self, title: str, total: int | None) -> None:
        self._title, self._total = title, total
        self._count = 0
        self._began = self._told = time.monotonic()

    def advance(self) -> None:
        self._count += 1
        if time.monotonic() - self._told >= LINE_EVERY_S:
            self._tell()

    def close(self) -> None:
        self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        of = "" if self._total is None else f" of {self._total:,}"
        sys.stderr.write(f"{self._title}: {self._count:,}{of} in {self._told - self._began:.1f} s\n")
        sys.stderr.flush()


class _Drawn:
    """A bar, drawn by rich on a terminal."""

    def __init__(self, title: str, total: int | None, console: Console) -> None:
        from rich import progress  # noqa: PLC0415 - it takes 50 ms, and most programs need none

        self._progress = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task(title, total=total)
        self._progress.start()

    def advance(self) -> None:
        self._progress.advance(self._task)

    def close(self) -> None:
        self._progress.stop()


def _bar(title: str, total: int | None) -> _Lines | _Drawn | CellBar:
    if in_notebook():
        return CellBar(title, total)
    from rich.console import Console  # noqa: PLC0415 - as above

    console = Console(stderr=True)
    return _Drawn(title, total, console) if console.is_terminal else _Lines(title, total)
