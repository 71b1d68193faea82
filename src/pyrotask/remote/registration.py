"""Telling the world where a broker is: its connection file, and its name in the name server.

A name server that keeps names in memory forgets them when it is started anew, and one may be
started after the broker. So a thread looks from time to time, and registers the name again. A
name server that is gone or silent hurts nobody; that it is, is said in `warnings`.

The connection file is looked at as well, in the event loop, and written again when it is gone: a system may
empty the runtime directory when its user logs out, or remove files that are some days old, and the broker
goes on.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import threading
from typing import TYPE_CHECKING, Literal

import Pyro5
import Pyro5.nameserver

from pyrotask.config import Settings, split_host_port
from pyrotask.errors import LabelHeld, NameServerNotFound
from pyrotask.remote.connection_file import ConnectionFile
from pyrotask.remote.labels import object_name
from pyrotask.remote.name_server import is_live, register_name, unregister_name

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

NameServerUse = Literal["auto", "require", "start", "off"]

LOOK_EVERY_S = 30.0
"""How often the entries are looked at: a restarted name server knows the name again within this time."""


class Registration:
    """The broker's entries. Its methods block for some seconds at most, and are for one thread.

    Args:
        file: the connection file to write; its label and address are the broker's.
        uri: where its task manager is, as Pyro writes it.
        settings: where the runtime directory and the name server are.
        use: "auto": the name server, if there is one; "require": it has to be there; "start":
            one is started if there is none; "off": it is not asked.
        with_file: whether to write the connection file.
        look_every_s: how often the name server is looked at.
    """

    def __init__(
        self,
        file: ConnectionFile,
        uri: str,
        settings: Settings,
        use: NameServerUse,
        *,
        with_file: bool = True,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._file = file
        self._uri = uri
        self._settings = settings
        self._use = use
        self._with_file = with_file
        self._look_every_s = look_every_s
        self._keeper: threading.Thread | None = None
        self._over = threading.Event()
        self._writing = threading.RLock()
        """Held while the connection file is written or removed; reentrant for signal handlers."""
        self._leaving = threading.Lock()
        self._own_name_server: NameServer | None = None
        self._warnings: list[str] = []
        self._file_warnings: list[str] = []
        self._is_registered = False

    @property
    def warnings(self) -> Sequence[str]:
        """What is not as it should be, at the moment: sentences, each of which says what to do."""
        return (*self._file_warnings, *self._warnings)

    @property
    def is_in_name_server(self) -> bool:
        """Whether the name is there, as far as we know. From any thread."""
        return self._is_registered

    def enter(self) -> None:
        """Make the entries.

        Raises:
            LabelHeld: a live broker has that label.
            NameServerNotFound: there is none, and one is required.
        """
        dead = check_not_held(self._file, self._settings) if self._with_file else None
        if self._use != "off":
            self._enter_name(dead)
        if self._with_file:
            self._file.write(self._settings.runtime_dir)

    def look_at_file(self) -> None:
        """Write the connection file again if it is gone. To be called every `LOOK_EVERY_S`; takes no time."""
        directory = self._settings.runtime_dir
        with self._writing:
            if not self._with_file or self._over.is_set():
                return
            self._file_warnings[:] = []
            try:
                if not self._file.path(directory, self._file.label).exists():  # else it may be a successor's
                    self._file.write(directory)
            except OSError as error:
                self._file_warnings[:] = [
                    f"the connection file is gone, and could not be written again: {error}"
                ]

    def leave_file(self) -> None:
        """Remove the connection file, if it is still ours, for good. Idempotent; takes no time."""
        with self._writing:
            self._over.set()
            if self._with_file:
                with contextlib.suppress(OSError):
                    self._file.remove(self._settings.runtime_dir)

    def leave(self) -> None:
        """Remove the entries that are still ours. Idempotent."""
        self.leave_file()
        with self._leaving:
            if self._keeper is not None:
                self._keeper.join()
                self._keeper = None
            if self._is_registered:
                unregister_name(self._file.label, self._uri, self._settings)
                self._is_registered = False
            if self._own_name_server is not None:
                self._own_name_server.stop()
                self._own_name_server = None

    def _enter_name(self, dead: str | None) -> None:
        try:
            register_name(self._file.label, self._uri, self._settings, dead=dead)
            self._is_registered = True
        except NameServerNotFound:
            if self._use == "require":
                raise
            if self._use == "start":
                self._own_name_server = NameServer(self._file.host, self._settings)
                register_name(self._file.label, self._uri, self._settings)
                self._is_registered = True
        self._keeper = threading.Thread(target=self._keep, name="pyrotask-names", daemon=True)
        self._keeper.start()

    def _keep(self) -> None:
        while not self._over.wait(self._look_every_s):
            self._warnings[:] = self._look()

    def _look(self) -> list[str]:
        try:
            register_name(self._file.label, self._uri, self._settings)
        except NameServerNotFound as error:
            # Without one from the beginning, nothing is missing.
            return [f"the name server has gone: {error}"] if self._is_registered else []
        except LabelHeld as error:
            return [str(error)]
        except Exception as error:
            log.exception("the name server could not be asked")
            return [f"the name server could not be asked: {error!r}"]
        self._is_registered = True
        return []


class NameServer:
    """A Pyro name server of our own, in threads of this process.

    Args:
        host: where to listen, unless the settings name a place.
        settings: may name its host and port.
    """

    def __init__(self, host: str, settings: Settings) -> None:
        port: int | None = None
        if settings.name_server is not None:
            host, port = split_host_port(settings.name_server)
        # Without broadcast: nobody of ours asks that way, and anybody could answer.
        _, self._daemon, _ = Pyro5.nameserver.start_ns(
            host=host, port=port or Pyro5.config.NS_PORT, enableBroadcast=False
        )
        self._thread = threading.Thread(
            target=self._daemon.requestLoop, name="pyrotask-name-server", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End it. Blocks for a moment."""
        self._daemon.shutdown()
        self._thread.join()


def check_not_held(own: ConnectionFile, settings: Settings) -> str | None:
    """Return if no other live broker of this user has the label: where the last run of ours was, if known.

    A file that a dead one left is no matter, also if its port is ours by now, or a stranger's: another
    process that left one of our own lineage is dead, since we have its journal.

    Raises:
        LabelHeld: one has it.
    """
    label = own.label
    try:
        file = ConnectionFile.read(settings.runtime_dir, label)
    except (FileNotFoundError, ValueError):  # there is none, or it is damaged and will be replaced
        return None
    if file.lineage == own.lineage and (file.pid, file.hostname) != (own.pid, own.hostname):
        return file.address.location
    if file.address.location == own.address.location:
        return None
    if is_live(f"PYRO:{object_name(label)}@{file.address.location}", settings):
        raise LabelHeld(
            f"label {label!r} is held by a live broker: process {file.pid} of {file.hostname}, at "
            f"{file.address.location}. Use another label, or end that broker first: "
            f"`pyrotask stop {shlex.quote(label)}`"
        )
    return None
