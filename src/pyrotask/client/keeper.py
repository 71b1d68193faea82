"""`Keeper`: has what an Executor needs, and ends it, also when nobody has said so.

It does not know the Executor, and nothing that lives longer does: so one that its program has dropped
is freed, and then its calls are finished and its workers go, as if it had been shut down.
"""

from __future__ import annotations

import functools
import threading
import weakref
from concurrent.futures import BrokenExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING

from pyrotask.client.cell import in_notebook

if TYPE_CHECKING:
    from pyrotask.client.local import LocalTeam
    from pyrotask.client.session import Session


class Keeper:
    """A session, and perhaps a broker and workers of our own. Thread-safe.

    A thread of its own waits until it is all to end in the background; it keeps no interpreter alive,
    but what was submitted is finished before the interpreter ends.
    """

    def __init__(self, session: Session, team: LocalTeam | None) -> None:
        self._session = session
        self._team = team
        self.is_shut_down = False
        """No more calls are taken."""
        self.broken: str | None = None
        """Why no call can be done any more; None: it can."""
        self._is_to_end: SimpleQueue[None] = SimpleQueue()
        self._executor: weakref.ref[object] | None = None
        self._closing = threading.Lock()
        self._open = _open_keepers()
        self._open.add(self)
        threading.Thread(target=self._run, name="pyrotask-keeper", daemon=True).start()
        if team is not None:
            team.watch(lambda error: self.break_with(str(error)))

    def end_with(self, executor: object) -> None:
        """Finish in the background when nobody has the executor any more."""
        # This may be called between any two instructions of any thread: it must take no lock. Nothing
        # but a queue of this kind allows that.
        self._executor = weakref.ref(executor, lambda _: self._is_to_end.put(None))

    def break_with(self, reason: str) -> None:
        """End all calls that are not done with a `BrokenExecutor`. The first reason counts."""
        if self.broken is None:
            self.broken = reason
            self._session.abort(BrokenExecutor(reason))

    def finish(self) -> None:
        """Wait until all calls are done, then `close`."""
        self._session.wait(confirmed=False)  # to close it says what was cancelled, too
        self.close()

    def finish_later(self) -> None:
        """The same, in the background. Returns at once."""
        self._is_to_end.put(None)

    def close(self) -> None:
        """End it all now. What is not done is cancelled, or goes on if the session has a name. Idempotent."""
        with self._closing:  # whoever comes second returns when all is ended, too
            self._session.close()
            if self._team is not None:
                self._team.close()
            self._open.discard(self)
            self._is_to_end.put(None)

    def before_exit(self) -> None:
        """The interpreter is about to end.

        Whoever stops or restarts a notebook's kernel does not want its calls done. Jupyter would wait
        for some seconds, and then kill it.
        """
        if self._session.is_of_a_parent:
            return  # a forked child has nothing to end
        self.is_shut_down = True
        if in_notebook():
            self.close()
        else:
            self.finish()

    def _run(self) -> None:
        self._is_to_end.get()
        if self in self._open:
            self.finish()


@functools.cache
def _open_keepers() -> set[Keeper]:
    """Those that are not closed, all of this process: what they have is ended before the interpreter."""
    keepers: set[Keeper] = set()

    def end_all() -> None:
        for keeper in list(keepers):
            keeper.before_exit()

    # Exit handlers proper come too late: by then no thread can be started any more.
    threading._register_atexit(end_all)  # type: ignore[attr-defined]  # noqa: SLF001
    return keepers
