"""The pytest fixture `pyrotask_farm`, for those who ask for it.

In the ``conftest.py`` of your tests::

    pytest_plugins = ["pyrotask.testing.plugin"]

It is not loaded by itself: who does not use it pays nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pyrotask.config import Settings
from pyrotask.testing.farm import Farm, HandlersOf

MakeFarm = Callable[..., Farm]
"""The type of the fixture, for annotations."""


@pytest.fixture
def pyrotask_farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeFarm]:
    """Make farms: ``pyrotask_farm("my_tasks", label="campaign")``; they end with the test.

    The arguments are those of `Farm`. No broker, key or setting of the machine is seen by the test,
    so a label that the program under test has is free.
    """
    for name in [name for name in os.environ if name.startswith("PYROTASK_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYROTASK_RUNTIME_DIR", str(tmp_path / "pyrotask-run"))
    with ExitStack() as farms:

        def make(
            handlers: HandlersOf | None = None,
            *,
            workers: int = 1,
            label: str | None = None,
            settings: Settings | None = None,
        ) -> Farm:
            return farms.enter_context(Farm(handlers, workers=workers, label=label, settings=settings))

        yield make
