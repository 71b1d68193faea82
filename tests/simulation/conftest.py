"""``pytest tests/simulation --seed N`` lives the world of that seed, and no other."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="the world to simulate, as a failure named it")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int | None:
    """The world that was asked for; None: no special one."""
    chosen: int | None = request.config.getoption("--seed", default=None)
    return chosen
