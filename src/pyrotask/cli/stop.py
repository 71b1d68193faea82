"""`pyrotask stop`: terminate a broker."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from pyrotask.cli.ended import rest_of
from pyrotask.cli.hints import with_near_labels
from pyrotask.cli.options import add_connecting, settings_of
from pyrotask.cli.output import Output

HELP = "tell a broker that nothing more will be asked of it"

DESCRIPTION = """\
Terminate a broker: it takes no new tasks, and everybody who waits is told so at once. Its
workers end. What they compute at that moment is still handed in and can be collected;
`pyrotask serve` ends as soon as nothing is left to collect, after 30 s at the latest
(setting drain_timeout_s)."""

EXAMPLE = """\
example:
  pyrotask stop pi"""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument("broker", metavar="LABEL", help="its label, or HOST:PORT")
    add_connecting(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Terminate the broker. Blocks until it has said that it is."""
    from pyrotask.remote.bulk_proxy import BulkProxy

    settings = settings_of(args)
    with with_near_labels(args.broker, settings):
        proxy = BulkProxy(args.broker, settings)
    try:
        before = proxy.call("status")
        proxy.call("terminate")
    finally:
        proxy.close()
    label, tasks = before["label"], {state: sum(by_tag.values()) for state, by_tag in before["tasks"].items()}
    tasks["to_collect"] = before["to_collect"]
    already = before["terminated"]
    output.say(f"{label} {'was terminated already' if already else 'is terminated'}{_rest(tasks)}")
    if already:
        for line in list(rest_of(before, settings))[1:]:
            output.say(line)
    output.document({"label": label, "already": already, **tasks})
    return 0


def _rest(tasks: Mapping[str, int]) -> str:
    """Say what there was at that moment."""
    in_vain = " (not to be run any more)" if tasks["waiting"] else ""
    return (
        f"; tasks: {tasks['waiting']} waiting{in_vain}, {tasks['running']} running, "
        f"{tasks['to_collect']} not collected yet"
    )
