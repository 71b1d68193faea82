"""Users' own objects in the server's daemon: Pyro's own code serves them, and the broker goes on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import pytest
from Pyro5.api import Proxy, behavior, current_context, expose, oneway
from Pyro5.errors import ConnectionClosedError, SecurityError

from pyrotask.remote.daemon import USERS_THREADS
from pyrotask.remote.server import Server
from tests.remote.serving import LONG_S, RawClient, in_thread, plain_proxy, serving
from tests.waiting import until


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


M = TypeVar("M", bound=Callable[..., Any])


def exposed(method: M) -> M:
    """Pyro's `expose` for a method, with a type."""
    return cast("M", expose(method))


def exposed_oneway(method: M) -> M:
    """Pyro's `oneway`, with a type."""
    return cast("M", oneway(method))


@expose
class Thing:
    """An object with everything that Pyro can do."""

    def __init__(self) -> None:
        self._colour = "red"
        self.noted = threading.Event()

    def double(self, value: Any) -> Any:
        return 2 * value

    def count(self, most: int) -> Iterator[int]:
        yield from range(most)

    @property
    def colour(self) -> str:
        return self._colour

    @colour.setter
    def colour(self, value: str) -> None:
        self._colour = value

    @exposed_oneway
    def note(self) -> None:
        self.noted.set()

    def fail(self) -> None:
        raise ZeroDivisionError("as asked")

    def leave(self) -> None:
        sys.exit("as asked")

    def break_off(self) -> None:
        raise SecurityError("as asked")

    def caller(self) -> Any:
        return current_context.client_sock_addr


@expose
@behavior(instance_mode="session")
class Session:
    """One for each connection."""

    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> int:
        self.calls += 1
        return self.calls


class Gate:
    """A method that blocks."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Semaphore(0)

    @exposed
    def wait(self) -> str:
        self.entered.release()
        self.opened.wait(60)
        return "through"


def test_methods_properties_and_streams_work_as_in_pyro(server: Server) -> None:
    thing = Thing()
    with Proxy(server.daemon.register(thing)) as proxy:
        assert proxy.double(value=(1, 2)) == (1, 2, 1, 2)
        assert list(proxy.count(5)) == list(range(5))
        assert proxy.colour == "red"
        proxy.colour = "blue"
        assert thing.colour == "blue"
        proxy.note()
        assert thing.noted.wait(60)
        assert proxy.caller()[0] == "127.0.0.1"


def test_an_exception_of_a_users_method_arrives_with_its_traceback(server: Server) -> None:
    with Proxy(server.daemon.register(Thing())) as proxy:
        with pytest.raises(ZeroDivisionError, match="as asked") as raised:
            proxy.fail()
        assert "in fail" in "".join(raised.value._pyroTraceback)  # type: ignore[attr-defined]
        assert proxy.double(1) == 2


def test_a_security_error_ends_the_connection(server: Server) -> None:
    server.daemon.register(Thing(), "thing")
    with RawClient(server) as client:
        client.call("break_off", object_id="thing")
        assert isinstance(client.receive()[1], SecurityError)
        assert client.is_closed_by_server()


def test_a_method_that_exits_ends_its_connection_and_nothing_else(server: Server) -> None:
    uri = server.daemon.register(Thing())
    for _ in range(USERS_THREADS):
        with Proxy(uri) as thing:
            thing._pyroTimeout = LONG_S
            with pytest.raises(ConnectionClosedError):
                thing.leave()
    with Proxy(uri) as thing:
        thing._pyroTimeout = LONG_S
        assert thing.double(2) == 4


def test_an_instance_belongs_to_its_connection(server: Server) -> None:
    uri = server.daemon.register(Session)
    with Proxy(uri) as one, Proxy(uri) as other:
        assert [one.call(), one.call(), other.call()] == [1, 2, 1]


def test_a_method_that_blocks_does_not_hold_up_the_broker(server: Server) -> None:
    gate = Gate()
    uri = server.daemon.register(gate)

    def go_through() -> Any:
        with Proxy(uri) as proxy:
            return proxy.wait()

    outcomes = [in_thread(go_through) for _ in range(USERS_THREADS + 3)]
    for _ in range(USERS_THREADS):
        gate.entered.acquire()
    with plain_proxy(server) as tm:
        assert tm.addTaskRequest("t", "x" * 1_000_000) == "t_0"
    gate.opened.set()
    assert {outcome() for outcome in outcomes} == {"through"}


def test_a_users_method_can_call_the_manager_in_its_own_process(server: Server) -> None:
    class Submitter:
        @exposed
        def submit(self) -> Any:
            server.task_manager.addTaskRequest("t", 1)
            return server.task_manager.getAnyTask()

    with Proxy(server.daemon.register(Submitter())) as proxy:
        assert proxy.submit() == ("t_0", "t", 1)


def test_the_daemon_lists_and_describes_its_objects(server: Server) -> None:
    with Proxy(f"PYRO:Pyro.Daemon@{server.address}") as daemon:
        assert "TaskManager.test" in daemon.registered()
        assert "addTaskRequest" in daemon.get_metadata("TaskManager.test")["methods"]
        assert "exchange" in daemon.get_metadata("Pyrotask.Bulk")["methods"]
        daemon.ping()


def test_what_a_connection_had_is_let_go_with_it(server: Server) -> None:
    closed = threading.Event()

    class Resource:
        def close(self) -> None:
            closed.set()

    resource = Resource()

    class Keeper:
        @exposed
        def keep(self) -> None:
            current_context.track_resource(resource)

    with Proxy(server.daemon.register(Keeper())) as proxy:
        proxy.keep()
    assert closed.wait(60)


def test_a_stream_ends_with_its_connection(server: Server) -> None:
    with Proxy(server.daemon.register(Thing())) as proxy:
        stream = proxy.count(10)
        assert next(stream) == 0
        assert server.daemon.streaming_responses
        proxy._pyroRelease()
    until(lambda: all(client is None for client, *_ in server.daemon.streaming_responses.values()))


def test_the_daemon_has_the_port_and_stops_the_server(server: Server) -> None:
    assert server.daemon.port == server.port
    running = in_thread(server.daemon.requestLoop)
    server.daemon.shutdown()
    assert server.wait(0)
    running()
