"""`pyrotask retry`: start failed tasks anew."""

from __future__ import annotations

import argparse

from pyrotask.cli.intervening import Intervention, add_intervening, intervene
from pyrotask.cli.output import Output

HELP = "start tasks anew that failed or were cancelled"

DESCRIPTION = """\
Start those tasks anew that failed or were cancelled, with all their counters at zero. Their answer
is delivered once more. Left out are those whose answer is just on its way to somebody, and those
that need the value of a task that is gone."""

EXAMPLE = """\
examples:
  pyrotask retry pi --id sqrt_17
  pyrotask retry pi --state failed
  pyrotask retry pi --state failed --tag sqrt --dry-run"""

RETRY = Intervention("retry", "started anew", frozenset({"failed", "cancelled"}))


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    add_intervening(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Retry them."""
    return intervene(args, output, RETRY)
