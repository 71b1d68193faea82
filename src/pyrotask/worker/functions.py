"""Functions that come with their tasks: how any worker runs what an `Executor` submits.

A task of an Executor has one of two reserved tags, and names its function by the label under
which that is stored at the broker. A worker fetches it once, keeps it, and calls it as often as
it is asked to; so a function, and what it carries along, travels once to each worker.

    CALL   (set-up, label, arguments, keyword arguments)      -> what the function returns
    MAP    (set-up, label, items, are tuples, raises)         -> ``Chunk``: many calls in one task

The *set-up* is the label of a `SetUp`, or None: what is to be done once in each process.
Both sides of this are here, so that they cannot differ.
"""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from typing import Any, NamedTuple

from pyrotask import payload
from pyrotask.config import MIB, Settings
from pyrotask.core.model import CALL, MAP, Payload
from pyrotask.errors import ConnectError, PayloadError, UnknownLabel
from pyrotask.remote.bulk_proxy import BulkProxy

MOST_FUNCTIONS = 1_000
"""How many a worker keeps: a notebook that runs for weeks defines them again and again."""

MOST_BYTES = 128 * MIB
"""What those that it keeps may carry along, unless it is one alone: else each array that was ever in a
notebook's function would stay in each worker."""

Function = Callable[..., Any]
Fetch = Callable[[str], Payload]
"""Gets what is stored under a label."""


class InitializerFailed(BrokenExecutor):
    """The initializer of an Executor raised in a worker, which is the cause."""


class Chunk(NamedTuple):
    """What a `MAP` task returns, as a tuple."""

    values: list[Any]
    """Up to the first call that raised."""
    failure: tuple[Any, ...] | None
    """What that raised: format, buffers, traceback, names of types, message."""
    seconds: float
    """How long the calls took."""


# --- at the Executor ------------------------------------------------------------------------------


def packed(function: Function) -> Payload:
    """A function, or any callable, for `store_data`.

    Raises:
        PayloadError: it cannot be pickled.
    """
    inner = payload.encode_pickle(function)
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return payload.encode((_own_python(), str(name), inner.format, list(inner.buffers)))


def packed_set_up(initializer: Function | None, arguments: tuple[Any, ...], path: Sequence[str]) -> Payload:
    """What each worker process is to do once: look for modules in these places too; call the initializer."""
    inner = payload.encode_pickle((initializer, arguments))
    return payload.encode((_own_python(), list(path), inner.format, list(inner.buffers)))


def label_of(packed: Payload, session: int | None, identity: str | None = None) -> str:
    """Where it is stored: in each session its own place, or (None) one for all.

    ``identity``: what tells it from others; None: its pickle.
    """
    if identity is None:
        digest = hashlib.sha256(packed.format.encode())
        for buffer in packed.read():
            digest.update(buffer)
        identity = digest.hexdigest()[:32]
    owner = "" if session is None else f"{session}."
    return f"pyrotask.function.{owner}{identity}"


class _Known(NamedTuple):
    """A function that a worker keeps."""

    function: Function
    nbytes: int
    """How large it came."""


# --- at the worker --------------------------------------------------------------------------------


class Functions:
    """The handlers of the two tags, in one process. For one thread at a time."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._known: OrderedDict[str, _Known] = OrderedDict()
        """The longest unused first."""
        self._bytes = 0
        self._set_ups: dict[str, BaseException | None] = {}
        """Those that were done here, and what they raised."""

    def handlers(self) -> dict[str, Function]:
        """By tag."""
        return {CALL: self.call, MAP: self.map}

    def call(
        self, set_up: str | None, label: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        """Call the function."""
        function = self._ready(set_up, label)
        return function(*arguments, **keywords)

    def map(
        self,
        set_up: str | None,
        label: str,
        items: list[Any],
        are_tuples: bool,  # noqa: FBT001 - from the wire
        raises: bool,  # noqa: FBT001
    ) -> tuple[Any, ...]:
        """Call the function with each item, until one call raises; that is told, or raised."""
        function = self._ready(set_up, label)
        values: list[Any] = []
        failure = None
        began = time.perf_counter()
        try:
            if are_tuples:
                values.extend(function(*item) for item in items)
            else:
                values.extend(map(function, items))
        except Exception as error:
            if raises:
                raise
            told = payload.encode_error(error)
            kind, buffers = told.error
            failure = (kind, list(buffers), told.traceback, told.type_names, told.message)
        return tuple(Chunk(values, failure, time.perf_counter() - began))

    def _ready(self, set_up: str | None, label: str) -> Function:
        if set_up is not None:
            self._set_up(set_up)
        known = self._known.get(label)
        if known is None:
            known = self._known[label] = self._get(label)
            self._bytes += known.nbytes
            while len(self._known) > MOST_FUNCTIONS or (self._bytes > MOST_BYTES and len(self._known) > 1):
                _, oldest = self._known.popitem(last=False)
                self._bytes -= oldest.nbytes
        else:
            self._known.move_to_end(label)
        return known.function

    def _get(self, label: str) -> _Known:
        python, name, kind, buffers = self._fetched(label)
        inner = Payload(kind, tuple(buffers))
        _check_python(python, f"function {name}", inner)
        function: Function = payload.decode(inner)
        return _Known(function, sum(map(len, buffers)))

    def _set_up(self, label: str) -> None:
        if label not in self._set_ups:
            python, path, kind, buffers = self._fetched(label)
            sys.path.extend(place for place in path if place not in sys.path)
            inner = Payload(kind, tuple(buffers))
            _check_python(python, "the initializer", inner)
            try:
                initializer, arguments = payload.decode(inner)
                if initializer is not None:
                    initializer(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever it raises is told with each task
                self._set_ups[label] = error
            else:
                self._set_ups[label] = None
        broken = self._set_ups[label]
        if broken is not None:
            raise InitializerFailed(
                f"the initializer raised {type(broken).__name__} in a worker: {broken}"
            ) from broken

    def _fetched(self, label: str) -> Any:
        try:
            return payload.decode(self._fetch(label))
        except UnknownLabel as error:
            raise UnknownLabel(
                "the function of this task is not at the broker any more: the Executor that submitted it has "
                "been shut down"
            ) from error


def fetcher(where: str, settings: Settings) -> Fetch:
    """Fetch over a connection of its own, which lives as long as the call."""

    def fetch(label: str) -> Payload:
        with BulkProxy(where, settings, connect=False) as broker:
            while True:
                broker.reconnect(settings.reconnect_timeout_s)
                try:
                    kind, buffers = broker.call("retrieve_data", label)
                except ConnectError:
                    continue
                return Payload(kind, tuple(buffers))

    return fetch


def _own_python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _check_python(python: str, what: str, inner: Payload) -> None:
    """What travels by value is bytecode, which another minor version cannot run."""
    if python != _own_python() and any(b"cloudpickle" in buffer for buffer in inner.read()[:1]):
        raise PayloadError(
            f"{what} was pickled by Python {python}, and this worker runs Python {_own_python()}: functions "
            "of a script or notebook need the same minor version on both sides. Start workers with Python "
            f"{python}, or put the function into a module that both can import"
        )
