"""Where a broker listens: read from text or from a URI, and looked at whether somebody is there."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import Pyro5.core

from pyrotask.config import split_host_port

UNIX_PREFIX = "./u:"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is, and how we know.

    Attributes:
        host: a name or an address without brackets; for a unix socket ``./u:/its/path``.
        port: the TCP port; 0 for a unix socket.
        label: the broker's label, None when only the address is known.
        source: how it was found, for messages: ``"address"``, ``"connection file ..."``, ...
        key_file: where its key is, None if it is not known to have one.
        near: its unix socket on this machine, None if it is not known to have one.
    """

    host: str
    port: int
    label: str | None = None
    source: str = "address"
    key_file: Path | None = None
    near: Path | None = None

    @property
    def location(self) -> str:
        """The address as Pyro writes it: ``host:port``, ``[v6]:port`` or ``./u:path``."""
        if self.host.startswith(UNIX_PREFIX):
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def shortest(self) -> str:
        """The shortest way there, as Pyro writes it: the unix socket on this machine, if there is one."""
        return self.location if self.near is None else f"{UNIX_PREFIX}{self.near}"


def parse_address(text: str) -> Address:
    """Read ``"host:port"``, ``"[IPv6]:port"`` or ``"./u:/path/of/socket"``. Nothing is resolved.

    Raises:
        ValueError: if the text has none of these shapes.
    """
    if text.startswith(UNIX_PREFIX) and len(text) > len(UNIX_PREFIX):
        return Address(text, 0)
    host, port = split_host_port(text)
    if port is None:
        raise ValueError(f"{text!r} has no port; an address is host:port, [IPv6]:port or ./u:/path/of/socket")
    return Address(host, port)


def address_of_uri(uri: str) -> Address:
    """Return where a Pyro URI points to. Of a ``PYRONAME`` it is a place where nobody answers."""
    parsed = Pyro5.core.URI(uri)
    if parsed.sockname:
        return Address(UNIX_PREFIX + parsed.sockname, 0)
    return Address(parsed.host or "", parsed.port or 0)  # a PYRONAME has none


def answers(address: Address, timeout_s: float) -> bool:
    """Tell whether somebody takes connections there (by the shortest way), for about the timeout at most."""
    try:
        if not address.shortest.startswith(UNIX_PREFIX):
            socket.create_connection((address.host, address.port), timeout_s).close()
            return True
        with socket.socket(socket.AF_UNIX) as unix:  # absent on Windows: AttributeError
            unix.settimeout(timeout_s)
            unix.connect(address.shortest.removeprefix(UNIX_PREFIX))
            return True
    except (OSError, AttributeError, UnicodeError):
        return False
