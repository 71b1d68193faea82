"""What a child and the broker exchange: results for tasks. See `remote.bulk.exchange`.

A result is acknowledged by the reply, which waits for the next task for a moment at most.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from pyrotask.errors import TaskManagerTermination, UnknownProcess
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.versions import TOLD_HOW_LONG_TASKS_TOOK
from pyrotask.worker import running
from pyrotask.worker.outbox import Outbox
from pyrotask.worker.pace import Measurement

log = logging.getLogger("pyrotask.worker")

PATIENCE_S = 60.0
"""How long one request for tasks stays with the broker."""

LATE_S = 30.0
"""How much later than that its answer may come before the connection counts as broken."""

MOMENT_S = 0.05
"""How long the reply to results may wait for the next task: so one message does for both, where one task
follows the other. Until it comes, the results are not acknowledged."""

Tasks = list[running.Assigned]

_EXCHANGE = "exchange"


class Exchanges:
    """See the module's text. For one thread at a time.

    All calls raise what `BulkProxy.call` and `remote.bulk.exchange` do; a result is acknowledged
    all the same, if the broker has looked at it.

    Args:
        broker: where to.
        outbox: where results come from.
    """

    def __init__(self, broker: BulkProxy, outbox: Outbox) -> None:
        self._broker = broker
        self._outbox = outbox
        self.recalled: list[running.Result] = []
        """What the supervisor has taken out of the tray: it gives that back, and so do we."""

    def wait(self, process: int, count: int, ran: Sequence[Measurement] = ()) -> Tasks:
        """Wait for tasks, for up to `PATIENCE_S`; tell how long tasks took."""
        call = self._call(process, [], count, PATIENCE_S, ran)
        return self._tasks(self._broker.call(*call, timeout_s=PATIENCE_S + LATE_S))

    def hand_in(
        self, process: int, count: int, ran: Sequence[Measurement] = (), patience_s: float = 0.0
    ) -> Tasks:
        """Hand in some results, and return what tasks there are, up to ``count``.

        If there are none, they are waited for, up to ``patience_s``.
        """
        portion, recalled = self._outbox.portion(), self.recalled
        call = self._call(process, [*portion, *recalled], count, patience_s, ran)
        try:
            reply = self._broker.call(*call)
        except (TypeError, ValueError) as error:
            self._refused(portion, error)
            return []
        except (UnknownProcess, TaskManagerTermination):
            self._outbox.acknowledged(len(portion))
            raise
        tasks = self._tasks(reply)
        self._outbox.acknowledged(len(portion))
        if self.recalled is recalled:  # else more was recalled meanwhile
            self.recalled = []
        return tasks

    def _tasks(self, reply: dict[str, Any]) -> Tasks:
        if reply["refused"]:
            self._tell_refused(reply["refused"])
        return [running.Assigned.from_wire(task) for task in reply["tasks"]]

    def _tell_refused(self, refused: list[list[Any]]) -> None:
        given_back = {task for task, *_ in self.recalled}  # by our supervisor, before us
        for task, why in refused:
            if task not in given_back:
                log.warning("the result of task %s was refused: %s", task, why)

    def _refused(self, portion: list[running.Result], error: Exception) -> None:
        if not self._outbox.refused(len(portion), str(error)):
            raise error  # it is not for what the task has returned
        log.warning("the broker refused a result: %s", error)

    def _call(
        self,
        process: int,
        results: list[running.Result],
        count: int,
        patience_s: float,
        ran: Sequence[Measurement],
    ) -> tuple[Any, ...]:
        told = (ran,) if ran and self._broker.wire >= TOLD_HOW_LONG_TASKS_TOOK else ()
        return _EXCHANGE, process, results, None, count, patience_s, *told
