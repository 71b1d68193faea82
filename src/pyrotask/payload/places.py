"""The types of the plain format, and the way to each part of a plain value."""

from __future__ import annotations

import builtins
import enum
from collections.abc import Iterator
from types import NoneType
from typing import Any

from pyrotask.payload.texts import safe_repr

PLAIN_TYPES = "None, bool, int, float, complex, str, bytes, tuple, list, set, dict, date and time types"

MAX_DEPTH = 100
"""How deep plain containers may nest: each of Pyro's serializers still carries it (serpent's
reader ends at 200 parentheses), and a value that contains itself is found out."""

LEAVES = frozenset({NoneType, bool, int, float, str, bytes})
SEQUENCES = frozenset({tuple, list})
EXCEPTIONS: dict[type, str] = {
    kind: kind.__name__
    for kind in vars(builtins).values()
    if type(kind) is type and issubclass(kind, BaseException)
}


class Place(enum.Enum):
    """Where in a value something stands, as far as Pyro's serializers treat it differently."""

    VALUE = "as a value"
    KEY = "as a dict key"
    ELEMENT = "as an element of a set"
    PART = "in a tuple that is a dict key or in a set"
    EXCEPTION = "in an exception"


Path = tuple[Any, str, object] | None
"""The way to a part of a value, from its end: (the way to what it is in, template, key)."""


def nodes(value: Any, place: Place, path: Path) -> Iterator[tuple[Any, Place, Path]]:
    """Yield the value and everything in it, in the order in which `_lower` visits it."""
    yield value, place, path
    kind = type(value)
    if kind in SEQUENCES:
        below = Place.PART if place in {Place.KEY, Place.ELEMENT} else place
        for index, item in enumerate(value):
            yield from nodes(item, below, (path, "[{}]", index))
    elif kind is dict:
        for key, item in value.items():
            yield from nodes(key, Place.KEY, (path, " (its key {})", key))
            yield from nodes(item, place, (path, "[{}]", key))
    elif kind is set or kind is frozenset:
        for item in value:
            yield from nodes(item, Place.ELEMENT, (path, " (its element {})", item))
    elif kind in EXCEPTIONS:
        for name, item in vars(value).items():
            yield from nodes(item, Place.EXCEPTION, (path, "{}", _Attribute(name)))
        for index, item in enumerate(value.args):
            yield from nodes(item, Place.EXCEPTION, (path, ".args[{}]", index))


class _Attribute(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return f".{self}"


def too_deep(what: str) -> str:
    """Say that a value is nested too deep."""
    return f"{what}: it is nested too deep: only {MAX_DEPTH} levels can travel as a plain value; flatten it"


def where(what: str, path: Path) -> str:
    """Write down a path as Python would: ``value[1]['x']``."""
    steps = []
    while path is not None:
        path, template, key = path
        steps.append(template.format(safe_repr(key)[:80]))
    return what + "".join(reversed(steps))
