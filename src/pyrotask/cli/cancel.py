"""`pyrotask cancel`: give tasks up."""

from __future__ import annotations

import argparse

from pyrotask.cli.intervening import Intervention, add_intervening, intervene
from pyrotask.cli.output import Output

HELP = "give up tasks that are not finished"

DESCRIPTION = """\
Cancel the unfinished tasks among those that are named. Whoever waits for their answers is told so,
what needs their values fails, and a worker that runs one is told when it next asks. A
cancelled task can be retried."""

EXAMPLE = """\
examples:
  pyrotask cancel pi --id sqrt_17 sqrt_18
  pyrotask cancel pi --tag sqrt --state waiting --dry-run
  pyrotask cancel pi --session friday --why "wrong input"\n"""

CANCEL = Intervention("cancel", "cancelled", frozenset({"scheduled", "waiting", "running"}))


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    add_intervening(parser)
    parser.add_argument(
        "--why",
        metavar="TEXT",
        default="by pyrotask cancel",
        help="what those are told who wait for an answer",
    )


def run(args: argparse.Namespace, output: Output) -> int:
    """Cancel them."""
    return intervene(args, output, CANCEL, args.why)
