"""`pyrotask explain`: why a task waits, who runs it, or what became of it."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from typing import Any

from pyrotask.cli.hints import broker_of
from pyrotask.cli.options import add_connecting, settings_of
from pyrotask.cli.output import Output
from pyrotask.cli.selecting import add_selecting_one, id_of, the_task
from pyrotask.cli.stories import told

HELP = "tell why a task waits, who runs it, or what became of it"

DESCRIPTION = """\
Tell all about one task: for one that waits, what it waits for; for one that runs, who has it,
and since when; for one that is finished, where its answer is; and for each, what happened in the
attempts before."""

EXAMPLE = """\
examples:
  pyrotask explain sqrt_17
  pyrotask explain sqrt_17 pi"""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    add_selecting_one(parser)
    parser.add_argument(
        "broker", metavar="LABEL", nargs="?", help="its label, or HOST:PORT (default: the only one there is)"
    )
    add_connecting(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Print it. Fails if there is no such task (any more)."""
    with broker_of(args, settings_of(args)) as proxy:
        the_task(args.task, proxy)
        explained = proxy.call("explain", args.task.number)
    task, why = explained["task"], explained["why"]
    output.document({"id": id_of(task), **task, "why": why})
    for line in told(task):
        output.say(line)
    output.say("now:")
    for sentence in why:
        output.say(f"  {sentence}")
    for command in _next(task, shlex.quote(proxy.label)):
        output.say(f"  {command}")
    return 0


def _next(task: dict[str, Any], label: str) -> Iterator[str]:
    """What one may want to type now."""
    named = f"{label} --id {shlex.quote(id_of(task))}"
    match task["state"]:
        case "failed" | "cancelled":
            yield f"to run it again: pyrotask retry {named}"
        case "waiting" | "scheduled" | "running":
            yield f"to give it up: pyrotask cancel {named}"
        case _:
            return
