"""Which function is it? An answer that is the same in another run of the same script.

The pickle of a function is not: sets have another order in each run, and classes of a script get
random names. So a call with a key, which must be recognised when the script is run again, names its
function by what this says: the code and the values that it uses, and the functions and classes of its
module that it uses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from pyrotask import payload
from pyrotask.core.model import Payload
from pyrotask.errors import PayloadError

_BY_VALUE = b"_make_skeleton_"
"""Stands in the pickle of each class that travels by value: the name of what makes it, in cloudpickle."""

UNTOLD = frozenset(
    {"__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__", "__static_attributes__"}
)
"""What a class has that says nothing about it."""


def identity_of(function: Callable[..., Any]) -> str | None:
    """A digest of the function; None for a callable of another kind, which is what its pickle is."""
    if type(function) is not FunctionType:
        return None
    digest = hashlib.sha256()
    seen: set[FunctionType | type] = set()
    todo: list[FunctionType | type] = [function]
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        for part in _parts(one):
            if isinstance(part, FunctionType | type) and part.__module__ == function.__module__:
                todo.append(part)
            else:
                digest.update(_told(part))
    return digest.hexdigest()[:32]


def check_repeatable(key: str, value: Payload) -> None:
    """Return if a script that is run again can give this value once more, so that its key is known again.

    Raises:
        PayloadError: it has a class of the script itself in it, which gets another name in each run.
    """
    if any(_BY_VALUE in buffer for buffer in value._replace(buffers=value.buffers[:1]).read()):
        raise PayloadError(
            f"the call with key {key!r} has an object of a class that this script or notebook defines: such "
            "a class is another one in each run, so the key would conflict when the script is run again. Put "
            "the class into a module that this script and the workers can import, or pass what the object is "
            "made of (numbers, texts, tuples, dicts, arrays)"
        )


def _parts(one: FunctionType | type) -> Iterator[object]:
    yield one.__qualname__
    if isinstance(one, type):
        yield from one.__bases__
        for name, value in sorted(vars(one).items()):
            if name not in UNTOLD:
                yield name
                yield getattr(value, "__func__", value)  # class and static methods
        return
    yield from _code_parts(one.__code__)
    yield one.__defaults__
    yield one.__kwdefaults__
    yield from referred_to(one)


def _code_parts(code: CodeType) -> Iterator[object]:
    yield code.co_code
    yield code.co_names
    yield code.co_varnames
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_parts(constant)
        else:
            yield constant


def referred_to(function: FunctionType) -> Iterator[object]:
    """What the function finds by name outside of itself: outer variables, and globals."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it is empty yet
            yield None
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield function.__globals__[name]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _told(part: object) -> bytes:
    """A value as it is, if that is the same in each run; of anything else what it is called."""
    if not isinstance(part, FunctionType | BuiltinFunctionType | ModuleType | type):
        try:
            encoded = payload.encode(part)
        except PayloadError:
            pass
        else:
            told = b"".join(encoded.read())
            if b"cloudpickle" not in told:
                return told
    return str(getattr(part, "__qualname__", None) or type(part).__qualname__).encode()
