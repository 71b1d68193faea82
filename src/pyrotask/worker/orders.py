"""What a process tells one that it starts: in a file without a name, which the other inherits.

Not on the command line, where everybody sees it (`ps`), and a kilobyte of settings hides the rest.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Self

from pyrotask.config import Settings
from pyrotask.worker.nameless import nameless_file


@contextmanager
def inheritable(text: str) -> Iterator[int]:
    """A descriptor that a child can inherit within the block, to read the text from it."""
    with os.fdopen(nameless_file("orders"), "w+b") as file:
        file.write(text.encode())
        file.seek(0)
        yield file.fileno()


def read_inherited(descriptor: int) -> str:
    """Read what `inheritable` has for us, once; the descriptor is closed."""
    with os.fdopen(descriptor, "rb") as file:
        return file.read().decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersAsText:
    """Orders that travel as text: the fields of subclasses are values that JSON has, or tuples of such."""

    settings: Settings

    def to_json(self) -> str:
        """All of it as text."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps(values | {"settings": self.settings.to_plain()})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        settings = Settings(**values.pop("settings"))
        fitting = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(settings=settings, **fitting)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders(OrdersAsText):
    """What a supervisor tells its child."""

    where: str
    modules: tuple[str, ...]
    period_s: float
    info: str
    parent_pid: int
    slate: int
    """Descriptors that the child inherits, like those that follow."""
    tray: tuple[int, int]
    rope: int
    bell: int

    def command(self, letter: int) -> list[str]:
        """The command that starts the child; it inherits the letter, which has `to_json`.

        Where its broker is, is there for people to see.
        """
        return [sys.executable, "-m", "pyrotask.worker.child", self.where, str(letter)]
