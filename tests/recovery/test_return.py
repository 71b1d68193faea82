"""A broker that was away, and comes back: how long until everybody is with it again, and goes on."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pyrotask import payload
from pyrotask.core.model import Payload
from pyrotask.errors import ConnectError
from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold
from pyrotask.remote.bulk_proxy import BulkProxy
from tests.recovery.houses import LABEL, PATIENCE_S, Broker, working
from tests.remote.naming import name_server_process
from tests.remote.serving import in_thread
from tests.waiting import until

AWAY_S = 3.0
"""Long enough for the pauses between two tries to have become long."""

FOUND_WITHIN_S = 5.0
"""What is promised of our own clients and workers."""

WORK_WITHIN_S = 2.0
"""What is promised of the work as a whole."""

MANY_TIMES = 5
"""So many times of what is promised a busy machine may take: what fails a test is no promise kept at all."""

MANY = 10_000

pytestmark = pytest.mark.slow


class Way(NamedTuple):
    """How the broker is found."""

    where: str
    """What clients and workers are told."""
    options: dict[str, Any]
    """What its brokers are started with."""


@contextmanager
def way(
    how: str, journal: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Broker, Way]]:
    """The first broker, and how the later ones are found."""
    if how == "by its connection file":
        with Broker(journal) as first:
            yield first, Way(LABEL, {})
    elif how == "by its address":
        with Broker(journal) as first:
            yield first, Way(first.address, {"port": first.port})
    else:
        with name_server_process() as (port, _):
            monkeypatch.setenv("PYROTASK_NAME_SERVER", f"127.0.0.1:{port}")
            options: dict[str, Any] = {"name_server": f"127.0.0.1:{port}", "runtime_dir": elsewhere}
            with Broker(journal, **options) as first:
                yield first, Way(LABEL, options)


@pytest.mark.parametrize("how", ["by its connection file", "by the name server", "by its address"])
def test_a_broker_that_returns_is_found(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "journal"
    with (
        way(how, journal, tmp_path / "elsewhere", monkeypatch) as (first, found),
        working(tmp_path, 2, found.where),
        BulkProxy(found.where) as client,
    ):
        first.kill()
        with pytest.raises(ConnectError):
            client.call("status")
        reconnected = in_thread(lambda: _reconnected_at(client))
        time.sleep(AWAY_S)  # what happens meanwhile is that nothing is there
        with Broker(journal, **found.options):
            back_at = time.monotonic()
            client_s = reconnected() - back_at
            until(lambda: _connected_workers(client) == 2)
            workers_s = time.monotonic() - back_at
    print(f"\n{how}: a client was there again after {client_s:.2f} s, two workers after {workers_s:.2f} s")
    assert client_s < MANY_TIMES * FOUND_WITHIN_S
    assert workers_s < MANY_TIMES * FOUND_WITHIN_S


@pytest.mark.parametrize("how", ["by its connection file", "by the name server"])
def test_a_broker_whose_old_port_belongs_to_a_silent_stranger_returns_and_is_found(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, elsewhere = tmp_path / "journal", tmp_path / "elsewhere"
    with way(how, journal, elsewhere, monkeypatch) as (first, found), BulkProxy(found.where) as client:
        first.kill()
        with taken(first.port):
            reconnected = in_thread(lambda: _reconnected_at(client))
            with Broker(journal, **found.options):
                back_at = time.monotonic()
                assert reconnected() - back_at < MANY_TIMES * FOUND_WITHIN_S


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Somebody listens there, and never answers."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        yield


def test_of_ten_thousand_tasks_each_is_answered_once_when_the_broker_is_killed(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with Broker(journal) as first, working(tmp_path, 2), BulkProxy(LABEL) as client:
        session = client.call("open_session", "ten thousand")
        items = [["double", _to_wire((number, 0.0))] for number in range(MANY)]
        tasks = client.call("submit", session, 1, 0, items)
        collector = Collector(client, session)
        while len(collector.answers) < MANY // 3:
            collector.collect()
        first.kill()
        with Broker(journal):
            back_at = time.monotonic()
            before = len(collector.answers)
            while len(collector.answers) == before:
                collector.collect()
            pause_s = time.monotonic() - back_at
            while len(collector.answers) < MANY:
                collector.collect()
            collector.collect(last=True)
    assert [collector.answers[task] for task in tasks] == [2 * number for number in range(MANY)]
    runs = (tmp_path / "runs").read_text(encoding="utf-8").split()
    folded = fold(Folder(journal))
    print(
        f"\n{MANY} of {MANY} tasks, {len(runs) - MANY} ran twice, {folded.state.late_answers} late answers; "
        f"work went on {pause_s:.2f} s after the broker's return"
    )
    assert folded.state.tasks == {}
    assert sorted(map(int, set(runs))) == list(range(MANY))
    assert pause_s < MANY_TIMES * WORK_WITHIN_S


def _reconnected_at(client: BulkProxy) -> float:
    client.reconnect(PATIENCE_S)
    return time.monotonic()


class Collector:
    """Takes the answers of a session, each once."""

    def __init__(self, client: BulkProxy, session: int) -> None:
        self._client = client
        self._session = session
        self._received = 0
        self.answers: dict[int, Any] = {}

    def collect(self, *, last: bool = False) -> None:
        """Take what is there. ``last``: say that all has arrived."""
        try:
            reply = self._client.call(
                "collect", self._session, self._received, 0 if last else 100, 0 if last else 10.0
            )
        except ConnectError:
            self._client.reconnect(PATIENCE_S)
            return
        for delivery, task, _, (kind, value) in reply["deliveries"]:
            assert kind == "value", value
            assert task not in self.answers, task
            self.answers[task] = payload.decode(Payload(value[0], tuple(value[1])))
            self._received = delivery


def _connected_workers(client: BulkProxy) -> int:
    return sum(process["connected"] for process in client.call("status")["processes"])


def _to_wire(value: object) -> list[Any]:
    encoded = payload.encode(value)
    return [encoded.format, list(encoded.buffers)]
