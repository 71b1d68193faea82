"""What people, and clients, do to tasks from outside: cancel them, retry them, forget them.

Each is done to one task, or to all of a selection, page by page: see `selection`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyrotask.core import events as e
from pyrotask.core.model import FINISHED, PUBLIC, UNFINISHED, Delivery, Place, State
from pyrotask.core.recorder import Step
from pyrotask.core.selection import Selection, select

if TYPE_CHECKING:
    from pyrotask.core.endings import Endings
    from pyrotask.core.leases import Leases
    from pyrotask.core.lookup import Lookup
    from pyrotask.core.matching import Matching
    from pyrotask.core.model import Nanoseconds, SessionId, Task, TaskNumber
    from pyrotask.core.recorder import Recorder

NO_MORE = -1
"""In place of the number to go on after: all tasks were looked at."""


class Interventions:
    """The commands; those of `Machine` of the same names are these, for one task."""

    def __init__(
        self, recorder: Recorder, lookup: Lookup, endings: Endings, leases: Leases, matching: Matching
    ) -> None:
        self._recorder = recorder
        self._state = recorder.state
        self._lookup = lookup
        self._endings = endings
        self._leases = leases
        self._matching = matching

    # --- one ----------------------------------------------------------------------------

    def cancel(self, now: Nanoseconds, number: TaskNumber, detail: str) -> Step:
        """Nobody wants the answer any more. The reply says whether it was still unfinished."""
        task = self._lookup.task(number)
        return self._done(now, task is not None and self._cancel(now, task, detail))

    def retry(self, now: Nanoseconds, number: TaskNumber) -> Step:
        """Start a failed or cancelled task anew. The reply says whether that was possible."""
        task = self._lookup.task(number)
        return self._done(now, task is not None and self._retry(now, task))

    def forget(self, now: Nanoseconds, number: TaskNumber) -> Step:
        """Drop a task and its answer, delivered or not. An unfinished one is cancelled first."""
        task = self._lookup.task(number)
        if task is None or _is_needed(task):
            return self._done(now, False)
        if task.state in UNFINISHED:
            self._leases.cancel(now, task, "forgotten")
        self._endings.drop(task)
        return self._done(now, True)

    # --- many ---------------------------------------------------------------------------
    # The reply is a tuple: first the number to go on after (or NO_MORE), then the tasks to which
    # it was done.

    def cancel_many(
        self, now: Nanoseconds, selection: Selection, detail: str, *, limit: int, after: int = -1
    ) -> Step:
        """Cancel those that are unfinished."""
        return self._do_to_all(now, selection, lambda task: self._cancel(now, task, detail), limit, after)

    def retry_many(self, now: Nanoseconds, selection: Selection, *, limit: int, after: int = -1) -> Step:
        """Start those anew that failed or were cancelled, where that is possible."""
        return self._do_to_all(now, selection, lambda task: self._retry(now, task), limit, after)

    def forget_many(
        self,
        now: Nanoseconds,
        selection: Selection,
        *,
        limit: int,
        after: int = -1,
        session: SessionId | None = None,
    ) -> Step:
        """Drop those that are finished, but none whose answer another session than this awaits."""

        def forget(task: Task) -> bool:
            if task.state in UNFINISHED or _is_needed(task) or _is_awaited(task, session):
                return False
            self._endings.drop(task)
            return True

        return self._do_to_all(now, selection, forget, limit, after)

    def _do_to_all(
        self, now: Nanoseconds, selection: Selection, act: Callable[[Task], bool], limit: int, after: int
    ) -> Step:
        page = select(self._state, selection, limit=limit, after=after)
        # One may have taken another along.
        done = [t.number for t in page.tasks if t.number in self._state.tasks and act(t)]
        go_on_after = NO_MORE if page.go_on_after is None else page.go_on_after
        self._matching.settle(now)
        return self._recorder.step((go_on_after, *done))

    # --- how ----------------------------------------------------------------------------

    def _cancel(self, now: Nanoseconds, task: Task, detail: str) -> bool:
        if task.state in FINISHED:
            return False
        self._leases.cancel(now, task, detail)
        return True

    def _retry(self, now: Nanoseconds, task: Task) -> bool:
        if task.state is not State.FAILED and task.state is not State.CANCELLED:
            return False
        if any(claim.delivery is Delivery.HANDED_OUT for claim in _claims(task)):
            return False
        if any(source not in self._state.tasks for source in task.inputs):
            return False
        self._endings.stop_keeping(task.number)
        self._recorder.record(e.TaskRetried(now, task.number))
        self._endings.fail_if_inputs_have(now, task)
        self._recorder.touch(task)
        return True

    def _done(self, now: Nanoseconds, reply: bool) -> Step:  # noqa: FBT001 - it is the reply
        self._matching.settle(now)
        return self._recorder.step(reply)


def _claims(task: Task) -> tuple[Place, ...]:
    return (task,) if task.keyed is None else (task, *task.keyed.subscribers.values())


def _is_needed(task: Task) -> bool:
    """Whether it has a key, which would outlive it: others still need its value."""
    return task.keyed is not None and task.state is State.SUCCEEDED and task.dependents is not None


def _is_awaited(task: Task, besides: SessionId | None) -> bool:
    """Whether a client, in another session, would wait in vain for the answer."""
    return any(
        claim.delivery is not Delivery.ACKNOWLEDGED and claim.session not in (PUBLIC, besides)
        for claim in _claims(task)
    )
