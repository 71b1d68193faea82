"""`house`: each test that asks for it runs in each kind of house."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.taskmanager.houses import HOUSES, REMOTE, House, RemoteHouse, close_shared_daemon, open_house

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def no_daemon_left() -> Iterator[None]:
    yield
    close_shared_daemon()


@pytest.fixture(params=list(HOUSES))
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    with open_house(request.param) as opened:
        yield opened


@pytest.fixture
def tm(house: House) -> Any:
    """A client of it."""
    return house.client()


@pytest.fixture(params=REMOTE)
def remote(request: pytest.FixtureRequest) -> Iterator[RemoteHouse]:
    with open_house(request.param) as opened:
        assert isinstance(opened, RemoteHouse)
        yield opened


@pytest.fixture
def local() -> Iterator[House]:
    with open_house("in process") as opened:
        yield opened
