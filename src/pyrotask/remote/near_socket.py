"""The unix socket by which this user's processes on this machine reach a broker: faster than TCP.

It lies in the user's runtime directory, beside the connection file, which names it. Nobody else can
reach it there; and the broker asks the system whose process is at the other end. Where there can be no
such socket (the system has none, its path would be too long, or Pyro could not write it) there is TCP.

A broker that was killed leaves its socket behind, and the next one removes it. To tell the two apart, a
socket gets its name when it listens already: at one that has its name and refuses, nobody listens any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pyrotask.remote.os_sockets import BACKLOG
from pyrotask.remote.private_files import private_directory

if TYPE_CHECKING:
    from pyrotask.remote.os_sockets import Socket

log = logging.getLogger(__name__)

LONGEST_PATH_BYTES = 103
"""What all systems take: 107 on Linux, 103 on macOS."""

_SUFFIX, _SUFFIX_OF_NEW = ".socket", ".new"

STARTING_S = 60.0
"""How old a socket must be that does not listen yet, to be one of a broker that died at that moment."""


class NearSocket:
    """A listening unix socket with a name.

    Attributes:
        path: where it is.
        listener: whoever serves it closes it.
    """

    def __init__(self, path: Path, listener: socket.socket) -> None:
        self.path = path
        self.listener = listener

    @classmethod
    def open(cls, directory: Path) -> Self | None:
        """Listen in the directory, which is made if it is missing, and remove what dead brokers left there.

        None: that cannot be here. Blocks for a moment at most.

        Raises:
            PermissionError: the directory is not private, see `private_files.private_directory`.
        """
        path = directory / f"{_prefix()}{secrets.token_hex(4)}{_SUFFIX}"
        # Pyro takes no colon in a socket's path.
        if not hasattr(socket, "AF_UNIX") or len(os.fsencode(path)) > LONGEST_PATH_BYTES or ":" in str(path):
            log.info("there can be no unix socket %s: all use TCP", path)
            return None
        private_directory(directory)
        _remove_dead(directory)
        nameless = path.with_suffix(_SUFFIX_OF_NEW)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(os.fspath(nameless))
            nameless.chmod(0o600)
            listener.listen(BACKLOG)
            nameless.rename(path)
        except BaseException as error:
            listener.close()
            nameless.unlink(missing_ok=True)
            if not isinstance(error, OSError):  # a file system without sockets
                raise
            log.info("there can be no unix socket %s (%s): all use TCP", path, error)
            return None
        return cls(path, listener)

    def remove(self) -> None:
        """Remove its name: nobody finds it any more. Idempotent."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def is_of_another_user(sock: Socket) -> bool:
    """Whether somebody else is at the other end: neither this user, nor root, who may do all he wants.

    False for TCP, and where the system does not tell.
    """
    if not hasattr(socket, "SO_PEERCRED") or sock.family != socket.AF_UNIX:
        return False
    credentials = struct.Struct("i2I")  # there are numbers of users above 2 ** 31
    _, user, _ = credentials.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size))
    return user not in {os.geteuid(), 0}


def _prefix() -> str:
    """What the sockets of this machine are called: a home directory may be that of many machines."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8] + "-"


def _remove_dead(directory: Path) -> None:
    for path in directory.glob(f"{_prefix()}*"):
        with contextlib.suppress(OSError):
            if _is_left_behind(path):
                path.unlink(missing_ok=True)


def _is_left_behind(path: Path) -> bool:
    if path.suffix == _SUFFIX_OF_NEW and time.time() - path.stat().st_mtime < STARTING_S:
        return False
    return path.suffix in {_SUFFIX, _SUFFIX_OF_NEW} and _refuses(path)


def _refuses(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            return True
        except OSError:  # its broker is busy, say
            return False
    return False
