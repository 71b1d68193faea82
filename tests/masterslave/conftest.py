"""A master in the test's own process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pyrotask.config import Settings
from pyrotask.masterslave import MasterProcess

MakeMaster = Callable[..., MasterProcess]


@pytest.fixture
def make_master() -> Iterator[MakeMaster]:
    """Make masters, which are shut down at the end. Keywords that are settings become such."""
    made = []

    def make(
        label: str = "a job", kind: type[MasterProcess] = MasterProcess, **settings: Any
    ) -> MasterProcess:
        chosen = Settings.load(**{"plain_grace_s": 20.0, **settings})
        master = kind(label, use_name_server=False, settings=chosen)
        made.append(master)
        return master

    yield make
    for master in made:
        master._in_a_hurry = True
        master.shutdown()
        master.task_manager.close()
