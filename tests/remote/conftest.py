"""Settings with a name server, and without one; an engine, and who makes bulk calls to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from Pyro5.nameserver import start_ns

from pyrotask.clock import ManualClock
from pyrotask.config import Settings
from pyrotask.core.model import Limits
from pyrotask.engine import Engine
from pyrotask.journal import MemoryJournal
from tests.ports import free_port
from tests.remote.bulk_calls import Client, Worker
from tests.remote.naming import SHORT_S, serving_pyro

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def nowhere() -> Settings:
    """Settings with no name server."""
    return Settings.load(name_server=f"127.0.0.1:{free_port()}", lookup_timeout_s=SHORT_S)


@pytest.fixture
def with_ns() -> Iterator[Settings]:
    """Settings with a name server that runs. Its timeout is long: nobody here is silent."""
    _, daemon, _ = start_ns(host="127.0.0.1", port=0, enableBroadcast=False)
    with serving_pyro(daemon):
        yield Settings.load(name_server=daemon.locationStr, lookup_timeout_s=30)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(start=1_000_000_000)


@pytest.fixture
def engine(clock: ManualClock) -> Engine:
    return Engine(Limits(), clock, MemoryJournal())


@pytest.fixture
def client(engine: Engine) -> Client:
    return Client(engine)


@pytest.fixture
def session(client: Client) -> int:
    return int(client.call("open_session", "mine"))


@pytest.fixture
def worker(engine: Engine) -> Worker:
    return Worker(engine)
