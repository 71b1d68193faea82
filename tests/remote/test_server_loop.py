"""What the loop promises about time: deadlines, durability, and what is undone."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from Pyro5 import protocol

from pyrotask.config import Settings
from pyrotask.errors import BrokerBroken
from pyrotask.journal import MemoryJournal, Ticket
from pyrotask.remote import hub
from pyrotask.remote.connection import AT_ONCE
from pyrotask.remote.errands import Errands
from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager
from tests.remote.serving import LONG_S, RawClient, connected, parked, plain_proxy, serving
from tests.waiting import until


class SlowJournal(MemoryJournal):
    """A journal whose disk can be held up."""

    def __init__(self) -> None:
        super().__init__()
        self.is_held = False
        self.waiting: list[Callable[[], None]] = []
        self.waits = threading.Event()

    def on_durable(self, ticket: Ticket, call: Callable[[], None]) -> None:
        if self.is_held:
            self.waiting.append(call)
            self.waits.set()
        else:
            call()

    def release(self) -> None:
        """The disk has it now. It is the journal's own thread that says so."""
        self.is_held = False
        calls, self.waiting = self.waiting, []
        thread = threading.Thread(target=lambda: [call() for call in calls])
        thread.start()
        thread.join()


@pytest.fixture
def journal() -> SlowJournal:
    return SlowJournal()


@pytest.fixture
def server(journal: SlowJournal) -> Iterator[Server]:
    with (
        TaskManager(journal=journal) as tm,
        Server(tm, "slow", name_server="off", connection_file=False) as server,
    ):
        yield server


def test_an_answer_leaves_when_it_is_durable(server: Server, journal: SlowJournal) -> None:
    with RawClient(server) as client:
        journal.is_held = True
        client.call("addTaskRequest", "t", 1)
        assert journal.waits.wait(60)
        client.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        client.sock.settimeout(60)
        journal.release()
        assert client.receive()[1] == "t_0"


def test_others_are_served_while_an_answer_waits_for_the_disk(server: Server, journal: SlowJournal) -> None:
    with RawClient(server) as client, plain_proxy(server) as other:
        journal.is_held = True
        client.call("addTaskRequest", "t", 1)
        assert journal.waits.wait(60)
        journal.is_held = False
        assert other.numberOfTasks()[0] == {"t": 1}
        journal.release()


def test_a_task_whose_client_dies_before_it_is_durable_is_first_in_line_again(
    server: Server, journal: SlowJournal
) -> None:
    client = RawClient(server)
    server.task_manager.addTaskRequest("t", 1)
    journal.is_held = True
    client.call("getAnyTask")
    assert journal.waits.wait(60)
    client.close()
    until(lambda: connected(server) == 0)
    journal.release()
    until(lambda: server.task_manager.numberOfTasks()[0] == {"t": 1})


def test_a_result_whose_client_dies_before_it_is_durable_comes_again(
    server: Server, journal: SlowJournal
) -> None:
    tm = server.task_manager
    tm.addTaskRequest("t", 1)
    tm.storeResult(tm.getAnyTask()[0], "result")
    client = RawClient(server)
    journal.is_held = True
    client.call("getAnyResult")
    assert journal.waits.wait(60)
    client.close()
    until(lambda: connected(server) == 0)
    journal.release()
    until(lambda: tm.numberOfTasks()[2] == {"t": 1})
    assert tm.getAnyResult(timeout=60)[2] == "result"


def test_what_came_in_behind_a_request_that_waits_is_done_when_the_connection_closes(server: Server) -> None:
    with RawClient(server) as client:
        client.call("getAnyTask")
        until(lambda: parked(server) == 1)
        client.call("addTaskRequest", "t", 1, flags=protocol.FLAGS_ONEWAY)
    until(lambda: server.task_manager.numberOfTasks()[0] == {"t": 1})
    until(lambda: connected(server) == parked(server) == 0)


def test_when_the_loop_dies_the_server_stops_with_the_story_and_everybody_sees_it(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[BrokerBroken] = []
    server.on_broken(told.append)
    with RawClient(server) as client:
        client.call("getAnyTask")
        until(lambda: parked(server) == 1)
        hub = server._hub
        assert hub is not None
        hub.loop.call_soon_threadsafe(sys.exit, "a bad day")
        with pytest.raises(BrokerBroken, match=r"event loop of the broker 'slow' .*a bad day"):
            server.wait(LONG_S)
        assert client.is_closed_by_server()
    assert [str(error) for error in told] == [str(server._broken)]
    assert parked(server) == connected(server) == 0
    assert "the event loop of the broker 'slow' has ended" in caplog.text
    late: list[BrokerBroken] = []
    server.on_broken(late.append)
    assert late == told


def test_what_a_stop_could_not_send_is_first_in_line_again(server: Server, journal: SlowJournal) -> None:
    server.task_manager.addTaskRequest("t", 1)
    with RawClient(server) as client:
        journal.is_held = True
        client.call("getAnyTask")
        assert journal.waits.wait(60)
        server.stop()
    journal.release()
    assert server.task_manager.numberOfTasks()[0] == {"t": 1}


@pytest.mark.slow
def test_nobody_is_lost_for_what_the_loop_has_not_read_yet() -> None:
    with serving() as server, RawClient(server) as client:
        process = client.answer("registerProcess", 0.25)
        assert server._hub is not None
        held_up, go_on = threading.Event(), threading.Event()
        server._hub.post(held_up.set)
        server._hub.post(go_on.wait, 60)
        assert held_up.wait(60)
        pause = threading.Event()
        for _ in range(6):  # half as long again as it takes to be lost
            client.send(6, b"ping")
            pause.wait(0.25)
        go_on.set()
        for _ in range(6):
            assert client.receive()[0] == 6
        assert client.answer("ping", process) is True


def test_ctrl_c_while_a_server_starts_leaves_nothing_that_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(threading.Event):
        """The user types Ctrl-C while somebody waits for it."""

        times = 0

        def wait(self, timeout: float | None = None) -> bool:
            super().wait(timeout)
            self.times += 1
            if self.times == 1:
                raise KeyboardInterrupt
            return True

    changed = {**vars(threading), "Event": Interrupted}
    monkeypatch.setattr(hub, "threading", SimpleNamespace(**changed))
    with TaskManager() as tm:
        server = Server(tm, "test", name_server="off", connection_file=False)
        with pytest.raises(KeyboardInterrupt):
            server.start()
        assert not any(thread.name == "pyrotask-loop" for thread in threading.enumerate())
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port), timeout=LONG_S)


def test_a_signal_handler_may_stop_a_server_that_is_being_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, handled = hub.Hub.stop, list[int]()
    stopped = Server(label="test", name_server="off", settings=Settings(runtime_dir=tmp_path / "run"))

    def handle(number: int, _frame: object) -> None:
        handled.append(number)
        stopped.stop()

    def interrupted(the_hub: hub.Hub, timeout_s: float) -> None:
        if not handled:
            signal.raise_signal(signal.SIGINT)
        stop(the_hub, timeout_s)

    monkeypatch.setattr(hub.Hub, "stop", interrupted)
    before = signal.signal(signal.SIGINT, handle)
    try:
        stopped.start().stop()
    finally:
        signal.signal(signal.SIGINT, before)
    assert handled == [signal.SIGINT]
    assert stopped.wait(0)


def test_what_a_finalizer_posts_while_mail_is_delivered_is_delivered_too() -> None:
    mail, delivered, of_finalizer = deque(["first"]), list[str](), deque(["late"])

    def deliver() -> None:
        delivered.extend(mail)
        mail.clear()
        mail.extend(of_finalizer)  # Python calls it when the last look at the mail is over
        of_finalizer.clear()

    with hub.Deferring(deliver, mail):
        pass
    assert delivered == ["first", "late"]


@contextmanager
def held_up(server: Server) -> Iterator[None]:
    """The loop reads nothing within the block, so that all that is sent has arrived at its end."""
    assert server._hub is not None
    stands, may_go_on = threading.Event(), threading.Event()
    server._hub.post(stands.set)
    server._hub.post(may_go_on.wait, LONG_S)
    assert stands.wait(LONG_S)
    try:
        yield
    finally:
        may_go_on.set()


@pytest.mark.parametrize("event_loop", ["auto", "asyncio"])
def test_others_are_served_between_the_messages_of_one_who_sends_very_many(event_loop: str) -> None:
    with (
        serving(settings=Settings(event_loop=event_loop)) as server,
        RawClient(server) as flooding,
        RawClient(server) as other,
    ):
        call = flooding.serializer.dumpsCall(flooding.object_id, "addTaskRequest", ("t", 1), {})
        with held_up(server):
            flooding.sock.sendall(1000 * flooding.message(protocol.MSG_INVOKE, call))
            other.call("numberOfTasks")
        assert other.receive()[1][0].get("t", 0) <= 2 * AT_ONCE
        assert [flooding.receive()[1] for _ in range(1000)] == [f"t_{k}" for k in range(1000)]


def test_all_that_one_has_sent_is_done_when_he_leaves_before_the_others_had_their_turn() -> None:
    with serving() as server, RawClient(server) as leaving:
        call = leaving.serializer.dumpsCall(leaving.object_id, "addTaskRequest", ("t", 1), {})
        with held_up(server):
            leaving.sock.sendall(1000 * leaving.message(protocol.MSG_INVOKE, call, protocol.FLAGS_ONEWAY))
            leaving.close()
        until(lambda: server.task_manager.numberOfTasks()[0] == {"t": 1000})
        until(lambda: connected(server) == 0)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_failing_errand_does_not_end_its_thread(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error("as asked")

    errands, done = Errands("one", 1), threading.Event()
    errands.run(fail)
    errands.run(done.set)
    assert done.wait(60)
    assert error.__name__ in caplog.text
    errands.stop()


def test_errands_beyond_the_threads_wait_in_line() -> None:
    errands, gate, done = Errands("two", 2), threading.Event(), threading.Semaphore(0)
    for _ in range(5):
        errands.run(lambda: done.release() if gate.wait(60) else None)
    assert sum(thread.name == "two" for thread in threading.enumerate()) == 2
    gate.set()
    for _ in range(5):
        assert done.acquire(timeout=60)
    errands.stop()


@pytest.fixture
def threads_left(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many more threads the system gives, by their names: of others as many as they want."""
    left: dict[str, int] = {}
    start = threading.Thread.start

    def start_if_allowed(thread: threading.Thread) -> None:
        if thread.name in left:
            if not left[thread.name]:
                raise RuntimeError("can't start new thread")
            left[thread.name] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_if_allowed)
    return left


def test_one_thread_does_all_errands_if_the_system_gives_no_more(threads_left: dict[str, int]) -> None:
    threads_left["two"] = 1
    errands, gate, done = Errands("two", 2), threading.Event(), threading.Semaphore(0)
    for _ in range(3):
        assert errands.run(lambda: done.release() if gate.wait(60) else None)
    gate.set()
    for _ in range(3):
        assert done.acquire(timeout=60)
    errands.stop()


def test_errands_are_done_again_when_the_system_gives_threads_again(threads_left: dict[str, int]) -> None:
    threads_left["two"] = 0
    errands, done = Errands("two", 2), threading.Event()
    for _ in range(3):
        assert not errands.run(done.set)
    del threads_left["two"]
    assert errands.run(done.set)
    assert done.wait(60)
    errands.stop()


def test_a_large_value_is_taken_though_the_system_gives_no_thread(threads_left: dict[str, int]) -> None:
    threads_left["pyrotask-large"] = 0
    with serving() as server, plain_proxy(server) as tm:
        for k in range(3):
            assert tm.addTaskRequest("t", "x" * 1_000_000) == f"t_{k}"
        assert tm.getAnyTask() == ("t_0", "t", "x" * 1_000_000)


def test_a_users_object_without_a_thread_breaks_the_connection_and_holds_up_nobody(
    threads_left: dict[str, int],
) -> None:
    threads_left["pyrotask-objects"] = 0
    with serving() as server, RawClient(server) as other, RawClient(server) as client:
        server.daemon.register(threading.Event(), "event")
        client.call("wait", object_id="event")
        assert client.is_closed_by_server()
        assert other.answer("numberOfActiveProcesses") == 0


def test_a_timeout_and_its_answer_do_not_both_count() -> None:
    with serving() as server, plain_proxy(server) as tm:
        taken = 0
        for _ in range(100):
            server.task_manager.addTaskRequest("t", 1)
            taken += 1
            tm.getAnyTask(timeout=0.001)
            with pytest.raises(TimeoutError):
                tm.getAnyTask(timeout=0.001)
        assert tm.numberOfTasks()[1] == {"t": taken}
        assert parked(server) == 0
