"""`pyrotask tasks`: the tasks of a broker, and the stories of those that failed."""

from __future__ import annotations

import argparse
import itertools
import shlex
from collections.abc import Mapping, Sequence

from pyrotask.cli.hints import broker_of
from pyrotask.cli.options import add_connecting, positive, settings_of
from pyrotask.cli.output import Output
from pyrotask.cli.selecting import PAGE, PUBLIC, Task, add_selecting, chosen, each_task, id_of
from pyrotask.cli.stories import now_of, told

HELP = "list a broker's tasks, and what happened to those that failed"

DESCRIPTION = """\
List tasks in the order in which they were submitted, and for each that failed, what happened
in each attempt: which process ran it, and the exception, exit code or signal that ended it.

A task that succeeded is there until its answer has been collected, one that failed for a
session a day longer, and one with a key until it is forgotten."""

EXAMPLE = """\
examples:
  pyrotask tasks pi
  pyrotask tasks pi --state failed --tag sqrt
  pyrotask tasks pi --session friday --limit 1000
  pyrotask tasks pi --json                 all of them, one JSON document a line"""

LIMIT = 100
"""As many as a person reads."""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument(
        "broker", metavar="LABEL", nargs="?", help="its label, or HOST:PORT (default: the only one there is)"
    )
    add_selecting(parser)
    parser.add_argument(
        "--limit", metavar="N", type=positive, help=f"at most so many (default: {LIMIT}; with --json, all)"
    )
    add_connecting(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Print the list. An empty one is no failure; a task that was named and is not there is one."""
    most = args.limit or (None if output.json else LIMIT)
    with broker_of(args, settings_of(args)) as proxy:
        which = chosen(args, proxy)
        page = PAGE if most is None else min(PAGE, most + 1)
        found = each_task(proxy, which.which, page)
        if output.json:
            for task in itertools.islice(found, most):
                output.document({"id": id_of(task), **task})
        else:
            shown = list(itertools.islice(found, most))
            names = {0: PUBLIC, **{one["id"]: one["name"] for one in proxy.call("sessions")}}
            _show(shown, names, output, proxy.label, is_all=next(found, None) is None)
    for sentence in which.missing:
        output.warn(sentence)
    return 1 if which.missing else 0


def _show(
    tasks: Sequence[Task], sessions: Mapping[int, str], output: Output, label: str, *, is_all: bool
) -> None:
    if not tasks:
        output.say(f"{label} has no such task")
        return
    output.table(
        ("task", "state", "attempt", "session", "key", "now"),
        [
            (
                id_of(task),
                task["state"],
                task["attempt"],
                sessions.get(task["session"], f"number {task['session']}"),
                task["key"],
                now_of(task),
            )
            for task in tasks
        ],
    )
    if not is_all:
        output.say(
            f"... and more; `--limit N` shows them, `pyrotask status {shlex.quote(label)}` counts them"
        )
    failed = [task for task in tasks if task["state"] == "failed"]
    if failed:
        output.say("\nwhat happened to those that failed:")
        for task in failed:
            output.say("\n".join(f"  {line}" for line in told(task)))
        output.say(f"\nto run them again: pyrotask retry {shlex.quote(label)} --state failed")
