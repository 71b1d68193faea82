from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.nodes import TASKS, Broker, Rendezvous


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A module of tasks."""
    module = tmp_path / "worker_tasks.py"
    module.write_text(TASKS, encoding="utf-8")
    return module


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.close()


@pytest.fixture
def rendezvous() -> Iterator[Rendezvous]:
    rendezvous = Rendezvous()
    yield rendezvous
    rendezvous.close()
