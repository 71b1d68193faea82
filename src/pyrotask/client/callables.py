"""Functions as the workers get them: pickled again only if they may have changed.

A function of a module is pickled as its name. One of a script or notebook, a lambda or a closure is
pickled with all that it refers to; that takes a hundred microseconds, so it is remembered, until
one of the globals or outer variables that it uses is bound to something else. (A list that it
refers to, and that is changed in place, is not noticed: pass such things as arguments.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from pyrotask.client.identity import identity_of, referred_to
from pyrotask.core.model import Payload
from pyrotask.worker.functions import packed


class _Known(NamedTuple):
    used: list[object]
    """What the function uses, as it was when it was pickled."""
    packed: Payload


class Callables:
    """Pickled functions. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: WeakKeyDictionary[Callable[..., Any], _Known] = WeakKeyDictionary()
        self._identities: WeakKeyDictionary[Callable[..., Any], tuple[Payload, str | None]]
        self._identities = WeakKeyDictionary()
        """What each was found to be, and its pickle at that time."""

    def packed(self, function: Callable[..., Any]) -> Payload:
        """The function for the worker.

        Raises:
            PayloadError: it cannot be pickled.
        """
        if type(function) is not FunctionType:
            return packed(function)
        used = _used(function)
        with self._lock:
            known = self._known.get(function)
        if known is not None and len(known.used) == len(used) and all(map(_is, known.used, used)):
            return known.packed
        fresh = packed(function)
        with self._lock:
            self._known[function] = _Known(used, fresh)
        return fresh

    def identity(self, function: Callable[..., Any]) -> str | None:
        """What tells it from others, in any run; None: what `packed` gives. See `identity`."""
        fresh = self.packed(function)
        if type(function) is not FunctionType:
            return None
        with self._lock:
            told, identity = self._identities.get(function, (None, None))
        if told is not fresh:
            identity = identity_of(function)
            with self._lock:
                self._identities[function] = fresh, identity
        return identity


def _is(one: object, other: object) -> bool:
    return one is other


def _used(function: FunctionType) -> list[object]:
    """What the function refers to: code, defaults, globals, outer variables; also what such functions use."""
    used: list[object] = []
    seen = {function}
    todo = [function]
    while todo:
        one = todo.pop()
        used += one.__code__, one.__defaults__, one.__kwdefaults__
        for value in referred_to(one):
            # Functions of other modules travel by name, so what they use does not. The function
            # itself must not stand in what is kept for it: it would never be freed.
            if type(value) is not FunctionType or value.__module__ != function.__module__:
                used.append(value)
            elif value not in seen:
                used.append(value)
                seen.add(value)
                todo.append(value)
    return used
