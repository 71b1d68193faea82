"""Files and directories that only their owner can read, or put something in the place of."""

from __future__ import annotations

import os
import secrets
import shlex
import stat
from pathlib import Path


def private_directory(path: Path) -> Path:
    """Return the directory, made with mode 700 if it is missing.

    Raises:
        PermissionError: as `check_private_directory`.
    """
    make_private_directories(path)
    check_private_directory(path)
    return path


def check_private_directory(path: Path) -> None:
    """Return if nobody else can read the directory, or put something in its place.

    Raises:
        FileNotFoundError: if it does not exist.
        PermissionError: if it is no directory, is somebody else's, is open to others, or its
            parent lets others replace it. The text has the command that repairs it.
    """
    found = path.lstat()  # not stat: a link could be somebody else's, and lead anywhere
    if not stat.S_ISDIR(found.st_mode):
        raise PermissionError(
            f"{path} is no directory; move it away (`mv {_quoted(path)} {_quoted(path)}.old`), "
            f"or name another place in PYROTASK_RUNTIME_DIR"
        )
    _refuse_other_owner(path, found)
    _refuse_open_to_others(path, found, "700")
    above = path.parent.stat()
    replaceable = above.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not above.st_mode & stat.S_ISVTX
    if os.name == "posix" and (replaceable or above.st_uid not in {0, os.geteuid()}):
        raise PermissionError(
            f"others could replace {path}, since they can write in {path.parent}; "
            f"`chmod go-w {_quoted(path.parent)}`, or name another place in PYROTASK_RUNTIME_DIR"
        )


def write_private(path: Path, content: bytes) -> None:
    """Write a file with mode 600, so that a reader sees the old content or the new one, never a part."""
    new = write_new_private(path.parent, content)
    try:
        new.replace(path)
    except BaseException:
        new.unlink()
        raise


def write_new_private(directory: Path, content: bytes) -> Path:
    """Write a file with mode 600 under a new name in the directory, on disk on return; return its path."""
    path = directory / f".new-{secrets.token_hex(8)}"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        path.unlink()
        raise
    return path


def read_private(path: Path) -> bytes:
    """Return what stands in a small file (4 kB) that only this user can read.

    Raises:
        FileNotFoundError: if it does not exist.
        PermissionError: if it is not a regular file of this user with mode 600 (or 400); the
            text has the command that repairs it.
    """
    # What is checked is what was opened, so nobody can exchange it in between; and not
    # blocking, so that a pipe in its place does not hang us.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise PermissionError(f"{path} is no regular file; name another with --key-file")
        _refuse_other_owner(path, found)
        _refuse_open_to_others(path, found, "600")
        return file.read(4096)


def make_private_directories(path: Path) -> None:
    """Make the directory and those above it that are missing, with mode 700. Idempotent."""
    missing = [directory for directory in (path, *path.parents) if not directory.exists()]
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)


def _refuse_other_owner(path: Path, found: os.stat_result) -> None:
    if os.name == "posix" and found.st_uid != os.geteuid():
        raise PermissionError(
            f"{path} belongs to user {found.st_uid}, not to you (user {os.geteuid()}); "
            f"`sudo chown {os.geteuid()} {_quoted(path)}` if it should, or use one of your own"
        )


def _refuse_open_to_others(path: Path, found: os.stat_result, mode: str) -> None:
    if os.name == "posix" and found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise PermissionError(
            f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):o}); `chmod {mode} {_quoted(path)}`"
        )


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
