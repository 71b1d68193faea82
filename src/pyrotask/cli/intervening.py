"""What `cancel`, `retry` and `forget` have in common: to do it to all of a selection, and tell."""

from __future__ import annotations

import argparse
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pyrotask.cli.hints import broker_of
from pyrotask.cli.options import add_connecting, settings_of
from pyrotask.cli.output import Output
from pyrotask.cli.progress import progress
from pyrotask.cli.selecting import (
    PAGE,
    Chosen,
    add_selecting,
    chosen,
    each_task,
    id_of,
    require_selection,
)
from pyrotask.errors import ConnectError

if TYPE_CHECKING:
    from pyrotask.remote.bulk_proxy import BulkProxy

MOST_NUMBERS = 20
"""Numbers that are printed: more are for programs."""


class Intervention(NamedTuple):
    """One of the three."""

    call: str
    """The bulk call that does it."""
    done: str
    """As in ``3 tasks cancelled``."""
    states: frozenset[str]
    """It is done to those in these states only."""


def add_intervening(parser: argparse.ArgumentParser) -> None:
    """Add what all three take."""
    parser.add_argument(
        "broker", metavar="LABEL", nargs="?", help="its label, or HOST:PORT (default: the only one there is)"
    )
    add_selecting(parser)
    parser.add_argument("--dry-run", action="store_true", help="tell which it would be, and do nothing")
    add_connecting(parser)


def intervene(args: argparse.Namespace, output: Output, how: Intervention, *more: object) -> int:
    """Do it, page by page, and tell to how many.

    ``more`` are arguments of the bulk call. Fails if a task was named to which it was not done.
    """
    with broker_of(args, settings_of(args)) as proxy:
        which = chosen(args, proxy)
        require_selection(which, args)
        if args.dry_run:
            return _tell_of(proxy, which, output, how)
        done = list(_do(proxy, which, output, how, more))
    left = [task for number, task in which.tasks.items() if number not in set(done)]
    output.document(
        {
            "label": proxy.label,
            "done": how.done,
            "tasks": done,
            "left_out": [task["task"] for task in left],
            "missing": which.missing,
        }
    )
    output.say(_sentence(done, how))
    for sentence in which.missing:
        output.warn(sentence)
    for task in left:
        why = "already" if task["state"] == how.done else f"and is not {how.done}"
        output.warn(
            f"{id_of(task)} was {task['state']} {why}; all about it: "
            f"`pyrotask explain {shlex.quote(id_of(task))} {shlex.quote(proxy.label)}`"
        )
    return 1 if left or which.missing else 0


def _do(
    proxy: BulkProxy, which: Chosen, output: Output, how: Intervention, more: Sequence[object]
) -> Iterator[int]:
    number, after = 0, None
    with progress(output, f"tasks {how.done}", len(which.tasks) or None) as show:
        while True:
            try:
                reply = proxy.call(how.call, which.which, *more, PAGE, after)
            except ConnectError:
                output.warn(f"until then, {number} tasks were {how.done}; the same command goes on")
                raise
            yield from reply["tasks"]
            number += len(reply["tasks"])
            show(number)
            after = reply["next"]
            if after is None:
                return


def _tell_of(proxy: BulkProxy, which: Chosen, output: Output, how: Intervention) -> int:
    """Tell what would be done. The broker may leave out some more: only it knows who waits."""
    states = sorted(how.states & set(which.which.get("states", how.states)))
    found = list(each_task(proxy, {**which.which, "states": states}))
    output.document(
        {
            "label": proxy.label,
            "would_be": how.done,
            "tasks": [task["task"] for task in found],
            "dry_run": True,
        }
    )
    counts = Counter((task["tag"], task["state"]) for task in found)
    output.say(f"nothing was done. To be {how.done}, if nobody else needs them: {_counted(len(found))}")
    for (tag, state), number in sorted(counts.items()):
        output.say(f"  {number:,} tagged {tag}, {state}")
    for sentence in which.missing:
        output.warn(sentence)
    return 1 if which.missing else 0


def _sentence(done: Sequence[int], how: Intervention) -> str:
    if not done:
        return f"no task was {how.done}: none of these is {_or(how.states)}, or somebody needs it"
    shown = ", ".join(map(str, done[:MOST_NUMBERS]))
    more = f", and {len(done) - MOST_NUMBERS:,} more" if len(done) > MOST_NUMBERS else ""
    return f"{_counted(len(done))} {how.done}: {'number' if len(done) == 1 else 'numbers'} {shown}{more}"


def _counted(number: int) -> str:
    return "1 task" if number == 1 else f"{number:,} tasks"


def _or(states: frozenset[str]) -> str:
    *others, last = sorted(states)
    return f"{', '.join(others)} or {last}" if others else last
