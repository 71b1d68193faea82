"""The ways to a broker: who gets there, what is raised, and what happens when it is gone."""

from __future__ import annotations

import copy
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import Pyro5.api
import Pyro5.server
import pytest

from pyrotask.config import Settings
from pyrotask.errors import (
    AuthenticationFailed,
    BrokerNotFound,
    ConnectError,
    KeyRequired,
    TaskManagerTermination,
    TaskRaisedException,
    UnknownProcess,
    VersionMismatch,
)
from pyrotask.remote import bulk
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.proxy import TaskManagerProxy, connect
from pyrotask.remote.security import create_key
from pyrotask.remote.server import Server
from pyrotask.remote.versions import WIRES
from tests.daemons import serve_in_thread
from tests.remote.serving import in_thread, parked
from tests.waiting import until

PATIENCE_S = 30.0

Serve = Callable[..., Server]


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(closing: ExitStack) -> Serve:
    """Start servers that are stopped at the end."""

    def start(label: str = "run 7", **options: Any) -> Server:
        server = Server(label=label, name_server="off", **options)
        server.start()
        closing.callback(server.stop)
        return server

    return start


def connected(closing: ExitStack, where: str, **options: Any) -> TaskManagerProxy:
    proxy = connect(where, **options)
    closing.callback(proxy._pyroRelease)
    return proxy


def bulk_to(closing: ExitStack, where: str, **options: Any) -> BulkProxy:
    return closing.enter_context(BulkProxy(where, **options))


def when_somebody_waits(server: Server, act: Callable[[], object]) -> None:
    until(lambda: parked(server) == 1)
    act()


def serve_stranger(closing: ExitStack, object_id: str, methods: dict[str, Callable[..., Any]]) -> str:
    """Start another Pyro program, with an object of that id. Returns its address."""
    daemon = Pyro5.server.Daemon(host="127.0.0.1")
    daemon.register(Pyro5.api.expose(type("Stranger", (), dict(methods)))(), object_id)
    thread = serve_in_thread(daemon)
    closing.callback(thread.join, PATIENCE_S)
    closing.callback(daemon.shutdown)
    return str(daemon.locationStr)


# --- the reference API --------------------------------------------------------------------------


def test_a_broker_is_reached_by_its_label(serve: Serve, closing: ExitStack) -> None:
    serve("msd_Sun_Nov_22 10:10@home")
    assert connected(closing, "msd_Sun_Nov_22 10:10@home").addTaskRequest("sqrt", (2.0,)) == "sqrt_0"


def test_a_broker_is_reached_by_its_address_alone(serve: Serve, closing: ExitStack) -> None:
    server = serve("run 7", connection_file=False)
    assert connected(closing, server.address).addTaskRequest("sqrt", (2.0,)) == "sqrt_0"


def test_a_task_goes_round(serve: Serve, closing: ExitStack) -> None:
    serve()
    master, slave = connected(closing, "run 7"), connected(closing, "run 7")
    master.addTaskRequest("sqrt", (9.0,))
    task_id, (x,) = slave.getTaskWithTag("sqrt")
    slave.storeResult(task_id, x**0.5)
    assert master.getAnyResult() == ("sqrt_0", "sqrt", 3.0)


@pytest.mark.parametrize("serializer", ["serpent", "json", "msgpack"])
def test_any_serializer_can_be_chosen(serve: Serve, closing: ExitStack, serializer: str) -> None:
    serve()
    proxy = connected(closing, "run 7", serializer=serializer)
    proxy.storeData(x=[1, "two"])
    assert proxy.retrieveData("x") == [1, "two"]


def test_errors_arrive_as_our_own(serve: Serve, closing: ExitStack) -> None:
    serve()
    with pytest.raises(UnknownProcess, match="17"):
        connected(closing, "run 7").unregisterProcess(17)


def test_what_a_task_raised_arrives_with_all_it_has(serve: Serve, closing: ExitStack) -> None:
    serve()
    proxy = connected(closing, "run 7")
    proxy.addTaskRequest("sqrt", (-1.0,))
    task_id, _, _ = proxy.getAnyTask()
    proxy.storeException(task_id, ValueError("no root"), "the traceback")
    with pytest.raises(TaskRaisedException) as caught:
        proxy.getAnyResult()
    error = caught.value
    assert (error.task_id, error.tag, repr(error.exception), error.traceback) == (
        "sqrt_0",
        "sqrt",
        "ValueError('no root')",
        "the traceback",
    )


def test_the_end_arrives_as_itself_at_who_waits(serve: Serve, closing: ExitStack) -> None:
    server = serve()
    proxy = connected(closing, "run 7")
    ending = in_thread(lambda: when_somebody_waits(server, server.task_manager.terminate))
    with pytest.raises(TaskManagerTermination):
        proxy.getAnyTask()
    ending()


def test_errors_in_a_batch_are_our_own_too(serve: Serve, closing: ExitStack) -> None:
    serve()
    batch = Pyro5.api.BatchProxy(connected(closing, "run 7"))
    batch.addTaskRequest("sqrt", (2.0,))
    batch.unregisterProcess(17)
    results = batch()
    assert next(results) == "sqrt_0"
    with pytest.raises(UnknownProcess):
        next(results)


@pytest.mark.parametrize("copied", [copy.copy, lambda proxy: pickle.loads(pickle.dumps(proxy))])
def test_a_copy_is_a_proxy_of_its_own(
    serve: Serve, closing: ExitStack, tmp_path: Path, copied: Callable[[TaskManagerProxy], TaskManagerProxy]
) -> None:
    serve(key_file=tmp_path / "key")
    with copied(connected(closing, "run 7")) as proxy:
        assert proxy.addTaskRequest("sqrt", (2.0,)) == "sqrt_0"


def test_a_proxy_connects_again_after_a_broken_connection(serve: Serve, closing: ExitStack) -> None:
    server = serve()
    proxy = connected(closing, "run 7")
    server.stop()
    with pytest.raises(ConnectError):
        proxy.numberOfTasks()
    serve(port=server.port)
    assert proxy.addTaskRequest("sqrt", (2.0,)) == "sqrt_0"


def test_a_broker_that_dies_is_told_with_what_to_type(serve: Serve, closing: ExitStack) -> None:
    server = serve("run 7")
    proxy = connected(closing, "run 7")
    server.stop()
    for what in ("is gone, in numberOfTasks", "cannot connect"):
        with pytest.raises(ConnectError, match=what) as caught:
            proxy.numberOfTasks()
        assert f"the broker 'run 7' at {server.address}" in str(caught.value)
        assert "`pyrotask serve 'run 7'`" in str(caught.value)


def test_a_broker_that_dies_while_a_master_waits_is_told_as_pyro_tells_it_too(
    serve: Serve, closing: ExitStack
) -> None:
    server = serve()
    proxy = connected(closing, "run 7")
    stopping = in_thread(lambda: when_somebody_waits(server, server.stop))
    with pytest.raises(Pyro5.errors.ConnectionClosedError, match="in getAnyResult") as caught:
        proxy.getAnyResult()
    assert isinstance(caught.value, ConnectError)
    stopping()


def test_a_call_that_takes_longer_than_it_may_is_a_timeout_of_pyros_too(
    serve: Serve, closing: ExitStack
) -> None:
    serve()
    proxy = connected(closing, "run 7", timeout_s=1.0)
    with pytest.raises(Pyro5.errors.TimeoutError, match="did not answer getAnyTask in time") as caught:
        proxy.getAnyTask()
    assert isinstance(caught.value, ConnectError)


def test_a_label_that_nobody_has_is_told_with_what_to_type() -> None:
    with pytest.raises(BrokerNotFound, match="pyrotask serve nowhere"):
        connect("nowhere")


# --- keys -----------------------------------------------------------------------------------------


def test_with_the_brokers_key_both_proxies_get_in(serve: Serve, closing: ExitStack, tmp_path: Path) -> None:
    server = serve(key_file=tmp_path / "key")
    settings = Settings.load(key_file=tmp_path / "key")
    assert connected(closing, "run 7").addTaskRequest("sqrt", (2.0,)) == "sqrt_0"
    assert bulk_to(closing, server.address, settings=settings).call("hello")["label"] == "run 7"


@pytest.mark.parametrize("opens", [connect, BulkProxy])
def test_without_a_key_one_is_told_where_to_get_it(
    serve: Serve, tmp_path: Path, opens: Callable[..., object]
) -> None:
    server = serve(key_file=tmp_path / "key", connection_file=False)
    with pytest.raises(KeyRequired, match="copy its key file"):
        opens(server.address)


@pytest.mark.parametrize("opens", [connect, BulkProxy])
def test_with_another_key_nobody_gets_in(serve: Serve, tmp_path: Path, opens: Callable[..., object]) -> None:
    server = serve(key_file=tmp_path / "key", connection_file=False)
    create_key(tmp_path / "other")
    with pytest.raises(AuthenticationFailed, match="key"):
        opens(server.address, Settings.load(key_file=tmp_path / "other"))


def test_a_program_that_does_not_ask_for_the_key_is_not_the_broker(serve: Serve, tmp_path: Path) -> None:
    with_key = serve(key_file=tmp_path / "key")
    file = next(Settings.load().runtime_dir.glob("*.broker.json"))
    kept = shutil.copy2(file, tmp_path / "kept")
    with_key.stop()
    serve(port=with_key.port)
    shutil.copy2(kept, file)
    with pytest.raises(AuthenticationFailed, match="does not know of the key"):
        BulkProxy("run 7")


# --- the bulk proxy ---------------------------------------------------------------------------------


def test_it_knows_whom_it_talks_to(serve: Serve, closing: ExitStack) -> None:
    server = serve()
    proxy = bulk_to(closing, "run 7")
    assert (proxy.label, proxy.lineage, proxy.location) == (
        "run 7",
        server.task_manager.broker.engine.lineage,
        server.address,
    )


NEWER = WIRES.newest + 1
OLDER = WIRES.oldest - 1


@pytest.mark.parametrize("wires", [{"wire": OLDER}, {"wire": NEWER, "oldest_wire": NEWER}, {"wire": "1"}, {}])
def test_another_interface_is_refused_with_the_command_to_type(
    closing: ExitStack, wires: dict[str, Any]
) -> None:
    hello = {**wires, "version": "9.8.7", "lineage": "x", "label": "run 7"}
    where = serve_stranger(closing, bulk.OBJECT_ID, {"hello": lambda self: hello})
    with pytest.raises(
        VersionMismatch, match=r"runs pyrotask 9\.8\.7 .* this is 0.*pip install pyrotask==9\.8\.7"
    ):
        BulkProxy(where)


def test_a_broker_of_a_neighbouring_version_is_spoken_to_in_the_version_that_both_know(
    closing: ExitStack,
) -> None:
    hello = {"wire": NEWER, "oldest_wire": WIRES.newest, "lineage": "x", "label": "run 7"}
    where = serve_stranger(closing, bulk.OBJECT_ID, {"hello": lambda self: hello})
    assert bulk_to(closing, where).wire == WIRES.newest


def test_a_call_that_an_older_broker_does_not_know_is_told_with_the_command_to_type(
    closing: ExitStack,
) -> None:
    hello = {"wire": 1, "version": "0.0.9", "lineage": "x", "label": "run 7"}
    proxy = bulk_to(closing, serve_stranger(closing, bulk.OBJECT_ID, {"hello": lambda self: hello}))
    with pytest.raises(
        VersionMismatch, match=r"\(interface 1\), and cannot peek: .*`pip install -U pyrotask`"
    ):
        proxy.call("peek", {})


def test_a_broker_that_says_no_hello_is_refused_as_another_version(closing: ExitStack) -> None:
    where = serve_stranger(closing, bulk.OBJECT_ID, {"status": lambda self: None})
    with pytest.raises(VersionMismatch, match="pip install -U pyrotask"):
        BulkProxy(where)


def test_another_pyro_program_is_told_from_a_broker(closing: ExitStack) -> None:
    where = serve_stranger(closing, "Something.Else", {"hello": lambda self: None})
    with pytest.raises(BrokerNotFound, match="is no broker"):
        BulkProxy(where)


def test_nobody_at_an_address_is_told_with_what_to_type(serve: Serve) -> None:
    server = serve(connection_file=False)
    server.stop()
    with pytest.raises(BrokerNotFound, match=rf"nobody answers at {server.address}: .* `pyrotask list`"):
        BulkProxy(server.address)


def test_errors_of_a_call_are_our_own_and_the_connection_lives_on(serve: Serve, closing: ExitStack) -> None:
    serve()
    proxy = bulk_to(closing, "run 7")
    with pytest.raises(UnknownProcess):
        proxy.call("unregister", 17)
    with pytest.raises(TypeError):
        proxy.call("unregister", "seventeen")
    assert proxy.call("hello")["label"] == "run 7"


def test_a_broken_connection_is_a_connect_error_and_leaves_it_closed(
    serve: Serve, closing: ExitStack
) -> None:
    server = serve()
    proxy = bulk_to(closing, "run 7")
    server.stop()
    with pytest.raises(ConnectError, match="broke in status"):
        proxy.call("status")
    with pytest.raises(ConnectError, match="call reconnect first"):
        proxy.call("status")


def test_an_answer_that_does_not_come_is_a_broken_connection(serve: Serve, closing: ExitStack) -> None:
    serve()
    proxy = bulk_to(closing, "run 7")
    process = proxy.call("register_worker", None, None, "here", [])
    with pytest.raises(ConnectError):
        proxy.call("exchange", process, [], None, 1, 60.0, timeout_s=0.2)


def test_reconnecting_finds_a_broker_that_has_moved(serve: Serve, closing: ExitStack) -> None:
    first = serve()
    proxy = bulk_to(closing, "run 7")
    lineage = proxy.lineage
    first.stop()
    second = serve()
    proxy.reconnect(PATIENCE_S)
    assert (proxy.location, proxy.lineage != lineage) == (second.address, True)


def test_reconnecting_waits_for_a_broker_that_comes_later(serve: Serve, closing: ExitStack) -> None:
    first = serve(connection_file=False)
    proxy = bulk_to(closing, first.address)
    first.stop()
    came_back = threading.Timer(0.2, serve, kwargs={"port": first.port})
    came_back.start()
    proxy.reconnect(PATIENCE_S)
    came_back.join()
    assert proxy.call("hello")["label"] == "run 7"


def test_reconnecting_gives_up_after_its_time_with_the_reason(serve: Serve, closing: ExitStack) -> None:
    server = serve()
    proxy = bulk_to(closing, "run 7")
    server.stop()
    with pytest.raises(ConnectError, match=r"gave up after 0\.1 s .*no broker of label 'run 7' was found"):
        proxy.reconnect(0.1)


def test_reconnecting_stops_when_it_is_told_to(serve: Serve, closing: ExitStack) -> None:
    server = serve()
    proxy = bulk_to(closing, "run 7")
    server.stop()
    stop = threading.Event()
    stop.set()
    with pytest.raises(ConnectError, match="told to stop"):
        proxy.reconnect(stop=stop)


def test_one_that_is_not_connected_yet_can_wait_for_its_broker(serve: Serve, closing: ExitStack) -> None:
    proxy = bulk_to(closing, "run 7", connect=False)
    serve()
    proxy.reconnect(PATIENCE_S)
    assert proxy.label == "run 7"


def test_it_can_be_handed_on_to_another_thread(serve: Serve, closing: ExitStack) -> None:
    serve()
    proxy = bulk_to(closing, "run 7")
    labels: list[str] = []
    thread = threading.Thread(target=lambda: labels.append(proxy.call("hello")["label"]))
    thread.start()
    thread.join()
    assert labels == ["run 7"]


def test_closing_again_does_nothing(serve: Serve) -> None:
    serve()
    proxy = BulkProxy("run 7")
    proxy.close()
    proxy.close()
