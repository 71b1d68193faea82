"""The server of a master: on a port where its slaves look first, if one is free."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

from pyrotask.errors import AddressInUse
from pyrotask.masterslave.finding import DEFAULT_PORTS
from pyrotask.remote.security import is_loopback
from pyrotask.remote.server import Server

if TYPE_CHECKING:
    from pyrotask.config import Settings
    from pyrotask.taskmanager import TaskManager

NameServerUse = bool | Literal["start", "require"]
"""True: register with the name server if there is one; "start": start one if there is none;
"require": fail if there is none; False: leave it alone."""

_POLICIES: dict[object, Literal["auto", "require", "start", "off"]] = {
    True: "auto",
    False: "off",
    "start": "start",
    "require": "require",
}


def serve(
    task_manager: TaskManager,
    label: str,
    use_name_server: NameServerUse,
    host: str,
    port: int | None,
    settings: Settings,
) -> Server:
    """Start a server for the manager. Blocks until it can be found.

    ``port`` None: the first default port that is free, else any.

    Raises:
        LabelHeld: a live manager has that label.
        AddressInUse: the port is taken.
        KeyRequired: ``host`` can be reached from other machines, and there is no key.
    """
    try:
        policy = _POLICIES[use_name_server]
    except KeyError:
        raise ValueError(
            f"use_name_server must be True, False, 'start' or 'require', not {use_name_server!r}"
        ) from None
    key_file = None if is_loopback(host) else settings.key_file
    for candidate in (*DEFAULT_PORTS, 0) if port is None else (port,):
        server = Server(
            task_manager,
            label,
            host=host,
            port=candidate,
            settings=settings,
            key_file=key_file,
            name_server=policy,
        )
        with contextlib.suppress(*((AddressInUse,) if port is None and candidate else ())):
            server.start()
            return server
    raise AssertionError("port 0 is never in use")
