"""Files in memory without a name, and how another process of this user opens one. Linux only.

The way from one process to the other is ``/proc/<process>/fd/<descriptor>``. What is behind it is
looked at closely before anything is read: the number of a process means another one in another
container, and whoever names it may be mistaken, or lie.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from pyrotask.arena.layout import BEGINNING_BYTES, IDENTITY_BYTES, MAGIC

if sys.platform != "win32":
    import fcntl

IS_POSSIBLE = sys.platform == "linux" and hasattr(os, "memfd_create")

NAME = "pyrotask-arena"


class NoSegment(Exception):
    """What was named cannot be opened, or is no segment."""


class Opening(NamedTuple):
    """Where a segment can be opened, and how it is told from all others."""

    process: int
    descriptor: int
    identity: bytes


def make(nbytes: int) -> tuple[int, bytes]:
    """Make a segment. Returns its descriptor, and its identity.

    It takes no memory until something is written to it. Nobody can make it shorter: so whoever
    reads in it finds as much as was there when he looked.

    Raises:
        OSError: the system does not let us.
    """
    descriptor, identity = _new(nbytes)
    with _closed_after_trouble(descriptor):
        _seal(descriptor, fcntl.F_SEAL_SEAL)
    return descriptor, identity


def make_sealed(data: bytes | memoryview, offset: int, table: bytes, table_at: int) -> tuple[int, bytes]:
    """Make a segment with the data at that offset, and such a table, to which nobody can write any more.

    Returns and raises as `make` does.
    """
    descriptor, identity = _new(offset + len(data))
    with _closed_after_trouble(descriptor):
        os.pwrite(descriptor, table, table_at)
        write_from(data, descriptor, offset)
        _seal(descriptor, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL)
    return descriptor, identity


def is_sealed(descriptor: int) -> bool:
    """Whether nobody can write to it, nor ever will. Raises OSError."""
    return bool(fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE)


def most_descriptors() -> int:
    """How many this process may have."""
    import resource  # noqa: PLC0415 - other systems have none, and have no segments either

    return int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def map_own(descriptor: int, offset: int, nbytes: int) -> memoryview:
    """Map a part of a sealed segment: only pages that we write to are copied, and nobody else sees that.

    It stays mapped for as long as it is referred to. Raises OSError: also if it begins within a page.
    """
    return memoryview(mmap.mmap(descriptor, nbytes, access=mmap.ACCESS_COPY, offset=offset))


def _new(nbytes: int) -> tuple[int, bytes]:
    descriptor = os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with _closed_after_trouble(descriptor):
        os.ftruncate(descriptor, nbytes)
        identity = secrets.token_bytes(IDENTITY_BYTES)
        os.pwrite(descriptor, MAGIC + identity, 0)
    return descriptor, identity


def _seal(descriptor: int, more: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | more)


@contextlib.contextmanager
def _closed_after_trouble(descriptor: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(descriptor)
        raise


def open_segment(where: Opening, *, writes: bool = False) -> int:
    """Open a segment of another process, and return our own descriptor of it.

    Raises:
        NoSegment: it is not there, or is another one, or nothing of the kind.
    """
    path = f"/proc/{where.process}/fd/{where.descriptor}"
    try:
        # What it is is asked before it is opened: to open a terminal or a pipe does something to it.
        if not str(Path(path).readlink()).startswith(f"/memfd:{NAME} "):
            raise NoSegment(f"{path} is no segment")
        flags = (os.O_RDWR if writes else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(path, flags)
    except OSError as error:
        raise NoSegment(f"{path} cannot be opened: {error}") from error
    try:
        _check(descriptor, where)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(descriptor: int, where: Opening) -> None:
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        is_ours = os.fstat(descriptor).st_uid == os.geteuid()
        beginning = os.pread(descriptor, BEGINNING_BYTES, 0)
    except OSError as error:
        raise NoSegment(f"{where} cannot be read: {error}") from error
    if not (is_ours and seals & fcntl.F_SEAL_SHRINK and beginning == MAGIC + where.identity):
        raise NoSegment(f"{where} is no segment, or another one, or another user's")


Room = TypeVar("Room", bytearray, memoryview)


def read_into(data: Room, descriptor: int, offset: int) -> Room:
    """Copy as many bytes out of a segment as fit into the data. Returns the same. Raises OSError."""
    filled = 0
    with memoryview(data) as rest:
        while filled < len(data):  # the system copies 2 GiB at a time at most
            count = os.preadv(descriptor, [rest[filled:]], offset + filled)
            if not count:
                raise OSError(f"a segment ends {len(data) - filled} bytes too early")
            filled += count
    return data


def write_from(data: bytes | memoryview, descriptor: int, offset: int) -> None:
    """Copy the data into a segment. Raises OSError."""
    rest = memoryview(data)
    while rest:
        count = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[count:], offset + count


def close_quietly(descriptor: int) -> None:
    """Close it, whatever state it is in."""
    with contextlib.suppress(OSError):
        os.close(descriptor)
