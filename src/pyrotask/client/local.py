"""A broker and workers of an Executor's own, on this machine, for as long as it lives."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import replace

from pyrotask.broker import Broker
from pyrotask.client.own_folder import OwnFolder
from pyrotask.config import Settings
from pyrotask.remote.server import Server
from pyrotask.worker.supervisor import Supervisor


class LocalTeam:
    """Serves on a loopback port, with a key that only this user can read, and runs worker processes.

    All of it ends with `close`, and with this process, however that ends.

    Args:
        workers: how many processes.
        settings: bounds and periods.
    """

    def __init__(self, workers: int, settings: Settings) -> None:
        self._folder = OwnFolder()
        key_file = self._folder.path / "key"
        # Other users of this machine can connect to the port, and must not have us run their code. Our
        # workers come by the unix socket in the folder; or else by the port.
        has_socket = self._folder.is_safe
        self.settings = replace(settings, key_file=key_file, journal=None, runtime_dir=self._folder.path)
        self._server = Server(
            label=f"executor of process {os.getpid()}",
            settings=self.settings,
            key_file=key_file,
            name_server="off",
            connection_file=has_socket,
        )
        try:
            self._server.start()
            self.address = self._server.address
            where = self._server.label if has_socket else self.address
            self._supervisor = Supervisor(where, workers, settings=self.settings, info="local")
            self._supervisor.start()
        except BaseException:
            self._server.stop()
            self._folder.remove()
            raise

    @property
    def broker(self) -> Broker:
        """The broker itself."""
        return self._server.task_manager.broker

    def watch(self, failed: Callable[[BaseException], object]) -> None:
        """Call ``failed`` in a thread of its own if the workers cannot work, with the reason."""

        def wait() -> None:
            try:
                self._supervisor.wait()
            except Exception as error:  # noqa: BLE001 - whatever it was: whoever waits for answers is told
                failed(error)

        threading.Thread(target=wait, name="pyrotask-team", daemon=True).start()

    def close(self) -> None:
        """End the workers, and the broker. Idempotent."""
        self._supervisor.stop()
        with contextlib.suppress(Exception):  # `watch` has told it
            self._supervisor.wait()
        self._server.stop()
        self._folder.remove()
