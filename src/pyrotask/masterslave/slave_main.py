"""Be a slave of the master with a label: get its code, and run it.

``task_manager slave LABEL`` calls `be_slave`; a master that launches slaves itself starts
``python -m pyrotask.masterslave.slave_main``.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from pyrotask import payload
from pyrotask.config import Settings
from pyrotask.core.model import Payload
from pyrotask.errors import ConnectError, HandlerError, PyrotaskError, TaskManagerTermination, UnknownLabel
from pyrotask.masterslave import finding
from pyrotask.masterslave.code import CODE_LABEL, JobCode
from pyrotask.masterslave.role import SlaveRole
from pyrotask.masterslave.telling import say, slave_command
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.worker import tether

INTERRUPTED = 130


def be_slave(
    label: str, master_host: str | None, settings: Settings, *, wait: bool = False, rope: int | None = None
) -> None:
    """Run the code that the master with that label has for its slaves, until the master ends.

    Args:
        label: the master's.
        master_host: where it is, ``"host"`` or ``"host:port"``; None: it is found by its label.
        settings: where to look for it.
        wait: wait for the master and its code, if they are not there yet.
        rope: a descriptor that ends when this process shall.

    Raises:
        ConnectError: there is no such master.
        HandlerError: it has no code for slaves (and is not waited for), or its code started no slave.
        Whatever the code raises.
    """
    code, location = _code_of(label, master_host, settings, wait=wait)
    # From here on an address will do, unless it was found by its label: then it may move.
    host = None if master_host is None else location
    me = SlaveRole(label, host, rope=rope)
    code.run_as(me)
    if not me.played:
        raise HandlerError(
            f"the code that the master {label} has for its slaves ({CODE_LABEL}) ran to its end and started "
            "no slave: its last line must be startSlaveProcess(), or the runJob that the master called"
        )


def _code_of(label: str, master_host: str | None, settings: Settings, *, wait: bool) -> tuple[JobCode, str]:
    """The code for slaves, and where it was found."""
    find = finding.wait_for_way if wait else finding.open_way
    while True:
        try:
            with find(label, master_host, settings) as way:
                return _code_at(way, label, master_host, settings, wait=wait), way.location
        except ConnectError:
            if not wait:
                raise
            time.sleep(finding.WAIT_S)


def _code_at(
    way: BulkProxy, label: str, master_host: str | None, settings: Settings, *, wait: bool
) -> JobCode:
    """The code that the manager there has; a broker may be there before its master."""

    def retrieve(name: str) -> Any:
        kind, buffers = way.call("retrieve_data", name)
        return payload.decode(Payload(kind, tuple(buffers)))

    say_at = time.monotonic() + settings.explain_after_s
    while True:
        try:
            return JobCode.retrieve(retrieve)
        except UnknownLabel:
            if not wait:
                waiting = slave_command(label, master_host, wait=True)
                raise HandlerError(
                    f"the master {label} has no code for its slaves: name it to the master, as slave_script; "
                    f"or start the slaves' script yourself, with startSlaveProcess({label!r}) as its last "
                    f"line. If it is still to come, wait for it by `{waiting}`"
                ) from None
        if time.monotonic() >= say_at:
            say_at = math.inf
            say(
                f"waiting for the master {label} to say what its slaves shall run: a broker is there, at "
                f"{way.location}, and has no code for slaves yet; a master's script brings it, by runJob, or "
                "as slave_script"
            )
        time.sleep(finding.WAIT_S)


def main(argv: Sequence[str] | None = None) -> int:
    """Be a slave that a master has launched. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pyrotask.masterslave.slave_main")
    parser.add_argument("label")
    parser.add_argument("--master", default=None, metavar="HOST[:PORT]")
    parser.add_argument("--rope", type=int, default=None)
    args = parser.parse_args(argv)
    if args.rope is not None:
        os.set_inheritable(args.rope, False)
        tether.watch(args.rope, tether.end_now)
    try:
        # A manager that is known by its label may be away for a moment; then our master waits as well.
        wait = args.rope is not None and args.master is None
        be_slave(args.label, args.master, Settings.load(), wait=wait, rope=args.rope)
    except TaskManagerTermination:
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except PyrotaskError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
