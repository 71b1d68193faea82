"""The places where a `TaskManager` can live, and clients of it: one suite runs over all of them.

To have the suite run over another kind of server, write a house for it, and add it to `HOUSES`.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

import Pyro5.api
import pytest

from pyrotask.config import Settings
from pyrotask.errors import BrokerBroken
from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager
from tests.daemons import serve_in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_S = 20.0
"""How long a test waits for what must come: ten times and more what it takes."""


class House(Protocol):
    """A manager, and the way to it."""

    manager: TaskManager
    is_remote: bool

    def client(self) -> Any:
        """Somebody with the reference API, for one thread. The house closes it at the end."""

    def close(self) -> None:
        """Free everybody who waits, and leave nothing behind."""


class InProcess:
    """Clients call the manager itself."""

    is_remote = False

    def __init__(self, settings: Settings) -> None:
        self.manager = TaskManager(settings)

    def client(self) -> Any:
        return self.manager

    def close(self) -> None:
        with contextlib.suppress(BrokerBroken):
            self.manager.terminate()
        self.manager.close()


class RemoteHouse:
    """Clients are plain proxies."""

    is_remote = True
    serializers: tuple[str, ...]
    uri: str

    def __init__(self, settings: Settings) -> None:
        self.manager = TaskManager(settings)
        self._clients: list[Any] = []

    def client(self) -> Any:
        proxy = Pyro5.api.Proxy(self.uri)
        self._clients.append(proxy)
        return proxy

    def speaking(self, serializer: str) -> Any:
        """A client with that serializer; skips the test where it is not served."""
        if serializer not in self.serializers:
            pytest.skip(f"{serializer} is not served here")
        proxy = self.client()
        proxy._pyroSerializer = serializer
        return proxy

    def close(self) -> None:
        self.manager.terminate()
        for proxy in self._clients:
            proxy._pyroClaimOwnership()
            proxy._pyroRelease()
        self.close_server()
        self.manager.close()

    def close_server(self) -> None:
        raise NotImplementedError


class StockDaemon(RemoteHouse):
    """The server is a daemon of Pyro's own, with its thread pool."""

    serializers = ("serpent", "json", "msgpack", "marshal")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.uri = str(shared_daemon().register(self.manager))

    def close_server(self) -> None:
        shared_daemon().unregister(self.manager)


class EventLoop(RemoteHouse):
    """The server is ours."""

    serializers = ("serpent", "json", "msgpack")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._server = Server(
            self.manager, "test", settings=settings, name_server="off", connection_file=False
        )
        self._server.start()
        self.uri = str(self._server.uri)

    def close_server(self) -> None:
        self._server.stop()


@functools.cache
def shared_daemon() -> Any:
    """The stock daemon of this run: making and ending one takes a fifth of a second."""
    daemon = Pyro5.api.Daemon(host="127.0.0.1")
    serve_in_thread(daemon)
    return daemon


def close_shared_daemon() -> None:
    """End it, at the end of the run."""
    if shared_daemon.cache_info().currsize:
        shared_daemon().shutdown()
        shared_daemon().close()
        shared_daemon.cache_clear()


HOUSES: dict[str, Callable[[Settings], House]] = {
    "in process": InProcess,
    "stock daemon": StockDaemon,
    "event loop": EventLoop,
}
REMOTE = ["stock daemon", "event loop"]


@contextlib.contextmanager
def open_house(kind: str, **settings: Any) -> Iterator[House]:
    """A house of that kind, closed at the end."""
    house = HOUSES[kind](Settings(**settings))
    try:
        yield house
    finally:
        house.close()


# --- telling what happened --------------------------------------------------------------------


class Background:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(call, *args), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[..., Any], *args: Any) -> None:
        try:
            self._value = call(*args)
        except BaseException as error:  # noqa: BLE001 - raised again by result
            self._error = error

    @property
    def is_waiting(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        """What it returned; raises what it raised."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the call did not come back"
        if self._error is not None:
            raise self._error
        return self._value


def in_background(house: House, method: str, *args: Any) -> Background:
    """Call the method as a client of its own, and return when the call is parked or over."""
    before = parked(house)

    def call() -> Any:
        return getattr(house.client(), method)(*args)

    background = Background(call)
    eventually(lambda: not background.is_waiting or parked(house) > before)
    return background


def eventually(condition: Callable[[], Any]) -> None:
    """Wait until the condition holds, which nobody can tell us."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.001)


def parked(house: House) -> int:
    """How many requests wait."""
    return int(ask(house, lambda m, _: len(m.task_wants) + len(m.result_wants)))


def image(house: House) -> Any:
    """The whole durable state."""
    return ask(house, lambda m, _: m.state.image())


def ask(house: House, question: Callable[..., Any]) -> Any:
    """Look at the machine, under its lock."""
    return house.manager.broker.engine.execute(question).reply


@contextlib.contextmanager
def refusal(name: str, kind: type[Exception], *words: str) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect our error of that name, or (over a plain proxy) the built-in that stands for it.

    Its text must have all the words.
    """
    with pytest.raises(kind) as caught:
        yield caught
    error = caught.value
    assert getattr(error, "remote_type", type(error).__name__) == name
    text = error.args[0] if isinstance(error, KeyError) else str(error)  # its str is the repr
    for word in words:
        assert word in text
