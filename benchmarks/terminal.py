"""What a run shows: a line while it goes on, if somebody is watching, and tables at its end."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Iterator

from benchmarks.results import Results
from benchmarks.runner import Step
from benchmarks.tables import Table, remarks, rounds_of, tables, versions

CLEAR = "\r\x1b[K"
WIDTH = 110


class Line:
    """One line on the terminal that tells how far it is; nothing anywhere else."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._is_watched = sys.stderr.isatty()

    def show(self, done: int, total: int, step: Step) -> None:
        if not self._is_watched:
            return
        passed = time.monotonic() - self._began
        left = f", about {clock(passed / done * (total - done))} to go" if done else ""
        text = (
            f"{done + 1} of {total}: round {step.round}, {step.name} with {step.system.title}"
            f" ({clock(passed)}{left})"
        )
        sys.stderr.write(CLEAR + text[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()

    def clear(self) -> None:
        if self._is_watched:
            sys.stderr.write(CLEAR)
            sys.stderr.flush()


def clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def print_results(results: Results) -> None:
    print("; ".join(f"{name}: {value}" for name, value in results.machine.items()))
    print(f"{rounds_of(results)}; {clock(results.seconds)} minutes in all.")
    for table in tables(results):
        print()
        print("\n".join(lines(table)))
    print()
    for text in (*remarks(results), *versions(results)):
        print(textwrap.fill(text, WIDTH, subsequent_indent="    "))


def lines(table: Table) -> Iterator[str]:
    """A table in columns; a long head takes several lines."""
    heads = [textwrap.wrap(head, 16) or [""] for head in table.head]
    height = max(map(len, heads))
    above = [
        [head[row - height + len(head)] if row >= height - len(head) else "" for head in heads]
        for row in range(height)
    ]
    rows = [*above, *table.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    yield table.title
    for number, row in enumerate(rows):
        if number == height:
            yield "  " + "  ".join("-" * width for width in widths)
        first, *others = zip(row, widths, strict=True)
        yield (
            "  " + "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)])
        ).rstrip()
    yield from table.notes
