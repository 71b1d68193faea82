"""The server, as stock Pyro5 proxies see it."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import pytest
from Pyro5 import config
from Pyro5.api import BatchProxy, Proxy
from Pyro5.errors import CommunicationError, ConnectionClosedError

from pyrotask.config import Settings
from pyrotask.errors import AddressInUse, KeyRequired
from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager
from tests.remote.serving import RawClient, connected, in_thread, parked, plain_proxy, serving
from tests.waiting import until

SERIALIZERS = ["serpent", "json", "msgpack"]


@pytest.fixture
def server() -> Any:
    with serving() as server:
        yield server


# --- the reference API -------------------------------------------------------------------------


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_all_eighteen_calls_serve_a_plain_proxy(server: Server, serializer: str) -> None:
    with plain_proxy(server, serializer) as tm:
        process = tm.registerProcess(watchdog_period=60.0, info="a plain slave")
        assert tm.ping(process) is True
        assert tm.numberOfActiveProcesses() == 1
        assert tm.activeProcessInfo(process) == "a plain slave"
        first = tm.addTaskRequest("sqrt", [2.0], process)
        second = tm.addTaskRequest("cube", {"x": 3})
        assert [dict(counts) for counts in tm.numberOfTasks()] == [
            {"sqrt": 1, "cube": 1}, {"sqrt": 0, "cube": 0}, {"sqrt": 0, "cube": 0},
        ]  # fmt: skip
        assert list(tm.getAnyTask(process)) == [first, "sqrt", [2.0]]
        tm.returnTask(first)
        assert list(tm.getTaskWithTag("cube")) == [second, {"x": 3}]
        assert list(tm.getTaskWithTag("sqrt", process)) == [first, [2.0]]
        assert tm.storeResult(first, math.sqrt(2.0)) is None
        tm.storeException(second, ValueError("no cube"), "a traceback\n")
        assert list(tm.getResultWithTag("sqrt")) == [first, math.sqrt(2.0)]
        with pytest.raises(RuntimeError) as raised:
            tm.getAnyResult()
        assert raised.value.remote_type == "TaskRaisedException"  # type: ignore[attr-defined]
        assert raised.value.task_id == second  # type: ignore[attr-defined]
        tm.storeData(a=1, b=[2, 3])
        assert tm.retrieveData("b") == [2, 3]
        tm.deleteData("a")
        with pytest.raises(KeyError, match="storeData"):
            tm.retrieveData("a")
        tm.unregisterProcess(process)
        assert tm.ping(process) is False
        tm.terminate()
        with pytest.raises(RuntimeError, match="terminated"):
            tm.addTaskRequest("sqrt", [2.0])


def test_serpent_gives_tuples_and_bytes_back_as_they_were(server: Server) -> None:
    with plain_proxy(server) as tm:
        tm.addTaskRequest("t", (1, b"bytes", {"k": (2,)}))
        assert server.task_manager.getAnyTask(timeout=0)[2] == (1, b"bytes", {"k": (2,)})


def test_a_blocked_proxy_gets_the_task_that_comes_later(server: Server) -> None:
    with plain_proxy(server) as slave:
        slave._pyroBind()
        slave._pyroClaimOwnership()

        def wait() -> Any:
            slave._pyroClaimOwnership()
            return slave.getAnyTask()

        outcome = in_thread(wait)
        until(lambda: parked(server) == 1)
        task = server.task_manager.addTaskRequest("t", 5)
        assert outcome() == (task, "t", 5)
        slave._pyroClaimOwnership()


def test_a_parked_call_ends_at_its_timeout(server: Server) -> None:
    with plain_proxy(server) as tm:
        with pytest.raises(TimeoutError, match=r"0\.05 s"):
            tm.getAnyTask(timeout=0.05)
        assert parked(server) == 0
        assert tm.numberOfActiveProcesses() == 0


def test_a_poll_answers_at_once(server: Server) -> None:
    with plain_proxy(server) as tm, pytest.raises(TimeoutError, match="nothing yet"):
        tm.getAnyResult(timeout=0)


def test_termination_reaches_who_is_parked(server: Server) -> None:
    with RawClient(server) as client:
        client.call("getAnyTask")
        until(lambda: parked(server) == 1)
        server.task_manager.terminate()
        error = client.receive()[1]
        assert error.remote_type == "TaskManagerTermination"


# --- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "args", "kind", "text"),
    [
        ("addTaskRequest", (), TypeError, r"addTaskRequest\(tag, parameters, process_id=None"),
        ("ping", (1, 2, 3), TypeError, r"ping\(process_id\)"),
        ("ping", ("x",), TypeError, "process id must be an int"),
        ("addTaskRequest", ("", 1), ValueError, "tag must not be empty"),
        ("returnTask", ("nonsense",), KeyError, "no task id"),
        ("nosuch", (), AttributeError, "it has: "),
        ("_private", (), AttributeError, "it has: "),
        ("__class__", (), AttributeError, "it has: "),
        ("close", (), AttributeError, "it has: "),
        ("broker", (), AttributeError, "it has: "),
    ],
)
def test_a_bad_call_is_told_what_is_wrong_and_the_connection_lives(
    server: Server, method: str, args: tuple[Any, ...], kind: type[Exception], text: str
) -> None:
    with plain_proxy(server) as tm:
        with pytest.raises(kind, match=text):
            tm._pyroInvoke(method, args, {})
        connection = tm._pyroConnection
        assert tm.numberOfActiveProcesses() == 0
        assert tm._pyroConnection is connection


def test_a_refused_call_carries_no_traceback_of_ours(server: Server) -> None:
    with plain_proxy(server) as tm:
        with pytest.raises(KeyError) as refused:
            tm.unregisterProcess(77)
        assert not refused.value._pyroTraceback  # type: ignore[attr-defined]


def test_what_a_task_raised_comes_with_the_traceback_of_the_task(server: Server) -> None:
    tm = server.task_manager
    tm.addTaskRequest("t", 1)
    tm.storeException(tm.getAnyTask()[0], ValueError("bad"), "line one\nline two\n")
    with plain_proxy(server) as proxy:
        with pytest.raises(RuntimeError) as raised:
            proxy.getAnyResult()
        assert raised.value._pyroTraceback == ["line one\n", "line two\n"]  # type: ignore[attr-defined]


def test_a_value_of_a_class_is_refused_by_name(server: Server) -> None:
    class Strange:
        def __init__(self) -> None:
            self.x = 1

    with plain_proxy(server) as tm:
        with pytest.raises(ValueError, match="Strange"):
            tm.addTaskRequest("t", Strange())
        assert tm.numberOfTasks()[0] == {}


def test_nobody_can_have_the_broker_make_a_proxy(server: Server) -> None:
    with plain_proxy(server) as tm, pytest.raises(ValueError, match="cannot be taken"):
        tm.addTaskRequest("t", Proxy("PYRO:trap@127.0.0.1:9"))


def test_a_result_that_the_serializer_cannot_carry_stays_where_it_is(server: Server) -> None:
    tm = server.task_manager
    tm.addTaskRequest("t", 1)
    tm.storeResult(tm.getAnyTask()[0], 1 + 2j)
    with plain_proxy(server, "json") as proxy, pytest.raises(ValueError, match="complex"):
        proxy.getAnyResult()
    assert tm.getAnyResult(timeout=0)[2] == 1 + 2j


def test_a_task_that_the_serializer_cannot_carry_stays_where_it_is(server: Server) -> None:
    server.task_manager.addTaskRequest("t", 1 + 2j)
    with plain_proxy(server, "json") as proxy, pytest.raises(ValueError, match="complex"):
        proxy.getAnyTask()
    assert server.task_manager.getAnyTask(timeout=0)[2] == 1 + 2j


# --- other shapes of calls -------------------------------------------------------------------


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_batch_is_done_in_order(server: Server, serializer: str) -> None:
    with plain_proxy(server, serializer) as tm:
        batch = BatchProxy(tm)
        for k in range(250):
            batch.addTaskRequest("t", k)
        batch.getAnyTask()
        results = list(batch())
        assert results[:250] == [f"t_{k}" for k in range(250)]
        assert list(results[250]) == ["t_0", "t", 0]


def test_nothing_in_a_batch_waits(server: Server) -> None:
    with plain_proxy(server) as tm:
        batch = BatchProxy(tm)
        batch.numberOfActiveProcesses()
        batch.getAnyTask()
        batch.addTaskRequest("never", 1)
        results = batch()
        assert next(results) == 0
        with pytest.raises(TimeoutError, match="in a batch nothing waits"):
            next(results)
        assert tm.numberOfTasks()[0] == {}


def test_a_result_collected_in_a_batch_is_collected(server: Server) -> None:
    tm = server.task_manager
    tm.addTaskRequest("t", 1)
    tm.storeResult(tm.getAnyTask()[0], "result")
    with plain_proxy(server) as proxy:
        batch = BatchProxy(proxy)
        batch.getAnyResult()
        assert list(batch()) == [("t_0", "t", "result")]
    assert tm.numberOfTasks()[2] == {}


def test_a_oneway_call_is_done_and_not_answered(server: Server) -> None:
    with plain_proxy(server) as tm:
        tm._pyroBind()
        tm._pyroOneway.add("addTaskRequest")
        assert tm.addTaskRequest("t", 1) is None
        assert tm.numberOfTasks()[0] == {"t": 1}


def test_a_oneway_call_that_fails_disturbs_nothing(server: Server) -> None:
    with plain_proxy(server) as tm:
        tm._pyroBind()
        tm._pyroOneway.add("returnTask")
        tm.returnTask("t_5")
        assert tm.numberOfActiveProcesses() == 0


def test_a_oneway_call_cannot_lose_a_task(server: Server) -> None:
    server.task_manager.addTaskRequest("t", 1)
    with plain_proxy(server) as tm:
        tm._pyroBind()
        tm._pyroOneway.add("getAnyTask")
        tm.getAnyTask()
        tm._pyroOneway.clear()
        assert tm.numberOfTasks()[0] == {"t": 1}


def test_a_oneway_batch_cannot_lose_a_task_or_a_result(server: Server) -> None:
    tm = server.task_manager
    for tag in ("done", "waiting"):
        tm.addTaskRequest(tag, 1)
    tm.storeResult(tm.getTaskWithTag("done")[0], "precious")
    with plain_proxy(server) as proxy:
        batch = BatchProxy(proxy)
        batch.getAnyResult()
        batch.getAnyTask()
        batch.storeData(label="and the rest is done")
        batch(oneway=True)
        assert proxy.retrieveData("label") == "and the rest is done"

    assert tm.getAnyResult(timeout=0) == ("done_0", "done", "precious")
    assert tm.getAnyTask(timeout=0) == ("waiting_1", "waiting", 1)


def test_a_ping_of_pyro_is_answered(server: Server) -> None:
    with RawClient(server) as client:
        client.send(6, b"ping")
        assert client.receive() == (6, b"pong")


def test_calls_that_come_in_one_piece_are_answered_one_by_one(server: Server) -> None:
    with RawClient(server) as client:
        data = client.serializer.dumpsCall(client.object_id, "addTaskRequest", ("t", 1), {})
        client.sock.sendall(client.message(4, data) * 3)
        assert [client.receive()[1] for _ in range(3)] == ["t_0", "t_1", "t_2"]


def test_what_came_in_before_the_end_of_a_connection_is_done(server: Server) -> None:
    client = RawClient(server)
    client.call("addTaskRequest", "t", "x" * 500_000, flags=4)
    client.call("addTaskRequest", "t", 2, flags=4)
    client.close()
    until(lambda: connected(server) == 0)
    until(lambda: server.task_manager.numberOfTasks()[0] == {"t": 2})


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_large_value_goes_there_and_back(server: Server, serializer: str) -> None:
    large = {"text": "äö" * 2_000_000, "numbers": list(range(50_000))}
    with plain_proxy(server, serializer) as tm:
        tm.addTaskRequest("t", large)
        assert tm.getAnyTask()[2] == large


def test_others_are_served_while_a_large_value_comes_in(server: Server) -> None:
    with RawClient(server) as slow, plain_proxy(server) as other:
        data = slow.serializer.dumpsCall(slow.object_id, "addTaskRequest", ("t", "x" * 3_000_000), {})
        message = slow.message(4, data)
        slow.sock.sendall(message[:2_000_000])
        assert other.addTaskRequest("other", 1) == "other_0"
        slow.sock.sendall(message[2_000_000:])
        assert slow.receive()[1] == "t_1"


# --- who is connected ------------------------------------------------------------------------


def test_the_request_of_a_client_that_is_gone_dies_at_once(server: Server) -> None:
    client = RawClient(server)
    client.call("getAnyTask")
    until(lambda: parked(server) == 1)
    client.close()
    until(lambda: parked(server) == 0)


def test_no_task_goes_to_a_client_that_has_just_died(server: Server) -> None:
    dead, living = RawClient(server), RawClient(server)
    for client in (dead, living):
        client.call("getAnyTask")
        until(lambda n=1 + (client is living): parked(server) == n)  # type: ignore[misc]
    # In the same instant: the loop sees one of the two first, and must not care which.
    dead.close()
    task = server.task_manager.addTaskRequest("t", 1)
    assert living.receive()[1] == (task, "t", 1)
    living.close()


@pytest.mark.slow
def test_any_bytes_are_a_sign_of_life(server: Server) -> None:
    with RawClient(server) as client:
        process = client.answer("registerProcess", 0.2)
        began = time.monotonic()
        while time.monotonic() - began < 1.5:  # four periods are 0.8 s
            client.send(6, b"ping")
            client.receive()
            threading.Event().wait(0.05)
        assert server.task_manager.ping(process) is True


def test_a_silent_process_is_lost_after_four_periods(server: Server) -> None:
    with RawClient(server) as client:
        client.answer("registerProcess", 0.05)
        client.answer("addTaskRequest", "t", 1)
        client.answer("getAnyTask", 0)
        until(lambda: server.task_manager.numberOfActiveProcesses() == 0)
        assert server.task_manager.numberOfTasks()[0] == {"t": 1}


@pytest.mark.slow
def test_a_process_is_not_lost_for_the_silence_of_its_parked_request(server: Server) -> None:
    with RawClient(server) as client:
        process = client.answer("registerProcess", 0.25)
        client.call("getAnyTask", process)
        threading.Event().wait(1.5)  # four periods are 1 s
        task = server.task_manager.addTaskRequest("t", 1)
        assert client.receive()[1] == (task, "t", 1)


# --- start and stop ----------------------------------------------------------------------------


def test_a_port_in_use_is_told(server: Server) -> None:
    with pytest.raises(AddressInUse, match="--port"):
        Server(server.task_manager, "other", port=server.port, name_server="off").start()


def test_a_public_address_needs_a_key() -> None:
    with TaskManager() as tm, pytest.raises(KeyRequired, match="--insecure"):
        Server(tm, "public", host="0.0.0.0", name_server="off").start()


def test_a_stopped_server_leaves_its_port_and_no_thread() -> None:
    before = {thread.name for thread in threading.enumerate()}
    with TaskManager() as tm:
        server = Server(tm, "first", name_server="off", connection_file=False).start()
        server.stop()
        server.stop()
        assert server.wait(0) is True
        with Server(tm, "second", port=server.port, name_server="off", connection_file=False) as second:
            assert second.port == server.port
    left = {thread.name for thread in threading.enumerate()} - before
    assert not {name for name in left if name.startswith("pyrotask-loop")}


def test_who_waits_when_the_server_stops_sees_a_broken_connection(server: Server) -> None:
    with RawClient(server) as client:
        client.call("getAnyTask")
        until(lambda: parked(server) == 1)
        server.stop()
        assert client.is_closed_by_server()
        assert parked(server) == 0


def test_the_last_answers_arrive_before_a_stop(server: Server) -> None:
    with RawClient(server) as client:
        client.call("getAnyTask")
        until(lambda: parked(server) == 1)
        server.task_manager.terminate()
        server.stop()
        assert client.receive()[1].remote_type == "TaskManagerTermination"


def test_a_server_starts_once(server: Server) -> None:
    with pytest.raises(RuntimeError, match="make another"):
        server.start()


def test_a_broken_broker_stops_its_server(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with RawClient(server) as waiting:
        waiting.call("getAnyTask")
        until(lambda: parked(server) == 1)

        def break_it(machine: Any, now: int) -> None:
            machine.submit(now, "t", None)

        reply = server.task_manager.broker.engine.execute(break_it).reply
        with pytest.raises(type(reply)):
            server.wait(60)
        assert waiting.receive()[1].remote_type == "BrokerBroken"
    assert "stops" in caplog.text


def test_a_label_of_any_characters_is_served() -> None:
    with serving("run at 10:09 @home / 50 %") as server, Proxy(server.uri) as tm:
        assert tm.numberOfActiveProcesses() == 0


def test_the_house_is_full(server: Server) -> None:
    settings = Settings(max_connections=2)
    with serving("small", settings=settings) as small, RawClient(small), RawClient(small):
        third = Proxy(small.uri)
        with pytest.raises(CommunicationError, match="no room"):
            third._pyroBind()


def test_there_is_room_again_when_somebody_left() -> None:
    with serving("small", settings=Settings(max_connections=1)) as small:
        RawClient(small).close()
        until(lambda: connected(small) == 0)
        with plain_proxy(small) as tm:
            assert tm.numberOfActiveProcesses() == 0


def test_a_proxy_of_an_object_that_is_not_there_is_told(server: Server) -> None:
    proxy = Proxy(f"PYRO:nobody@{server.address}")
    with pytest.raises(CommunicationError, match="rejected: unknown object$"):
        proxy._pyroBind()


def test_compression_switched_on_by_a_user_is_refused_with_the_remedy(server: Server) -> None:
    with plain_proxy(server) as tm:
        tm._pyroBind()
        config.COMPRESSION = True
        try:
            with pytest.raises(ValueError, match="COMPRESSION = False"):
                tm.addTaskRequest("t", "x" * 1000)
        finally:
            config.COMPRESSION = False
        assert tm.numberOfActiveProcesses() == 0


def test_marshal_is_refused_with_the_remedy(server: Server) -> None:
    with plain_proxy(server, "marshal") as tm, pytest.raises(CommunicationError, match="serpent"):
        tm._pyroBind()


def test_a_stop_ends_the_requests_of_proxies(server: Server) -> None:
    def wait() -> Any:
        with Proxy(server.uri) as proxy:
            return proxy.getAnyTask()

    outcome = in_thread(wait)
    until(lambda: parked(server) == 1)
    server.stop()
    assert isinstance(outcome(), ConnectionClosedError)
