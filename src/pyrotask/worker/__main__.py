"""``python -m pyrotask.worker LABEL -n 4 --module my_tasks``: a supervisor and its children.

What ``pyrotask worker`` does, without its comforts: for scripts and schedulers that start
workers. Ends with 0 when it was drained or the task manager was terminated, with 1 when it
could not work; the reason stands on stderr.
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from collections.abc import Sequence

from pyrotask.config import Settings
from pyrotask.errors import PyrotaskError
from pyrotask.worker import tether
from pyrotask.worker.events import Event
from pyrotask.worker.signals import drain_at_signals
from pyrotask.worker.supervisor import Supervisor

LAST_RESORT_S = 5.0
"""After our parent has ended, how long an orderly end may take."""


def tie_to_stdin(supervisor: Supervisor) -> None:
    """Stop the supervisor, and end this process, when stdin ends: with whoever started us."""

    def ended() -> None:
        supervisor.stop()
        last_resort = threading.Timer(LAST_RESORT_S, tether.end_now)
        last_resort.daemon = True
        last_resort.start()

    tether.watch(sys.stdin.fileno(), ended)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a supervisor. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pyrotask.worker", description=__doc__)
    parser.add_argument("where", metavar="LABEL", help="the broker's label, or host:port")
    parser.add_argument("-n", "--count", type=int, default=None, help="children; default: one for each core")
    parser.add_argument("--module", action="append", default=[], help="where the handlers are; repeatable")
    parser.add_argument("--period", type=float, default=5.0, help="seconds between signs of life")
    parser.add_argument("--tether", action="store_true", help="end when stdin ends")
    parser.add_argument("--events", action="store_true", help="print what happens to the children")
    given = parser.parse_args(arguments)
    logging.basicConfig(format="pyrotask worker: %(message)s")
    try:
        supervisor = Supervisor(
            given.where,
            given.count,
            given.module,
            settings=Settings.load(),
            period_s=given.period,
            on_event=_print if given.events else None,
        )
        drain_at_signals(supervisor)
        if given.tether:
            tie_to_stdin(supervisor)
        supervisor.run()
    except (PyrotaskError, ValueError) as error:
        sys.stderr.write(f"pyrotask worker: {error}\n")
        return 1
    return 0


def _print(event: Event) -> None:
    pid, process = event.pid or "-", "-" if event.process is None else event.process
    sys.stdout.write(f"{event.kind}\t{pid}\t{process}\t{event.detail}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
