"""`pyrotask serve`: a broker, until it is stopped."""

from __future__ import annotations

import argparse
import gc
import os
import queue
import shlex
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyrotask.cli.greeting import greeting, shown
from pyrotask.cli.options import UsageError, settings_of
from pyrotask.cli.output import Output
from pyrotask.cli.progress import reading
from pyrotask.cli.signals import arriving

if TYPE_CHECKING:
    from pyrotask.config import Settings
    from pyrotask.remote.registration import NameServerUse
    from pyrotask.remote.server import Server
    from pyrotask.taskmanager import TaskManager

HELP = "run a broker under a label"

GC_THRESHOLDS = (50_000, 20, 100)
"""How many objects more than have gone before Python looks for cycles among the new ones: some megabytes."""

DESCRIPTION = """\
Run a broker until Ctrl-C, SIGTERM or `pyrotask stop LABEL`. It listens on this machine only,
unless another address is named; there, a key is needed: the file is made if it is missing,
and has to be copied to whoever shall get in.

With a journal, Ctrl-C and SIGTERM end this process only: workers wait for the next one, which
goes on with what the journal has. `pyrotask stop` ends the work for good."""

EXAMPLE = """\
examples:
  pyrotask serve pi
  pyrotask serve pi --host 0.0.0.0 --port 9091 --key-file ~/pi.key      for other machines too
  pyrotask serve pi --journal pi.journal            survives whatever happens to this process
  pyrotask serve pi --name-server start                for scripts that use PYRONAME:TaskManager.pi"""

NAME_SERVER_USES: tuple[NameServerUse, ...] = ("auto", "require", "start", "off")

LOOK_EVERY_S = 0.5
"""How often is looked whether somebody terminated the broker."""

SAY_GOODBYE_S = 0.5
"""How long a terminated broker stays for those who have to be told."""


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument("label", metavar="LABEL", help="what workers and masters will find it by")
    network = parser.add_argument_group("network")
    network.add_argument(
        "--host", help="the address to listen on (default: the setting host: this machine only)"
    )
    network.add_argument("--port", type=_port, default=0, help="the TCP port (default: a free one)")
    network.add_argument(
        "--key-file", type=Path, metavar="FILE", help="ask for this key; made if it is missing"
    )
    network.add_argument("--insecure", action="store_true", help="listen on a public address without a key")
    network.add_argument(
        "--name-server",
        metavar="HOW",
        default="auto",
        help="register with the Pyro name server: auto, if one answers (the default); require; start, if "
        "none answers; off; or HOST[:PORT], with that one",
    )

    keeping = parser.add_argument_group("journal")
    keeping.add_argument(
        "--journal",
        type=Path,
        metavar="FOLDER",
        help="keep everything there, so that a later broker goes on with it (default: in memory only)",
    )
    keeping.add_argument(
        "--journal-policy",
        choices=("always", "interval", "never"),
        help="when the disk has to have what is acknowledged: always, at once (the default), so that nothing "
        "is lost; interval, a second later; never, when the system likes. Only a failure of the machine "
        "makes a difference",
    )


def run(args: argparse.Namespace, output: Output) -> int:
    """Serve. Blocks until the broker is stopped."""
    settings, mode = _settings(args)
    args.host = args.host or settings.host
    _check_places(args, settings)
    from pyrotask.remote.os_sockets import allow_many_sockets
    from pyrotask.remote.server import Server

    allow_many_sockets()
    with _seldom_looking_for_cycles(), arriving(signal.SIGINT, signal.SIGTERM) as arrived:
        with reading(output, settings.journal):
            server = Server(
                label=args.label,
                host=args.host,
                port=args.port,
                settings=settings,
                key_file=args.key_file,
                insecure=args.insecure,
                name_server=mode,
                journal=settings.journal,
            )
        server.on_broken(arrived.put)
        with server:
            _tell_started(server, args, output)
            output.outlive_readers()
            end = _wait_for_end(server, arrived, output)
            if isinstance(end, int) and settings.journal is None:
                server.task_manager.terminate()
    if isinstance(end, Exception):
        raise end
    output.say(f"{args.label} has ended: {_why(end)}")
    if isinstance(end, int) and settings.journal is not None:
        output.say(
            f"nobody was sent home: a broker with --journal {shown(settings.journal)} goes on with it all"
        )
    output.document({"event": "ended", "label": args.label, "why": _why(end)})
    return 0


@contextmanager
def _seldom_looking_for_cycles() -> Iterator[None]:
    """A broker has many objects and hardly a cycle: Python looking for some takes a tenth of its time."""
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _settings(args: argparse.Namespace) -> tuple[Settings, NameServerUse]:
    """Return the settings, and what to do about a name server."""
    how, args.name_server = args.name_server, None
    settings = settings_of(args)
    settings = replace(
        settings,
        journal=args.journal or settings.journal,
        journal_policy=args.journal_policy or settings.journal_policy,
    )
    for use in NAME_SERVER_USES:
        if how == use:
            return settings, use
    try:
        return replace(settings, name_server=how), "require"
    except ValueError as error:
        modes = ", ".join(NAME_SERVER_USES)
        raise UsageError(f"--name-server is one of {modes}, or HOST[:PORT]: {error}") from error


def _check_places(args: argparse.Namespace, settings: Settings) -> None:
    """See that the address is one of this machine, and that files and folders are what they should be.

    Raises:
        UsageError: one is not; the text says what to type.
    """
    try:
        family, kind, _, _, place = socket.getaddrinfo(args.host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.bind(place)
    except OSError as error:
        raise UsageError(
            f"--host {args.host} is no address of this machine ({error.strerror}): leave it out for this "
            "machine only, or use --host 0.0.0.0 for all its addresses"
        ) from error
    if args.key_file is not None and args.key_file.is_dir():
        name = shlex.quote(str(args.key_file / "pyrotask.key"))
        raise UsageError(f"--key-file {args.key_file} is a folder: name a file, as in `--key-file {name}`")
    if settings.journal is not None and settings.journal.exists() and not settings.journal.is_dir():
        name = shlex.quote(f"{settings.journal}.journal")
        raise UsageError(f"--journal {settings.journal} is no folder: name one, as in `--journal {name}`")


# --- waiting ----------------------------------------------------------------------------------


def _wait_for_end(server: Server, arrived: queue.SimpleQueue[object], output: Output) -> object:
    """Wait, and return why: a signal's number, a `BrokerBroken`, or None if it was terminated."""
    told = set(server.warnings)
    while not _is_terminated(server.task_manager):
        try:
            return arrived.get(timeout=LOOK_EVERY_S)
        except queue.Empty:
            for warning in server.warnings:
                if warning not in told:
                    output.warn(warning)
            told = set(server.warnings)
    output.say(f"{server.label} is terminated; it ends when nothing is left to be collected")
    leave_at = time.monotonic() + server.task_manager.broker.settings.drain_timeout_s
    stay_until = time.monotonic() + SAY_GOODBYE_S
    while time.monotonic() < leave_at:
        try:
            return arrived.get(timeout=LOOK_EVERY_S)
        except queue.Empty:
            if time.monotonic() > stay_until and not _is_left(server.task_manager):
                return None
    return None


def _is_terminated(manager: TaskManager) -> bool:
    return bool(manager.broker.call(lambda machine, _now: machine.state.terminated))


def _is_left(manager: TaskManager) -> bool:
    """Tell whether tasks run, or results wait to be collected. What is only kept does not count."""
    from pyrotask.core.session_info import to_collect

    _, running, _ = manager.numberOfTasks()
    return any(running.values()) or bool(manager.broker.call(lambda machine, _now: to_collect(machine)))


def _why(end: object) -> str:
    return signal.Signals(end).name if isinstance(end, int) else "it was terminated"


# --- what is printed at the start -------------------------------------------------------------


def _tell_started(server: Server, args: argparse.Namespace, output: Output) -> None:
    from pyrotask.remote.bulk_status import journal_status

    for line in greeting(server, args.host, args.key_file):
        output.say(line)
    for warning in server.warnings:
        output.warn(warning)
    if _is_terminated(server.task_manager):
        output.warn(
            "its journal says that it was terminated, for good: results can be collected, new tasks are "
            "refused. To begin anew, name another folder with --journal"
        )
    output.document(
        {
            "event": "serving",
            "label": server.label,
            "address": server.address,
            "uri": str(server.uri),
            "pid": os.getpid(),
            "key_file": None if args.key_file is None else str(args.key_file),
            "journal": journal_status(server.task_manager.broker.engine.journal),
            "warnings": list(server.warnings),
        }
    )


def _port(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= number <= 65535:  # noqa: PLR2004 - the range of TCP
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a whole number up to 65535, 0 for a free one")
    return number
