"""What operating systems do differently with sockets, each with its fallback.

A peer that is gone without a word (power, cable, a machine that hangs) is noticed by asking:
TCP's keepalive does that, in seconds instead of its usual two hours.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import select
import socket
from typing import Protocol

from pyrotask.errors import AddressInUse

KEEPALIVE_IDLE_S = 5
"""After how much silence a peer is asked whether it is there."""
KEEPALIVE_EVERY_S = 3
"""How long it may take to answer, before it is asked again."""
KEEPALIVE_TRIES = 4
"""How often it is asked: 5 + 4 * 3 s, and the connection is broken."""
UNSENT_LIMIT_S = 30
"""How long bytes may wait for a peer to take them (Linux): longer than a network's hiccup."""

SOCKETS_ALL_SYSTEMS_ALLOW = (65_536, 10_240)
"""What to try for the number of open sockets if the system does not say how many it can have."""

BACKLOG = 1024
"""Connections that may wait to be accepted: a whole cluster starts at once."""


class Socket(Protocol):
    """The part of a socket that is needed here; asyncio's stand-in for one has it too."""

    def fileno(self) -> int:
        """Its descriptor, -1 when it is closed."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """Set an option."""

    def dup(self) -> socket.socket:
        """A real socket of its own for the same connection."""

    @property
    def family(self) -> int:
        """TCP over IPv4 or IPv6, or a unix socket."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """Read an option of that size."""


def notice_dead_peers(sock: Socket) -> None:
    """Have the system break the connection when its other end is gone. Does nothing where it cannot."""
    options = {
        "TCP_KEEPIDLE": KEEPALIVE_IDLE_S,
        "TCP_KEEPALIVE": KEEPALIVE_IDLE_S,  # the same, as macOS calls it
        "TCP_KEEPINTVL": KEEPALIVE_EVERY_S,
        "TCP_KEEPCNT": KEEPALIVE_TRIES,
        "TCP_USER_TIMEOUT": UNSENT_LIMIT_S * 1000,
    }
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in options.items():
        if hasattr(socket, name):
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def allow_many_sockets() -> None:
    """Raise the number of sockets that this process may open to what the system allows it.

    Often it starts with 1,024, and may have a million: a broker has one for each of its clients.
    Does nothing where the system has no such limit.
    """
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # not a POSIX system
        return
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (most, *SOCKETS_ALL_SYSTEMS_ALLOW):  # macOS says "infinite", and does not mean it
        if allowed != resource.RLIM_INFINITY and (wanted > allowed or wanted == resource.RLIM_INFINITY):
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
                return


def send_now(sock: Socket, data: bytes) -> int:
    """Send what the system takes at once; returns how many bytes that was. Never blocks, raises nothing.

    Not for Windows, where a socket is no file.
    """
    try:
        return os.write(sock.fileno(), data)
    except OSError:  # it takes nothing now, or is broken: whoever writes the rest will see
        return 0


def shut_down(sock: Socket) -> None:
    """End the connection in both directions at once. The socket stays open. Raises nothing."""
    with contextlib.suppress(OSError), sock.dup() as twin:
        twin.shutdown(socket.SHUT_RDWR)


def has_hung_up(sock: Socket) -> bool:
    """Whether the peer has closed the connection, though nobody has read that yet.

    Takes nothing out of the socket, and never blocks. Where the system cannot tell: False.
    """
    descriptor = sock.fileno()
    if descriptor < 0:
        return True
    if not hasattr(select, "poll"):  # Windows
        return False
    gone = select.POLLERR | select.POLLHUP | getattr(select, "POLLRDHUP", 0)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | gone)
    events = poll.poll(0)
    if not events:
        return False
    return bool(events[0][1] & gone) or _is_at_end(descriptor)


def _is_at_end(descriptor: int) -> bool:
    """Whether what can be read is the end."""
    # Not by a duplicate of the descriptor: when there is none left, everybody would seem to be gone.
    lent = None
    try:
        lent = socket.socket(fileno=descriptor)
        lent.setblocking(False)
        return not lent.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        if lent is not None:
            lent.detach()


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0: any that is free. A name with several addresses: IPv4 first.

    Raises:
        AddressInUse: another program listens there.
        OSError: the host is not one of this machine's.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(
                f"another program listens on port {port} of {host or 'this machine'}: "
                "choose another with --port, or leave it out and any free one is taken"
            ) from None
        raise
    return sock
