from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from pyrotask import Session
from pyrotask.remote.server import Server
from tests.client.serving import HandWorker, ThreadWorker, serving


def power(base: float, exponent: float = 2.0) -> float:
    return float(base**exponent)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    session = Session(server.address)
    yield session
    session.close()


@pytest.fixture
def worker(server: Server) -> Iterator[ThreadWorker]:
    """It knows "sqrt" and "power"."""
    with ThreadWorker(server.address, {"sqrt": math.sqrt, "power": power}) as worker:
        yield worker


@pytest.fixture
def by_hand(server: Server) -> Iterator[HandWorker]:
    with HandWorker(server.address) as worker:
        yield worker
