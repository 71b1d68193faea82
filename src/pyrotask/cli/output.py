"""What a command says: lines and tables for people, JSON for programs, or nothing.

Results go to stdout, warnings and errors to stderr. On a terminal tables are drawn by rich;
elsewhere they are plain lines.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

Row = Sequence[object]


class Output:
    """Where a command says what it has to say.

    Args:
        json: say nothing but JSON, one document a line.
        quiet: say nothing but errors (and JSON, if that was asked for too).
    """

    def __init__(self, *, json: bool = False, quiet: bool = False) -> None:
        self.json = json
        self.quiet = quiet
        self._outlives_readers = False

    @property
    def for_people(self) -> bool:
        """Whether lines and tables are shown at all."""
        return not (self.json or self.quiet)

    @property
    def is_terminal(self) -> bool:
        """Whether people see it at once, and something may be drawn over."""
        return self.for_people and sys.stdout.isatty()

    def outlive_readers(self) -> None:
        """From now on, what cannot be written any more is no reason to end: others rely on this process.

        Who reads may be gone (``pyrotask serve pi | head``), and a disk with a log may be full.
        """
        self._outlives_readers = True

    def say(self, text: str = "") -> None:
        """Print a line (or several) for people."""
        if self.for_people:
            self._write(text, sys.stdout)

    def document(self, value: Mapping[str, object] | Sequence[object]) -> None:
        """Print a JSON document, on a line of its own, for programs."""
        if self.json:
            self._write(json.dumps(value, default=str), sys.stdout)

    def warn(self, text: str) -> None:
        """Print a warning on stderr."""
        if not self.quiet:
            self._write(f"pyrotask: {text}", sys.stderr)

    def error(self, error: BaseException) -> None:
        """Print an error on stderr: a line, or a JSON document."""
        text = _sentence(error)
        if self.json:
            text = json.dumps({"error": {"type": type(error).__name__, "message": text}})
        else:
            text = f"pyrotask: {text}"
        print(text, file=sys.stderr, flush=True)

    def table(self, columns: Sequence[str], rows: Sequence[Row], *, title: str = "") -> None:
        """Print a table for people. Numbers are set to the right, None is left empty."""
        if not self.for_people:
            return
        if self.is_terminal:
            _draw(columns, rows, title)
            return
        if title:
            print(f"{title}:")
        for line in lines_of(columns, rows):
            print(f"  {line}" if title else line)
        sys.stdout.flush()

    def _write(self, text: str, file: TextIO) -> None:
        try:
            print(text, file=file, flush=True)
        except OSError as error:
            if not self._outlives_readers:
                raise
            if isinstance(error, BrokenPipeError):
                forget(file)


def forget(file: TextIO) -> None:
    """Keep Python from trying once more, at exit, to write what nobody reads."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def lines_of(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Set a table as plain lines, the names of the columns first."""
    cells = [list(columns), *([_text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [_is_numeric(column) for column in zip(*rows, strict=True)] if rows else [False] * len(columns)
    return [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]


def duration(seconds: float) -> str:
    """Write a duration as people say it: ``0.3 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 10:  # noqa: PLR2004 - below, tenths matter
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, next_size, next_unit in _UNITS:
        if whole >= size:
            rest = whole % size // next_size
            return f"{whole // size} {unit}" + (f" {rest} {next_unit}" if rest else "")
    return f"{whole} s"


_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def _draw(columns: Sequence[str], rows: Sequence[Row], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    right = [_is_numeric(column) for column in zip(*rows, strict=True)] if rows else [False] * len(columns)
    for name, to_right in zip(columns, right, strict=True):
        table.add_column(name, justify="right" if to_right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_text(value)) for value in row))  # Text: a label is no markup
    Console().print(table)


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _is_numeric(column: Sequence[object]) -> bool:
    return all(value is None or isinstance(value, int | float) for value in column)


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.strerror}: {error.filename}"
    return str(error) or type(error).__name__
