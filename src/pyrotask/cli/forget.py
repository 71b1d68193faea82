"""`pyrotask forget`: drop finished tasks, with their answers."""

from __future__ import annotations

import argparse

from pyrotask.cli.intervening import Intervention, add_intervening, intervene
from pyrotask.cli.output import Output

HELP = "drop finished tasks, with their answers, keys and stories"

DESCRIPTION = """\
Drop finished tasks for good, so that their keys can be used anew and the broker's memory is free.
Left out are those whose answer a session waits for, or whose value an unfinished task needs. Answers
that belong to no session (those of plain Pyro masters) are dropped whether they were collected or not."""

EXAMPLE = """\
examples:
  pyrotask forget pi --key grid-7
  pyrotask forget pi --state failed
  pyrotask forget pi --tag sqrt --state succeeded --dry-run"""

FORGET = Intervention("forget", "forgotten", frozenset({"succeeded", "failed", "cancelled"}))


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    add_intervening(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Forget them."""
    return intervene(args, output, FORGET)
