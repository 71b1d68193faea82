"""The ``task_manager`` command: starts slaves, and shows the managers that there are.

    task_manager list               the managers that can be found
    task_manager show LABEL         what one of them has to do, and who does it
    task_manager slave LABEL        a slave: gets the master's code, and runs its tasks

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted by Ctrl-C; a slave's is that of
the code it ran.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pyrotask.config import Settings

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

EXAMPLE = """\
example:
  python my_job.py                  a script that calls pyrotask.masterslave.runJob("my job", ...)
  task_manager slave "my job"       as often as you like, before or after
  task_manager show "my job"

on another machine:
  task_manager -m HOST slave "my job"

It works with and without a Pyro name server."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (None: the process's own) and return its exit code.

    Expected errors are told in one line on stderr. May exit instead of returning, as a slave's
    code tells it, and for arguments that argparse refuses.
    """
    from pyrotask.config import Settings
    from pyrotask.errors import PyrotaskError

    args = _parser().parse_args(argv)
    if args.verbose:
        logging.basicConfig(level=logging.INFO, format="pyrotask: %(message)s")
    try:
        settings = Settings.load()
    except (ValueError, FileNotFoundError) as error:
        print(f"task_manager: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        code: int = args.run(args, settings)
    except (PyrotaskError, PermissionError) as error:
        print(f"task_manager: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="task_manager",
        description="Start slaves for a master script, and see what it has to do.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-m",
        "--master",
        type=_host,
        metavar="HOST[:PORT]",
        help="where the master is (default: found by its label)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say more")
    parser.add_argument(
        "-w",
        "--wait",
        action="store_true",
        help="wait for the master, and for its code, if they are not there yet",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser("list", help="the managers that can be found").set_defaults(run=_list)
    show = commands.add_parser("show", help="what a manager has to do, and who does it")
    show.add_argument("label", metavar="LABEL")
    show.set_defaults(run=_show)
    slave = commands.add_parser("slave", help="be a slave of a master")
    slave.add_argument("label", metavar="LABEL")
    slave.set_defaults(run=_slave)
    return parser


def _host(text: str) -> str:
    from pyrotask.config import split_host_port

    try:
        split_host_port(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


# --- slave ----------------------------------------------------------------------------------


def _slave(args: argparse.Namespace, settings: Settings) -> int:
    from pyrotask.masterslave.slave_main import be_slave

    be_slave(args.label, args.master, settings, wait=args.wait)
    return 0


# --- show -----------------------------------------------------------------------------------


def _show(args: argparse.Namespace, settings: Settings) -> int:
    from pyrotask.masterslave.finding import open_way, wait_for_way

    find = wait_for_way if args.wait else open_way
    with find(args.label, args.master, settings) as way:
        status = way.call("status")
        print(f"{way.label} at {way.location}{', terminated' if status['terminated'] else ''}")
    for line in _lines_of(status, verbose=args.verbose):
        print(line)
    return 0


def _lines_of(status: dict[str, Any], *, verbose: bool) -> Iterator[str]:
    processes = status["processes"]
    yield f"{len(processes)} active {'process' if len(processes) == 1 else 'processes'}"
    for process in processes if verbose else ():
        running = f": runs {', '.join(process['running'])}" if process["running"] else ""
        yield f"  {process['id']}  {process['info']}{running}"
    counts = status["tasks"]
    tags = sorted(set().union(*counts.values()))
    if not tags:
        yield "no tasks"
    for tag in tags:
        numbers = ", ".join(
            f"{counts[state].get(tag, 0)} {state}" for state in ("waiting", "running", "finished")
        )
        yield f"tasks tagged {tag}: {numbers}"
    yield from status["explanations"]


# --- list -----------------------------------------------------------------------------------


class _Manager(NamedTuple):
    label: str
    location: str
    answers: bool
    source: str


def _list(args: argparse.Namespace, settings: Settings) -> int:
    found = {manager.label: manager for manager in _managers(args.master, settings)}
    for label in sorted(found):
        manager = found[label]
        state = "" if manager.answers else "  (does not answer)"
        print(f"{label}  {manager.location}{state}" + (f"  {manager.source}" if args.verbose else ""))
    if not found:
        print("no task manager was found", file=sys.stderr)
    return 0


def _managers(master_host: str | None, settings: Settings) -> Iterator[_Manager]:
    """All managers that can be found; what is found in the best way comes last."""
    from dataclasses import replace

    from pyrotask.config import split_host_port
    from pyrotask.remote.addresses import answers
    from pyrotask.remote.connection_file import ConnectionFile

    if master_host is None:
        yield from _named(settings)
        for file in ConnectionFile.list_all(settings.runtime_dir):
            is_there = answers(file.address, settings.lookup_timeout_s)
            yield _Manager(file.label, file.address.location, is_there, "connection file")
        return
    host, port = split_host_port(master_host)
    if port is None:
        yield from _named(replace(settings, name_server=host))
    yield from _at_ports(host, port, settings)


def _named(settings: Settings) -> Iterator[_Manager]:
    from pyrotask.errors import NameServerNotFound
    from pyrotask.remote.addresses import answers, parse_address
    from pyrotask.remote.name_server import list_names

    try:
        names = list_names(settings)
    except NameServerNotFound as error:
        logging.getLogger("pyrotask").info("%s", error)
        return
    for label, uri in names.items():
        location = uri.rpartition("@")[2]
        try:
            is_there = answers(parse_address(location), settings.lookup_timeout_s)
        except ValueError:
            is_there = False
        yield _Manager(label, location, is_there, "name server")


def _at_ports(host: str, port: int | None, settings: Settings) -> Iterator[_Manager]:
    from pyrotask.errors import ConnectError
    from pyrotask.masterslave.finding import DEFAULT_PORTS
    from pyrotask.remote.addresses import Address, answers
    from pyrotask.remote.bulk_proxy import BulkProxy

    for candidate in DEFAULT_PORTS if port is None else (port,):
        address = Address(host, candidate)
        if port is None and not answers(address, settings.lookup_timeout_s):
            continue
        try:
            with BulkProxy(address.location, settings) as way:
                yield _Manager(way.label, way.location, answers=True, source="port")
        except ConnectError:
            if port is not None:
                raise


if __name__ == "__main__":
    sys.exit(main())
