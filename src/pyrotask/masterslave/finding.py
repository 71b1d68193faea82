"""Where a slave finds its manager: by label alone, or on a host, with or without a port."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pyrotask.config import split_host_port
from pyrotask.errors import BrokerNotFound, NameServerNotFound
from pyrotask.masterslave.telling import say, slave_command
from pyrotask.remote.addresses import Address, answers
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.name_server import lookup_name
from pyrotask.remote.security import is_loopback

if TYPE_CHECKING:
    from pyrotask.config import Settings

DEFAULT_PORTS = range(7766, 7776)
"""Where masters listen if they can, so that a host is enough to find them. The first one is the
original's; ten, since several masters can run on one host."""

WAIT_S = 0.5
"""How often a slave that may come first looks for its master."""


def open_way(label: str | None, master_host: str | None, settings: Settings) -> BulkProxy:
    """Connect to the manager of that label. Blocks for some seconds at most.

    Args:
        label: None: whoever is at ``master_host``.
        master_host: ``"host:port"``; ``"host"``: its name server and the default ports are
            asked; None: the connection file and the name server.
        settings: how long a lookup may take, and where the name server and the key are.

    Raises:
        ConnectError: there is no such manager; the text says where it was looked for.
    """
    if master_host is None:
        if label is None:
            raise BrokerNotFound(
                "a slave needs a label or a host to find its master: startSlaveProcess(label), or start it "
                f"by `{slave_command('LABEL')}`"
            )
        return _checked(BulkProxy(label, settings), label)
    host, port = split_host_port(master_host)
    if port is not None:
        return _checked(BulkProxy(_location(host, port), settings), label)
    return _on_host(label, host, settings)


def wait_for_way(label: str | None, master_host: str | None, settings: Settings) -> BulkProxy:
    """The same, and wait until there is such a manager. Says so once on stderr."""
    told = False
    while True:
        try:
            return open_way(label, master_host, settings)
        except BrokerNotFound as error:
            if not told:
                say(f"waiting for a master: {error}")
                told = True
        time.sleep(WAIT_S)


def _on_host(label: str | None, host: str, settings: Settings) -> BulkProxy:
    if label is not None:
        if is_loopback(host) or host == socket.gethostname():
            try:
                return _checked(BulkProxy(label, settings), label)
            except BrokerNotFound:
                pass  # it may be another user's, or another program's: ask on
        location = _by_name_server(label, host, settings)
        if location is not None:
            return BulkProxy(location, settings)
    for port in DEFAULT_PORTS:
        way = _at_port(label, host, port, settings)
        if way is not None:
            return way
    which = "master" if label is None else f"master {label!r}"
    raise BrokerNotFound(
        f"no {which} was found on {host}: neither by a name server "
        f"there, nor at its ports {DEFAULT_PORTS[0]} to {DEFAULT_PORTS[-1]}. Give its port as well, as in "
        f"`task_manager -m {host}:PORT slave LABEL`; the master knows it as pyro_daemon.port"
    )


def _by_name_server(label: str, host: str, settings: Settings) -> str | None:
    try:
        uri = lookup_name(label, replace(settings, name_server=host))
    except (NameServerNotFound, ValueError):
        return None
    return None if uri is None else uri.rpartition("@")[2]


def _at_port(label: str | None, host: str, port: int, settings: Settings) -> BulkProxy | None:
    if not answers(Address(host, port), settings.lookup_timeout_s):
        return None
    try:
        way = BulkProxy(_location(host, port), settings)
    except BrokerNotFound:
        return None
    if label is None or way.label == label:
        return way
    way.close()
    return None


def _checked(way: BulkProxy, label: str | None) -> BulkProxy:
    if label is None or way.label == label:
        return way
    way.close()
    raise BrokerNotFound(
        f"the manager at {way.location} has label {way.label!r}, not {label!r}: give the port of the right "
        f"one (its pyro_daemon.port), or start `{slave_command(way.label)}`"
    )


def _location(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
