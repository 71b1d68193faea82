"""A slave's connection to its manager: it registers, exchanges, and comes back after a break.

Whatever breaks, what the slave has in hand is handed in later; the first answer of a task
wins. A manager that is a broker with a journal is waited for, as by any worker. When any other
is gone, `ConnectError` says so.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pyrotask import payload
from pyrotask.core.model import Payload
from pyrotask.errors import BrokerNotFound, ConnectError, PyrotaskError, UnknownProcess
from pyrotask.masterslave.telling import about_this_process
from pyrotask.remote.security import is_loopback
from pyrotask.worker import running
from pyrotask.worker.begun import Number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyrotask.config import Settings
    from pyrotask.remote.bulk_proxy import BulkProxy
    from pyrotask.worker.begun import Slate

log = logging.getLogger("pyrotask.masterslave")

LATE_S = 30.0
"""How much later than it should an answer may come before the connection counts as broken."""

TRIES = 3
"""How often a result is sent whose sending breaks the connection."""

NEAR_S = 2.0
"""How long to look for a master that is gone on our own machine: there is no network to blame."""

LEAVING_S = 2.0
"""How long a slave that is told to end may take to say so."""


class Link:
    """See the module's text. For one thread.

    Args:
        way: the connection; closed by `close`.
        slate: where the process number is noted for the companion.
        tags: what the slave has handlers for.
        period_s: the sign of life that is promised; None: none.
        settings: how large a message may be, and how long to look for a manager that is gone.
    """

    def __init__(
        self, way: BulkProxy, slate: Slate, tags: Iterable[str], period_s: float | None, settings: Settings
    ) -> None:
        self._way = way
        self._slate = slate
        self._tags = sorted(tags)
        self._period_s = period_s
        self._settings = settings
        self._lineage = way.lineage
        self._breaks = 0
        self.process_id = -1

    def register(self) -> None:
        """Take part, under the node that the companion has noted, if there is one.

        Raises:
            ConnectError: the manager is gone.
        """
        while True:
            try:
                self._register()
                return
            except ConnectError as error:
                if not self._way.has_journal:
                    raise
                log.info("%s", error)
                self._reconnect()

    def _register(self) -> None:
        node = self._slate.node
        of_node = node.number if node is not None and node.lineage == self._lineage else None
        about = about_this_process()
        try:
            number = self._way.call("register_worker", of_node, self._period_s, about, self._tags)
        except UnknownProcess:  # the node was lost meanwhile; the companion makes another one
            number = self._way.call("register_worker", None, self._period_s, about, self._tags)
        self.process_id = number
        self._slate.process = Number(self._lineage, number)

    def exchange(self, results: list[running.Result], count: int, wait_s: float) -> list[running.Assigned]:
        """Hand in results, and get up to ``count`` tasks. Blocks for ``wait_s``, or for a lost connection.

        Raises:
            TaskManagerTermination: there will be no more tasks; the results were taken.
            ConnectError: the manager is gone.
        """
        while True:
            sendable = [self._sendable(result) for result in results]
            try:
                reply = self._way.call(
                    "exchange",
                    self.process_id,
                    sendable,
                    self._tags,
                    count,
                    wait_s,
                    timeout_s=wait_s + LATE_S,
                )
            except UnknownProcess as error:  # it was silent for too long, and is not registered any more
                log.warning("%s", error)
                self.register()
            except ConnectError as error:
                self._breaks += bool(results)
                self._come_back(error, results)
            else:
                self._breaks = 0
                for task, why in reply["refused"]:
                    log.warning("the result of task %s was refused: %s", task, why)
                return [running.Assigned.from_wire(task) for task in reply["tasks"]]

    def retrieve(self, label: str, held: list[running.Result]) -> Any:
        """The value that the manager has under that label. ``held``: the attempt that needs it.

        Raises:
            UnknownLabel: there is none.
            ConnectError: the manager is gone.
        """
        while True:
            try:
                kind, buffers = self._way.call("retrieve_data", label)
            except ConnectError as error:
                self._come_back(error, held)
            else:
                return payload.decode(Payload(kind, tuple(buffers)))

    def leave(self, *, anew: bool = False) -> None:
        """Say that this slave ends; what it holds is first in line again. Never raises.

        ``anew``: over a new connection, since the old one may be in the middle of a call.
        """
        self._slate.process = None
        try:
            if anew:
                self._way.connect()
            self._way.call("unregister", self.process_id, timeout_s=LEAVING_S)
        except (PyrotaskError, OSError) as error:
            log.info("could not unregister: %s", error)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._way.close()

    def _sendable(self, result: running.Result) -> running.Result:
        limit = self._settings.max_message_bytes
        size = running.size_of(result)
        return (
            running.too_large(result, size, limit) if size > limit - 4096 or self._breaks >= TRIES else result
        )

    def _patience_s(self) -> float:
        if self._way.has_journal:
            return self._settings.reconnect_timeout_s
        near = is_loopback(self._way.location.rpartition(":")[0])
        return NEAR_S if near else self._settings.plain_grace_s

    def _come_back(self, broken: ConnectError, held: list[running.Result]) -> None:
        log.info("%s", broken)
        self._reconnect()
        try:
            if not self._way.call("resume", self.process_id, [result[:2] for result in held]):
                self.register()
        except ConnectError as error:
            log.info("%s", error)  # broken again: the next call brings us here again

    def _reconnect(self) -> None:
        self._way.reconnect(self._patience_s())
        if self._way.lineage != self._lineage:
            raise BrokerNotFound(
                f"another manager has label {self._way.label!r} now, and the one that this slave worked for "
                "is gone: start the slave again"
            )
