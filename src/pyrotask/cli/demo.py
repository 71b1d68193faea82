"""`pyrotask demo`: see it work, and survive a kill -9, without setting anything up."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pyrotask.cli.options import positive, settings_of
from pyrotask.cli.output import Output

if TYPE_CHECKING:
    from pyrotask.demo.master import Outcome

HELP = "see it work: needs nothing else, and takes half a minute"

DESCRIPTION = """\
Start a manager and workers on this machine, and measure every source file of Python's standard
library: parse it, count its tokens, find its most complex function. On the way one worker is
killed with kill -9 while it runs a task. At the end the results are shown, and what became of
that task. Fails if an answer is missing, or came twice. Nothing is left running."""

EXAMPLE = """\
examples:
  pyrotask demo
  pyrotask demo --workers 8 --tasks 500"""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument("--tasks", type=positive, metavar="N", help="measure so many files only")
    parser.add_argument(
        "--workers", type=positive, metavar="N", default=None, help="worker processes (default: one a core)"
    )


def run(args: argparse.Namespace, output: Output) -> int:
    """Run the demo. Blocks until all answers are there."""
    from pyrotask.demo import master, report

    files = master.source_files(args.tasks)
    workers = args.workers or max(2, os.cpu_count() or 2)
    output.say(f"{len(files):,} source files of Python's standard library, {workers} workers; Ctrl-C ends it")
    with _progress(len(files), output) as (show, tell):
        outcome = master.run(files, workers, settings_of(args), on_progress=show, on_news=tell)
    output.document(report.as_document(outcome))
    for table in report.tables(outcome):
        output.say()
        output.table(table.columns, table.rows, title=table.title)
    output.say()
    for line in report.story(outcome):
        output.say(line)
    return verdict(outcome, output)


def verdict(outcome: Outcome, output: Output) -> int:
    """Return the exit code for an outcome, and tell what is wrong with it."""
    if outcome.is_complete:
        return 0
    for problem in outcome.problems:
        output.warn(problem)
    return 1


@contextlib.contextmanager
def _progress(total: int, output: Output) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """Lend two functions: one shows how many tasks are done, one tells what happened."""
    if output.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("files"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns) as bar:
            task = bar.add_task("files", total=total)
            yield (
                lambda done: bar.update(task, completed=done),
                lambda news: bar.console.print(news, markup=False, highlight=False),
            )
        return
    tenths = -1

    def show(done: int) -> None:
        nonlocal tenths
        if (reached := done * 10 // total) > tenths:
            tenths = reached
            output.say(f"{done:>6,} of {total:,} files")

    yield show, output.say
