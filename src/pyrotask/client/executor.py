"""`Executor`: the standard library's interface, on any number of machines.

It is a session, and the functions that it has sent to the broker; without a label it is a broker and
workers of its own as well.
"""

from __future__ import annotations

import concurrent.futures
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from pyrotask.client.callables import Callables
from pyrotask.client.future import TaskFuture
from pyrotask.client.identity import check_repeatable
from pyrotask.client.keeper import Keeper
from pyrotask.client.local import LocalTeam
from pyrotask.client.mapping import Mapping
from pyrotask.client.progress import total_of, with_progress
from pyrotask.client.session import Answer, Session
from pyrotask.config import Settings
from pyrotask.core.model import CALL, MAP, Payload
from pyrotask.errors import PayloadError, PyrotaskError
from pyrotask.worker.functions import InitializerFailed, label_of, packed_set_up

Function = Callable[..., Any]

OPTIONS = frozenset({
    "priority", "key", "delay_s", "retries", "retry_delay_s", "retry_factor", "retry_max_delay_s",
    "retry_jitter", "retry_only", "time_limit_s", "max_crashes", "max_losses",
})  # fmt: skip
"""What `Executor.with_options` takes; see `Session.submit`."""


class Executor(concurrent.futures.Executor):
    """Runs calls in worker processes: here, or wherever there are workers for a broker.

    ``Executor(max_workers=4)`` brings its own broker and workers, as ``ProcessPoolExecutor`` does;
    ``Executor("campaign")`` uses a broker that runs, and all its workers, in a session of its own.
    Functions, lambdas, closures, and what is defined in a script or notebook, travel to the workers
    by themselves, once to each, if both sides have the same minor version of Python.

    All that ``concurrent.futures`` promises holds, and: a worker that dies costs nothing but time
    (its call runs again elsewhere, `Settings.max_crashes` times at most); a running call can be
    cancelled; exceptions have the remote traceback as their cause. Calls may run more than once,
    when a worker or machine is lost; answers come once. One that the program drops, or has not shut
    down at its end, finishes what was submitted, and then frees what it has.

    Thread-safe. Not for a child made by ``os.fork``.

    Args:
        where: the broker's label or address; None: an own one.
        max_workers: how many processes, if it has its own; None: one for each core.
        name: with a name, the session outlives this program; see `Session`.
        initializer: called once in each worker process before the first call there. If it raises,
            all calls that are pending raise `concurrent.futures.BrokenExecutor`, and so does `submit`.
        initargs: its arguments.
        settings: None: `Settings.load()`.

    Raises:
        ConnectError: there is no way to the broker; the subclass and the text say why.
        PayloadError: the initializer or its arguments cannot be pickled.
    """

    def __init__(
        self,
        where: str | None = None,
        *,
        max_workers: int | None = None,
        name: str | None = None,
        initializer: Function | None = None,
        initargs: tuple[Any, ...] = (),
        settings: Settings | None = None,
    ) -> None:
        if where is not None and max_workers is not None:
            raise ValueError(
                f"the workers of broker {where!r} are started by `pyrotask worker {where} -n {max_workers}`: "
                "max_workers is for an Executor without a label, which brings its own"
            )
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be greater than 0, not {max_workers}")
        if initializer is not None and not callable(initializer):
            raise TypeError(f"the initializer must be callable, not {initializer!r}")
        chosen = settings or Settings.load()
        self._workers = None if where is not None else max_workers or os.cpu_count() or 1
        team = None if self._workers is None else LocalTeam(self._workers, chosen)
        if team is not None:
            where, chosen = team.address, team.settings
        assert where is not None
        try:
            self._session = Session(where, name, chosen, broker=None if team is None else team.broker)
        except BaseException:
            if team is not None:
                team.close()
            raise
        self._keeper = Keeper(self._session, team)
        self._has_initializer = initializer is not None
        self._callables = Callables()
        self._lock = threading.Lock()
        self._stored: set[str] = set()
        try:
            self._set_up = self._stored_set_up(initializer, initargs)
        except BaseException:
            self._keeper.close()
            raise
        self._keeper.end_with(self)

    def __repr__(self) -> str:
        own = f"with {self._workers} own worker{'' if self._workers == 1 else 's'}"
        what = own if self._workers else f"at {self._session.where}"
        state = "shut down" if self._keeper.is_shut_down else f"{len(self._session.pending)} pending"
        return f"<pyrotask.Executor {what}: {state}>"

    # --- calls --------------------------------------------------------------------------------------

    def submit(self, fn: Function | str, /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Have ``fn(*args, **kwargs)`` called by a worker; returns the future result.

        Args:
            fn: a callable; or a text, the tag of a handler that the workers have.
            args: its arguments; they are copied here and now.
            kwargs: likewise; a handler takes none.

        What cannot be pickled is the future's exception. It waits only while 100,000 calls or
        64 MiB are unsent.

        Raises:
            RuntimeError: the executor has been shut down.
            BrokenExecutor: its initializer has failed, or its session is over; the cause says why.
        """
        return self.submit_with({}, fn, args, kwargs)

    def map(
        self,
        fn: Function,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: bool | str = False,
    ) -> Iterator[Any]:
        """The results of ``fn`` with each item (or with one of each iterable), in their order.

        Many calls travel as one task, a *chunk*: as many as take a twentieth of a second, as is
        found out on the way, so that a million tiny calls are fast, and long ones are spread evenly.

        Args:
            fn: a callable.
            iterables: collected at once, unless there is a ``buffersize``.
            timeout: how many seconds from now on each result may take.
            chunksize: how many calls make a task; None: as said.
            buffersize: how many items at most are taken from the iterables ahead of the results.
            progress: True, or a text: show a bar while the results are asked for; see `client.progress`.

        Raises, when the result is asked for: what the call has raised; TimeoutError.
        """
        results = self.map_with(
            {}, fn, iterables, timeout=timeout, chunksize=chunksize, buffersize=buffersize
        )
        return with_progress(results, total_of(iterables), progress) if progress else results

    def with_options(self, **options: Any) -> WithOptions:
        """The same executor, with these options for each call: ``ex.with_options(retries=3).submit(f, x)``.

        ``priority``, ``key``, ``delay_s``, ``retries``, ``time_limit_s`` and so on: see `Session.submit`.
        A ``key`` is for one call: the same key is the same call, and is done once.
        """
        unknown = sorted(options.keys() - OPTIONS)
        if unknown:
            raise TypeError(f"there is no option {unknown[0]!r}; there are: {', '.join(sorted(OPTIONS))}")
        return WithOptions(self, options)

    def attach(self, key: str) -> TaskFuture:
        """The future result of the call that was submitted under this key; see `Session.attach`."""
        self._check_open()
        return self._session.attach(key)

    def results(self, timeout_s: float | None = None) -> Iterator[Answer]:
        """The answers of the named session's earlier life; see `Session.results`."""
        yield from self._session.results(timeout_s)  # as long as that goes on, this is not freed

    @property
    def has_room(self) -> bool:
        """Whether a submit would not wait now."""
        return self._session.has_room

    # --- the end --------------------------------------------------------------------------------------

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take no more calls, and free what it has when those that were submitted are done. Idempotent.

        Args:
            wait: block until then; else that happens in the background, and the interpreter does not
                end before.
            cancel_futures: cancel what no worker has begun.
        """
        if self._session.is_of_a_parent:
            return  # a forked child has nothing to free
        with self._lock:
            is_first, self._keeper.is_shut_down = not self._keeper.is_shut_down, True
        if cancel_futures:
            self._session.withdraw()
        if wait:
            self._keeper.finish()
        elif is_first:
            self._keeper.finish_later()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """`shutdown`. After Ctrl-C, what is not done is cancelled, also what runs."""
        if kind is not None and not issubclass(kind, Exception):
            self.cancel_all()
        self.shutdown()

    def cancel_all(self) -> None:
        """Cancel all calls that are not done, also those that run. Returns at once."""
        for future in self._session.pending:
            future.cancel()

    def leave(self) -> None:
        """`shutdown`, without waiting for calls: they are cancelled, or go on if the session has a name."""
        self._keeper.is_shut_down = True
        self._keeper.close()

    # --- inside -----------------------------------------------------------------------------------------

    def submit_with(
        self, options: dict[str, Any], fn: Function | str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> TaskFuture:
        """`submit`, with options."""
        self._check_open()
        said = {name: value for name, value in options.items() if value is not None}
        try:
            if isinstance(fn, str):
                if kwargs:
                    raise TypeError(f"the handler of tag {fn!r} takes positional arguments only")
                return self._submitted(fn, self._session.encode(args), said)
            label = self._stored_label(fn, said.get("key"))
            future = self._submitted(CALL, self._session.encode((self._set_up, label, args, kwargs)), said)
            future.called = getattr(fn, "__qualname__", None) or type(fn).__qualname__
            return future
        except PayloadError as error:
            return _failed(fn if isinstance(fn, str) else CALL, error)

    def map_with(
        self,
        options: dict[str, Any],
        fn: Function,
        iterables: tuple[Iterable[Any], ...],
        *,
        timeout: float | None,
        chunksize: int | None,
        buffersize: int | None,
    ) -> Iterator[Any]:
        """`map`, with options."""
        self._check_open()
        if "key" in options:
            raise TypeError("a key names one call: use submit for it")
        label = self._stored_label(fn, None)
        are_tuples = len(iterables) != 1
        raises = bool(options.get("retries"))  # else the broker would see nothing to retry

        def submit_chunk(items: list[Any]) -> TaskFuture:
            try:
                value = self._session.encode((self._set_up, label, items, are_tuples, raises))
                return self._submitted(MAP, value, options)
            except PayloadError as error:
                return _failed(MAP, error)

        mapping = Mapping(
            submit_chunk,
            zip(*iterables, strict=False) if are_tuples else iter(*iterables),
            workers=self._workers or self._session.count_workers(),
            chunksize=chunksize,
            buffersize=buffersize,
        )
        return mapping.results(timeout)

    def _submitted(self, tag: str, value: Payload, options: dict[str, Any]) -> TaskFuture:
        try:
            future = self._session.submit_payload(tag, value, options)
        except PayloadError:
            raise
        except PyrotaskError as error:
            raise BrokenExecutor(str(error)) from error
        if self._has_initializer:
            future.add_done_callback(partial(_look_at_set_up, self._keeper))
        return future

    def _check_open(self) -> None:
        if self._keeper.broken is not None:
            raise BrokenExecutor(self._keeper.broken)
        if self._keeper.is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _stored_label(self, function: Function, key: str | None) -> str:
        """Where the worker finds it: with a key it is stored for all sessions, else for ours."""
        if not callable(function):
            raise TypeError(f"a function is needed, or the tag of a handler, not {function!r}")
        packed = self._callables.packed(function)
        identity = None if key is None else self._callables.identity(function)
        if key is not None and identity is None:
            check_repeatable(key, packed)
        return self._store(packed, identity, for_good=key is not None)

    def _stored_set_up(self, initializer: Function | None, initargs: tuple[Any, ...]) -> str | None:
        path = [] if self._workers is None else _own_path()
        if initializer is None and not path:
            return None
        return self._store(packed_set_up(initializer, initargs, path), for_good=self._workers is None)

    def _store(self, packed: Payload, identity: str | None = None, *, for_good: bool) -> str:
        label = label_of(packed, None if for_good else self._session.number, identity)
        with self._lock:  # until it is on its way before the calls of it, also those of other threads
            if label not in self._stored:
                self._session.store(label, packed, for_good=for_good)
                self._stored.add(label)
        return label


class WithOptions(concurrent.futures.Executor):
    """An `Executor`'s `submit` and `map` with other options. From `Executor.with_options`."""

    def __init__(self, executor: Executor, options: dict[str, Any]) -> None:
        self._executor = executor
        self._options = options

    def submit(self, fn: Function | str, /, *args: Any, **kwargs: Any) -> TaskFuture:
        """See `Executor.submit`."""
        return self._executor.submit_with(self._options, fn, args, kwargs)

    def map(
        self,
        fn: Function,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: bool | str = False,
    ) -> Iterator[Any]:
        """See `Executor.map`. The options are those of each chunk.

        With ``retries``, a chunk is called again as a whole.
        """
        results = self._executor.map_with(
            self._options, fn, iterables, timeout=timeout, chunksize=chunksize, buffersize=buffersize
        )
        return with_progress(results, total_of(iterables), progress) if progress else results

    def with_options(self, **options: Any) -> WithOptions:
        """These options, and others."""
        return self._executor.with_options(**{**self._options, **options})

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Shut the executor down."""
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


def _failed(tag: str, error: BaseException) -> TaskFuture:
    future = TaskFuture(tag)
    future.settle(None, error)
    return future


def _look_at_set_up(keeper: Keeper, future: concurrent.futures.Future[Any]) -> None:
    error = None if future.cancelled() else future.exception()
    if isinstance(error, InitializerFailed):
        keeper.break_with(str(error))


def _own_path() -> list[str]:
    """Where this program finds modules: its script's folder among them."""
    return [str(Path(place).absolute()) for place in sys.path]
