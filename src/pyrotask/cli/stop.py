"""`pyrotask stop`: terminate a broker, and wait until it has gone."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pyrotask.cli.ended import end_of, rest_of
from pyrotask.cli.hints import with_near_labels
from pyrotask.cli.options import add_connecting, seconds_or_zero, settings_of
from pyrotask.cli.output import Output
from pyrotask.errors import PyrotaskError

if TYPE_CHECKING:
    from pyrotask.config import Settings
    from pyrotask.remote.bulk_proxy import BulkProxy

HELP = "tell a broker that nothing more will be asked of it"

DESCRIPTION = """\
Terminate a broker: it takes no new tasks, and everybody who waits is told so at once. Its
workers end. What they compute at that moment is still handed in and can be collected;
`pyrotask serve` ends as soon as nothing is left to collect, after 30 s at the latest
(setting drain_timeout_s). Then its label is free for another one, and this command returns.
Ctrl-C ends the wait only."""

EXAMPLE = """\
examples:
  pyrotask stop pi
  pyrotask stop pi && pyrotask serve pi
  pyrotask stop pi --timeout 0            tell it, and do not wait"""

SOON_S = 2.0
"""How long one that has nothing left may take to go: after that is told what keeps it."""

LATER_S = 5.0
"""How much longer than it should it may take to go."""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument("broker", metavar="LABEL", help="its label, or HOST:PORT")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=seconds_or_zero,
        help="how long to wait until its label is free; if it is not by then, the exit code is 1 (default: "
        "35 s, that is drain_timeout_s and 5 s; 0: do not wait)",
    )  # fmt: skip
    add_connecting(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Terminate the broker. Blocks until its label is free, or the timeout has passed."""
    from pyrotask.cli.leaving import Leaving
    from pyrotask.errors import LabelHeld
    from pyrotask.remote.bulk_proxy import BulkProxy

    settings = settings_of(args)
    timeout_s = settings.drain_timeout_s + LATER_S if args.timeout is None else args.timeout
    with with_near_labels(args.broker, settings):
        proxy = BulkProxy(args.broker, settings)
    with proxy:
        leaving = Leaving(proxy, settings)
        before = proxy.call("status")
        proxy.call("terminate")
        label, already = before["label"], before["terminated"]
        tasks = {state: sum(by_tag.values()) for state, by_tag in before["tasks"].items()}
        tasks["to_collect"] = before["to_collect"]
        output.say(f"{label} {'was terminated already' if already else 'is terminated'}{_rest(tasks)}")
        has_gone = leaving.wait(min(timeout_s, SOON_S))
        if not has_gone and (timeout_s or already):
            _tell_what_keeps_it(proxy, settings, output)
            has_gone = leaving.wait(timeout_s - SOON_S)
    output.document({"label": label, "already": already, **tasks, "has_gone": has_gone})
    if timeout_s and not has_gone:
        raise LabelHeld(
            f"{label} is terminated, and still has its label after {timeout_s:g} s; to end it now, and give "
            f"up what is not collected: {end_of(label, settings)}"
        )
    return 0


def _tell_what_keeps_it(proxy: BulkProxy, settings: Settings, output: Output) -> None:
    if output.for_people:
        with contextlib.suppress(PyrotaskError):  # it goes just now
            for line in list(rest_of(proxy.call("status"), settings))[1:]:
                output.say(line)


def _rest(tasks: Mapping[str, int]) -> str:
    """Say what there was at that moment."""
    in_vain = " (not to be run any more)" if tasks["waiting"] else ""
    return (
        f"; tasks: {tasks['waiting']} waiting{in_vain}, {tasks['running']} running, "
        f"{tasks['to_collect']} not collected yet"
    )
