"""`pyrotask list`: the brokers of this user, and those that the name server knows."""

from __future__ import annotations

import argparse
import dataclasses
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pyrotask.cli.ended import rest_of
from pyrotask.cli.options import add_connecting, settings_of
from pyrotask.cli.output import Output, duration

if TYPE_CHECKING:
    from pyrotask.config import Settings

HELP = "list the brokers, and whether each answers"

DESCRIPTION = """\
List the brokers that left a connection file on this machine, and those that the Pyro name
server knows, and try each of them."""

EXAMPLE = """\
example:
  pyrotask list
  pyrotask list --name-server cluster.example.org:9090"""

AT_ONCE = 16
"""Brokers tried at the same time: a silent one costs the lookup timeout, and should not add up."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A broker that somebody told us of."""

    label: str
    where: str
    """What to connect to: the label, or the address."""
    address: str
    source: str
    pid: int | None = None
    hostname: str | None = None
    started_at: float | None = None
    version: str | None = None
    key_file: str | None = None
    state: str = "unknown"


def add_to(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    add_connecting(parser)


def run(args: argparse.Namespace, output: Output) -> int:
    """Print the list. An empty one is no failure."""
    settings = settings_of(args)
    entries, name_server = _entries(settings)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        tried = list(threads.map(lambda entry: _tried(entry, settings), entries))
    entries = [entry for entry, _ in tried]
    output.document(
        {
            "brokers": [dataclasses.asdict(entry) for entry in entries],
            "runtime_dir": str(settings.runtime_dir),
            "name_server": name_server,
        }
    )
    if not entries:
        output.say(f"no brokers: there is no connection file in {settings.runtime_dir}")
        output.say("start one with `pyrotask serve LABEL`")
    else:
        columns = ("label", "address", "state", "up", "process", "key file", "found in")
        output.table(columns, [_row(entry, time.time()) for entry in entries])
        for status in [status for _, status in tried if status is not None]:
            output.say("\n".join(rest_of(status, settings)))
    output.say(f"name server: {name_server}")
    return 0


def _row(entry: Entry, now: float) -> tuple[object, ...]:
    started_at = entry.started_at if entry.state in {"answers", "terminated"} else None
    return (
        entry.label,
        entry.address,
        entry.state,
        None if started_at is None else duration(now - started_at),
        _process(entry),
        entry.key_file,
        entry.source,
    )


def _process(entry: Entry) -> str | None:
    if entry.pid is None or entry.hostname == socket.gethostname():
        return None if entry.pid is None else str(entry.pid)
    return f"{entry.pid} on {entry.hostname}"


def _entries(settings: Settings) -> tuple[list[Entry], str]:
    """Return who was found, and a sentence about the name server."""
    from pyrotask.errors import NameServerNotFound
    from pyrotask.remote.connection_file import ConnectionFile
    from pyrotask.remote.name_server import list_names, name_server_places

    entries = [
        Entry(
            file.label,
            file.label,
            file.address.location,
            "connection file",
            file.pid,
            file.hostname,
            file.started_at,
            file.version,
            None if file.key_file is None else str(file.key_file),
        )
        for file in ConnectionFile.list_all(settings.runtime_dir)
    ]
    try:
        names = list_names(settings)
    except NameServerNotFound as error:
        if settings.name_server is None:  # nobody asked for one, and few need it
            place = name_server_places(settings)[0].location
            return entries, f"none answers at {place}; only proxies of PYRONAME:... need one (`pyro5-ns`)"
        return entries, str(error)
    known = {(entry.label, entry.address) for entry in entries}
    for label, uri in sorted(names.items()):
        location = uri.rpartition("@")[2]
        if (label, location) not in known:
            entries.append(Entry(label, location, location, "name server"))
    return entries, f"answers, and knows {len(names)} of them"


def _tried(entry: Entry, settings: Settings) -> tuple[Entry, dict[str, Any] | None]:
    """Return the entry with its state; and, of a terminated broker, its status."""
    from pyrotask.errors import AuthenticationFailed, ConnectError, KeyRequired, VersionMismatch
    from pyrotask.remote.bulk_proxy import BulkProxy

    status = None
    try:
        with BulkProxy(entry.where, settings) as proxy:
            if proxy.call("hello").get("terminated"):
                status = proxy.call("status")
    except (AuthenticationFailed, KeyRequired):
        state = "asks for a key"
    except VersionMismatch:
        state = "another version"
    except (ConnectError, OSError):
        state = "no answer"
    else:
        state = "answers" if status is None else "terminated"
    return dataclasses.replace(entry, state=state), status
