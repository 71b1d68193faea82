"""The file in which a running broker tells the other processes of its user where it is."""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pyrotask.remote.addresses import Address
from pyrotask.remote.labels import file_stem
from pyrotask.remote.private_files import check_private_directory, private_directory, write_private

_log = logging.getLogger(__name__)

_FILE_SUFFIX = ".broker.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFile:
    """What a running broker tells the other processes of its user.

    Attributes:
        label: the broker's label.
        host: where it listens (a wildcard like ``0.0.0.0`` is fine), or ``./u:/path``.
        port: its TCP port, 0 for a unix socket.
        pid: its process id on `hostname`.
        hostname: the machine it runs on.
        lineage: its journal's lineage id.
        started_at: when it started, in seconds of the wall clock (`time.time`).
        version: its version of pyrotask.
        key_file: the file of its key on that machine, None if it asks for none.
        near: its unix socket on that machine, None if it has none.
    """

    label: str
    host: str
    port: int
    pid: int
    hostname: str
    lineage: str
    started_at: float
    version: str
    key_file: Path | None = None
    near: Path | None = None

    @staticmethod
    def path(directory: Path, label: str) -> Path:
        """Return where the file of that label is, or would be."""
        return directory / (file_stem(label) + _FILE_SUFFIX)

    def write(self, directory: Path) -> Path:
        """Write the file, in place of an older one; readers see the old or the new, never a part.

        The directory is made if it is missing.

        Raises:
            PermissionError: if the directory is not private, see `private_files.private_directory`.
        """
        paths = {"key_file": self.key_file, "near": self.near}
        values = asdict(self) | {name: path and str(path) for name, path in paths.items()}
        path = self.path(private_directory(directory), self.label)
        write_private(path, json.dumps(values, indent=1).encode() + b"\n")
        return path

    @classmethod
    def read(cls, directory: Path, label: str) -> Self:
        """Read the file of that label. Whether its broker still lives is not looked at.

        Raises:
            FileNotFoundError: if there is none.
            PermissionError: if the directory is not private: the file could be anybody's.
            ValueError: if it is damaged; the text has the command that removes it.
        """
        check_private_directory(directory)
        found = cls._read(cls.path(directory, label))
        if found.label != label:  # a file system that takes "Run" and "run" for the same name
            raise FileNotFoundError(f"{cls.path(directory, label)} is of label {found.label!r}")
        return found

    def remove(self, directory: Path) -> bool:
        """Remove the file if it is still this broker's; False if it is gone, or a successor's. Idempotent.

        Call it while the broker still listens: a successor writes its own after that.
        """
        try:
            found = self.read(directory, self.label)
        except (OSError, ValueError):
            return False
        if (found.pid, found.hostname, found.lineage) != (self.pid, self.hostname, self.lineage):
            return False
        self.path(directory, self.label).unlink(missing_ok=True)
        return True

    @classmethod
    def list_all(cls, directory: Path) -> list[Self]:
        """Read all files of the directory, by label; damaged ones are skipped with a logged warning.

        Empty if the directory is missing.

        Raises:
            PermissionError: if the directory is not private.
        """
        try:
            check_private_directory(directory)
        except FileNotFoundError:
            return []
        files = []
        for path in directory.glob(f"*{_FILE_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # its broker has just ended
                try:
                    files.append(cls._read(path))
                except ValueError as error:
                    _log.warning("skipped: %s", error)
        return sorted(files, key=lambda file: file.label)

    @property
    def address(self) -> Address:
        """Where to connect to: for a broker on all addresses, loopback if it is on this machine."""
        is_here, host = self.hostname == socket.gethostname(), self.host
        if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - read, not bound
            host = "127.0.0.1" if is_here else self.hostname
        near = self.near if is_here else None
        return Address(host, self.port, self.label, key_file=self.key_file, near=near)

    @classmethod
    def _read(cls, path: Path) -> Self:
        try:
            values = json.loads(path.read_bytes())
            known = {
                name: values[name] for name in cls.__slots__ if name in values
            }  # a newer version may say more
            for name in ("key_file", "near"):
                known[name] = None if known.get(name) is None else Path(known[name])
            file = cls(**known)
            file._check_types()
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"connection file {path} is damaged ({error}): remove it with `rm {shlex.quote(str(path))}`, "
                f"and start its broker again"
            ) from error
        return file

    def _check_types(self) -> None:
        for name in ("label", "host", "hostname", "lineage", "version"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is no text")
        for name in ("port", "pid"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} is no whole number")
        if not 0 <= self.port <= 65535:  # noqa: PLR2004 - the range of TCP
            raise ValueError(f"port is {self.port}")
        if not isinstance(self.started_at, int | float):
            raise TypeError("started_at is no number")
