"""`pyrotask worker`: processes that compute, and a supervisor that looks after them."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from pyrotask.cli import EXIT_INTERRUPTED
from pyrotask.cli.hints import with_near_labels
from pyrotask.cli.options import add_connecting, positive, seconds, settings_of
from pyrotask.cli.output import Output
from pyrotask.errors import BrokerNotFound

if TYPE_CHECKING:
    from pyrotask.config import Settings
    from pyrotask.worker.events import Event

HELP = "run worker processes for a broker"

DESCRIPTION = """\
Run processes that take tasks and compute them, until the broker is terminated. They take only
tasks that they have a handler for. One that dies is replaced, and its task is run again.
Ctrl-C or SIGTERM: finish what runs, then end; a second one: end now, others will run it."""

EXAMPLE = """\
examples:
  pyrotask worker pi -n 4 --module my_tasks
  pyrotask worker big:9091 -n 8 --module my_tasks --key-file ~/pi.key"""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument("broker", metavar="LABEL", help="the broker's label, or HOST:PORT")
    parser.add_argument(
        "-n", dest="count", metavar="N", type=positive, default=os.cpu_count() or 1,
        help="processes (default: one a core)",
    )  # fmt: skip
    parser.add_argument(
        "--module", dest="modules", metavar="MODULE", action="append", default=[],
        help="where the handlers are: a module, or a path like my_tasks.py; may be given again. Without "
        "one, only functions of Executors are run",
    )  # fmt: skip
    parser.add_argument(
        "--period", metavar="SECONDS", type=seconds, default=5.0,
        help="how often to tell the broker that they live (default: 5); after four silent ones they are lost",
    )  # fmt: skip
    parser.add_argument(
        "--wait", metavar="SECONDS", type=seconds, default=0.0,
        help="how long to wait for the broker, if it is not there yet (default: not at all)",
    )  # fmt: skip
    parser.add_argument("--tether", action="store_true", help="end when standard input is closed")
    add_connecting(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Work. Blocks until the broker is terminated, or a signal comes."""
    from pyrotask.remote.os_sockets import allow_many_sockets
    from pyrotask.worker.__main__ import tie_to_stdin
    from pyrotask.worker.signals import drain_at_signals
    from pyrotask.worker.supervisor import Supervisor

    settings, told = settings_of(args), Story(output)
    allow_many_sockets()  # each child takes some descriptors
    if args.wait:
        _wait_for(args.broker, args.wait, settings, output)
    output.outlive_readers()
    supervisor = Supervisor(
        args.broker,
        args.count,
        args.modules,
        settings=settings,
        period_s=args.period,
        on_event=told.take,
    )
    signals = drain_at_signals(supervisor)
    if args.tether:
        tie_to_stdin(supervisor)
    try:
        with with_near_labels(args.broker, settings):
            supervisor.start()
        processes = "1 worker process" if args.count == 1 else f"{args.count} worker processes"
        output.say(f"{processes} for {args.broker}; Ctrl-C: finish what runs, then end")
        supervisor.wait()
    finally:
        supervisor.stop()
    told.conclude(signals.count)
    return EXIT_INTERRUPTED if signals.count > 1 else 0


def _wait_for(broker: str, seconds: float, settings: Settings, output: Output) -> None:
    """Block until there is such a broker: in a batch job, say, where all starts at once."""
    from pyrotask.remote.bulk_proxy import BulkProxy

    with BulkProxy(broker, settings, connect=False) as looking:
        try:
            looking.connect()
        except BrokerNotFound:
            output.say(f"broker {broker} is not there yet: waiting for up to {seconds:g} s")
            looking.reconnect(seconds)


class Story:
    """Tells what happens to the children, a line for each event, and the sum at the end."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.started = 0
        self._has_worked = False
        self.died = 0
        self._overdue: set[int | None] = set()
        """Children that are ended for a task's time limit, or since nobody wants its answer."""
        self._not_handed_in: list[str] = []
        """Tasks that were running when their child was ended with us."""

    def take(self, event: Event) -> None:
        """Tell it."""
        self._output.document(
            {"event": event.kind, **{k: v for k, v in event._asdict().items() if k != "kind"}}
        )
        if event.kind == "started":
            self.started += 1
        elif event.kind == "registered":
            self._has_worked = True
        elif event.kind == "ended" and not event.in_order:
            self.died += 1
        elif event.kind in {"time limit", "in vain"}:
            self._overdue.add(event.pid)
        elif event.kind == "ended" and event.pid not in self._overdue:
            self._not_handed_in += event.tasks
        line = self._line(event)
        if line:
            self._output.say(line)

    def conclude(self, signals: int) -> None:
        """Tell the sum."""
        left = ", ".join(self._not_handed_in)
        why = (
            "the broker is terminated",
            "told to end" if left else "told to end, and all is handed in",
            "told to end at once",
        )
        given_back = f"; not handed in, for others to run: {left}" if left else ""
        self._output.say(
            f"ended: {why[min(signals, 2)]}{given_back}; processes started: {self.started}, died: {self.died}"
        )

    def _line(self, event: Event) -> str:
        who = (
            f"process {event.process} (pid {event.pid})" if event.process is not None else f"pid {event.pid}"
        )
        match event.kind:
            case "registered":
                return f"{who} works"
            case "ended" if event.in_order:
                return ""  # what ends as it should is counted at the end
            case "ended" if event.process is None and not self._has_worked:
                return ""  # nobody has worked yet: why not, is told once, as the command's error
            case "ended":
                with_it = f"; with it ended its attempt at {', '.join(event.tasks)}" if event.tasks else ""
                return f"{who} ended: {event.detail}{with_it}"
            case "time limit" | "in vain" | "stopped" | "continued":
                return f"{who}: {event.detail or event.kind}"
            case "broker lost" | "broker found" | "not started":
                return event.detail
            case "draining":
                return "finishing what runs; Ctrl-C again ends it at once"
            case _:
                return ""
