"""All commands as one argparse parser."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pyrotask
from pyrotask.cli import (
    cancel,
    demo,
    explain,
    forget,
    journal,
    results,
    retry,
    serve,
    status,
    stop,
    tasks,
    worker,
)
from pyrotask.cli import list as list_

COMMANDS = (
    serve,
    worker,
    status,
    tasks,
    explain,
    results,
    retry,
    cancel,
    forget,
    list_,
    stop,
    journal,
    demo,
)

DESCRIPTION = """\
A task broker for people who compute: a master script asks for tasks, compute
processes on any machine fetch them, the results come back, and nothing is lost
when one of them dies."""

EXAMPLE = """\
example, in three terminals:
  pyrotask serve pi                                 the broker, called pi
  pyrotask worker pi -n 4 --module my_tasks         four processes that compute
  python my_master.py                               pyrotask.connect("pi") asks, and collects

`pyrotask COMMAND --help` has an example for each command; `pyrotask demo` needs nothing."""


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line. The result has ``run``, ``json`` and ``quiet``, and the command's own.

    Raises:
        SystemExit: after ``--help`` and ``--version``; with code 2 for a wrong usage.
    """
    return build().parse_args(argv)


def build() -> argparse.ArgumentParser:
    """Return the parser, with all commands."""
    parser = argparse.ArgumentParser(
        prog="pyrotask",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pyrotask {pyrotask.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        one = commands.add_parser(
            name,
            help=command.HELP,
            description=command.DESCRIPTION,
            epilog=command.EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_to(one)
        how = one.add_argument_group("output")
        how.add_argument("--json", action="store_true", help="for programs: one JSON document, or one a line")
        how.add_argument("--quiet", action="store_true", help="nothing but errors; the exit code tells")
        one.set_defaults(run=command.run, command=name)
    return parser
