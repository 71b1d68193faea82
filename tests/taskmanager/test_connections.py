"""Connections: what becomes of clients that die, and whose a lease is (SEMANTICS, sections 2 and 3)."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import Pyro5.api
import pytest

from pyrotask.taskmanager import TaskManager
from tests.taskmanager.houses import (
    PATIENCE_S,
    REMOTE,
    House,
    RemoteHouse,
    ask,
    eventually,
    in_background,
    open_house,
    parked,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.figures import Figure

pytestmark = pytest.mark.slow  # real processes, and real silences

CLIENT = Path(__file__).parent / "scripts" / "plain_client.py"
GRACE_S = 0.3


@pytest.fixture(params=REMOTE)
def hasty(request: pytest.FixtureRequest) -> Iterator[RemoteHouse]:
    """A manager that does not wait long for those who are gone."""
    with open_house(request.param, plain_grace_s=GRACE_S) as house:
        assert isinstance(house, RemoteHouse)
        yield house


class Client:
    """A plain client in a process of its own."""

    def __init__(self, house: RemoteHouse, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(CLIENT), house.uri, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def says(self, line: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip().startswith(line)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def test_the_task_of_a_killed_client_is_at_the_front_again(hasty: RemoteHouse) -> None:
    tm = hasty.client()
    for _ in range(2):
        tm.addTaskRequest("t", None)
    client = Client(hasty, "getAnyTask")
    for line in ("calling", "got", "done"):
        client.says(line)
    client.kill()
    eventually(lambda: tm.numberOfTasks()[1] == {"t": 0})
    assert tm.getAnyTask()[0] == "t_0"


def test_the_task_of_a_killed_process_is_at_the_front_again(hasty: RemoteHouse) -> None:
    tm = hasty.client()
    for _ in range(2):
        tm.addTaskRequest("t", None)
    client = Client(hasty, "registerProcess", "0.5", "--", "getAnyTask", "0")
    for line in ("calling", "got 0", "calling", "got"):
        client.says(line)
    client.kill()
    eventually(lambda: tm.numberOfActiveProcesses() == 0)
    assert tm.ping(0) is False
    assert tm.getAnyTask()[0] == "t_0"


def test_a_killed_client_that_waited_never_gets_a_task(remote: RemoteHouse) -> None:
    tm = remote.client()
    client = Client(remote, "getAnyTask")
    client.says("calling")
    eventually(lambda: parked(remote) == 1)
    client.kill()
    tm.addTaskRequest("t", None)
    # Not after the grace of a lease, half a minute: it was never handed out.
    assert tm.getAnyTask(timeout=PATIENCE_S)[0] == "t_0"


def test_the_next_in_line_gets_the_task_that_a_killed_client_would_have_got(hasty: RemoteHouse) -> None:
    clients = [Client(hasty, "getAnyTask") for _ in range(3)]
    for client in clients:
        client.says("calling")
    eventually(lambda: parked(hasty) == 3)
    alive = in_background(hasty, "getAnyTask")
    for client in clients:
        client.kill()
    hasty.client().addTaskRequest("t", None)
    assert alive.result()[0] == "t_0"


def test_a_result_for_a_killed_client_goes_to_the_next(hasty: RemoteHouse) -> None:
    tm = hasty.client()
    client = Client(hasty, "getAnyResult")
    client.says("calling")
    eventually(lambda: parked(hasty) == 1)
    client.kill()
    tm.addTaskRequest("t", None)
    tm.storeResult(tm.getAnyTask()[0], "precious")
    assert tm.getAnyResult(timeout=10)[2] == "precious"


def test_the_thread_of_a_killed_client_notices_within_about_a_second(
    hasty: RemoteHouse, figure: Figure
) -> None:
    client = Client(hasty, "getAnyTask")
    client.says("calling")
    eventually(lambda: parked(hasty) == 1)
    client.kill()
    before = time.monotonic()
    eventually(lambda: parked(hasty) == 0)
    eventually(lambda: ask(hasty, lambda m, _: len(m.presence.connections)) == 0)
    seconds = time.monotonic() - before
    figure(f"a dead client was noticed after {seconds:.2f} s")
    assert seconds < 10


def test_an_anonymous_lease_ends_a_grace_after_its_connection(hasty: RemoteHouse) -> None:
    tm, other = hasty.client(), hasty.client()
    tm.addTaskRequest("t", None)
    other.getAnyTask()
    before = time.monotonic()
    other._pyroRelease()
    assert tm.getAnyTask(timeout=20)[0] == "t_0"
    assert time.monotonic() - before >= GRACE_S


def test_an_anonymous_lease_stays_while_its_connection_is_open(hasty: RemoteHouse) -> None:
    tm, other = hasty.client(), hasty.client()
    tm.addTaskRequest("t", None)
    other.getAnyTask()
    with refusal("TimeoutError", TimeoutError):
        tm.getAnyTask(timeout=3 * GRACE_S)


def test_a_process_without_a_promise_is_lost_a_grace_after_its_last_connection(hasty: RemoteHouse) -> None:
    tm, other = hasty.client(), hasty.client()
    other.registerProcess()
    other._pyroRelease()
    eventually(lambda: tm.numberOfActiveProcesses() == 0)


def test_a_process_without_a_promise_is_not_lost_while_connected(hasty: RemoteHouse) -> None:
    tm, other = hasty.client(), hasty.client()
    other.registerProcess()
    time.sleep(3 * GRACE_S)
    assert tm.numberOfActiveProcesses() == 1


def test_a_slave_that_opens_a_proxy_per_call_keeps_its_task(remote: RemoteHouse) -> None:
    tm = remote.client()
    tm.addTaskRequest("t", None)

    def call(method: str, *args: object) -> Any:
        with Pyro5.api.Proxy(remote.uri) as proxy:
            return getattr(proxy, method)(*args)

    process = call("registerProcess", 0.5)
    assert call("getAnyTask", process)[0] == "t_0"
    for _ in range(10):  # longer than four periods
        time.sleep(0.25)
        assert call("ping", process) is True
    call("storeResult", "t_0", "kept")
    assert tm.getAnyResult()[2] == "kept"


def test_a_process_that_asks_again_over_another_connection_gives_back_what_it_never_got(
    remote: RemoteHouse,
) -> None:
    tm, first, second = remote.client(), remote.client(), remote.client()
    for _ in range(2):
        tm.addTaskRequest("t", None)
    process = first.registerProcess()
    assert first.getAnyTask(process)[0] == "t_0"
    first._pyroRelease()
    eventually(lambda: ask(remote, lambda m, _: len(m.presence.connections)) == 1)
    assert second.getAnyTask(process)[0] == "t_0"


def test_a_process_that_asks_again_over_the_same_connection_keeps_what_it_has(remote: RemoteHouse) -> None:
    tm = remote.client()
    for _ in range(2):
        tm.addTaskRequest("t", None)
    process = tm.registerProcess()
    assert [tm.getAnyTask(process)[0] for _ in range(2)] == ["t_0", "t_1"]
    assert tm.numberOfTasks()[1] == {"t": 2}


def test_a_process_is_served_under_its_number_over_any_connection(remote: RemoteHouse) -> None:
    first, second = remote.client(), remote.client()
    process = first.registerProcess()
    first.addTaskRequest("t", None)
    second.getAnyTask(process)
    second.returnTask("t_0")  # the second speaks for the process too
    assert first.numberOfTasks()[0] == {"t": 1}


def test_a_parked_request_is_a_sign_of_life(remote: RemoteHouse) -> None:
    tm = remote.client()
    process = tm.registerProcess(0.1)
    waiting = in_background(remote, "getAnyTask", process)
    time.sleep(1.0)  # ten periods
    assert tm.numberOfActiveProcesses() == 1
    tm.addTaskRequest("t", None)
    assert waiting.result()[0] == "t_0"


def test_oneway_calls_are_done(remote: RemoteHouse) -> None:
    tm, other = remote.client(), remote.client()
    other._pyroBind()
    other._pyroOneway.add("addTaskRequest")
    other.addTaskRequest("t", 1)
    assert tuple(tm.getAnyTask(timeout=20)) == ("t_0", "t", 1)


def test_oneway_calls_are_done_also_when_their_connection_has_gone(remote: RemoteHouse) -> None:
    tm = remote.client()
    for _ in range(20):
        with Pyro5.api.Proxy(remote.uri) as other:
            other._pyroBind()
            other._pyroOneway.add("addTaskRequest")
            other.addTaskRequest("t", 1)
    eventually(lambda: tm.numberOfTasks()[0] == {"t": 20})
    eventually(lambda: ask(remote, lambda m, _: len(m.presence.connections)) == 1)


def test_a_batch_is_done_call_by_call(remote: RemoteHouse) -> None:
    batch = Pyro5.api.BatchProxy(remote.client())
    batch.addTaskRequest("t", 1)
    batch.getAnyTask()
    batch.numberOfTasks()
    task_id, task, numbers = batch()
    assert (task_id, tuple(task), numbers[1]) == ("t_0", ("t_0", "t", 1), {"t": 1})


def test_connections_are_forgotten_when_they_close(remote: RemoteHouse) -> None:
    for _ in range(10):
        with Pyro5.api.Proxy(remote.uri) as proxy:
            proxy.numberOfTasks()
    eventually(lambda: ask(remote, lambda m, _: len(m.presence.connections)) == 0)


def test_a_class_can_be_registered_and_is_one_manager_for_all() -> None:
    daemon = Pyro5.api.Daemon(host="127.0.0.1")
    uri = daemon.register(TaskManager)
    loop = threading.Thread(target=daemon.requestLoop, daemon=True)
    loop.start()
    try:
        with Pyro5.api.Proxy(uri) as one, Pyro5.api.Proxy(uri) as other:
            one.addTaskRequest("t", 1)
            assert other.numberOfTasks()[0] == {"t": 1}
            one.terminate()
    finally:
        daemon.shutdown()
        loop.join(10)
        daemon.close()


def test_an_error_leaves_the_connection_usable(house: House) -> None:
    tm = house.client()
    for _ in range(3):
        with refusal("UnknownProcess", KeyError):
            tm.activeProcessInfo(5)
    assert tm.numberOfActiveProcesses() == 0
