"""Which function runs which tag.

A user's module says so in one of three ways, which can be mixed::

    from pyrotask import handler

    @handler                      # the tag is the function's name: "sqrt"
    def sqrt(x): ...

    @handler("square root")       # any tag; several are fine
    def root(x): ...

    def do_sqrt(x): ...           # the tag is what follows "do_"

A handler is called with the task's parameters: ``handler(*parameters)`` if they are a tuple,
else ``handler(parameters)``. What it returns is the result; what it raises is the answer as
well. It runs in the main thread of its process, one task at a time; an ``async def`` in an event
loop of its own, which ends with the task.

This module imports nothing of the library but its errors: marking a function costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, overload

from pyrotask.errors import HandlerError

PREFIX = "do_"
_MARK = "__pyrotask_tags__"

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)


@overload
def handler(function_or_tag: F, /) -> F: ...
@overload
def handler(function_or_tag: str, /, *more_tags: str) -> Callable[[F], F]: ...
def handler(function_or_tag: Function | str, /, *more_tags: str) -> Any:
    """Mark a function as the handler of a tag: ``@handler`` or ``@handler("tag", ...)``.

    Without a tag, it is the function's name (without ``do_``, if it begins so). The function
    itself is returned unchanged, and can be called as before.

    Raises:
        TypeError: what is marked cannot be called or marked; a tag is no text or empty.
    """
    if callable(function_or_tag):
        if more_tags:
            raise TypeError("write @handler, or @handler('tag', ...) with tags only")
        return _marked(function_or_tag, (_name(function_or_tag).removeprefix(PREFIX),))
    tags = (function_or_tag, *more_tags)
    for tag in tags:
        _check_tag(tag)
    return lambda function: _marked(function, tags)


def _check_tag(tag: object) -> None:
    if not (isinstance(tag, str) and tag):
        raise TypeError(f"a tag must be a text that is not empty, not {tag!r}")


def _marked(function: Function, tags: tuple[str, ...]) -> Function:
    if not callable(function):
        raise TypeError(f"a handler must be a function, not {type(function).__name__}")
    known: tuple[str, ...] = getattr(function, _MARK, ())
    try:
        setattr(function, _MARK, tuple(dict.fromkeys((*known, *tags))))
    except AttributeError:
        raise TypeError(
            f"{_name(function)} cannot be marked as a handler: define a function of your own that calls it"
        ) from None
    return function


class Handlers(Mapping[str, Function]):
    """The handlers of a worker, by tag. It never changes.

    Args:
        functions: callables by tag.
    """

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = dict(functions)

    def __getitem__(self, tag: str) -> Function:
        return self._functions[tag]

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)

    @classmethod
    def of_namespace(cls, namespace: Mapping[str, Any], where: str = "this namespace") -> Handlers:
        """The handlers among these names; ``where`` is what an error calls the place.

        Raises:
            HandlerError: there are none, or two different ones for a tag.
        """
        functions: dict[str, Function] = {}
        for name, value in namespace.items():
            for tag in _tags(name, value):
                _add(functions, tag, value, where)
        if not functions:
            raise HandlerError(
                f"there is no handler in {where}. Write one of these there: `@handler` (from pyrotask import "
                "handler) above `def sqrt(x)` for tasks tagged sqrt; `@handler('square root')` for any tag; "
                "or `def do_sqrt(x)`"
            )
        return cls(functions)

    @classmethod
    def of_module(cls, name: str) -> Handlers:
        """The handlers of a module, which is imported: ``"package.my_tasks"`` or ``"my_tasks.py"``.

        Raises:
            HandlerError: the module is not there, or cannot be imported, or has no handlers.
        """
        module = _imported(name)
        return cls.of_namespace(vars(module), f"module {module.__name__} ({module.__file__})")

    @classmethod
    def of_modules(cls, names: Iterable[str]) -> Handlers:
        """The handlers of several modules together; of no module, none.

        Raises:
            HandlerError: as `of_module`; two modules have different handlers for a tag.
        """
        functions: dict[str, Function] = {}
        for name in names:
            for tag, function in cls.of_module(name).items():
                _add(functions, tag, function, f"module {name} and another")
        return cls(functions)


def _tags(name: str, value: Any) -> tuple[str, ...]:
    if not callable(value):
        return ()
    marked = getattr(value, _MARK, None)
    if isinstance(marked, tuple):
        return marked
    return (name.removeprefix(PREFIX),) if name.startswith(PREFIX) and name != PREFIX else ()


def _add(functions: dict[str, Function], tag: str, function: Function, where: str) -> None:
    known = functions.setdefault(tag, function)
    if known is not function:
        raise HandlerError(
            f"tag {tag!r} has two handlers in {where}: {_place(known)} and {_place(function)}; "
            "rename one, or give it another tag with @handler('tag')"
        )


def _name(function: Function) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _place(function: Function) -> str:
    return f"{getattr(function, '__module__', '?')}.{_name(function)}"


# --- importing ----------------------------------------------------------------------------------


def working_directory_first() -> None:
    """Let modules be found in the working directory before all others, as ``python -m`` does."""
    here = str(Path.cwd())
    if sys.path[:1] not in ([here], [""]):
        sys.path.insert(0, here)


def _imported(name: str) -> ModuleType:
    if name.endswith(".py") or "/" in name or "\\" in name:
        return _imported_file(Path(name))
    return _import(name, name)


def _imported_file(path: Path) -> ModuleType:
    file = path.resolve()
    if not file.is_file():
        raise HandlerError(f"there is no file {file}; the working directory is {Path.cwd()}")
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = _import(file.stem, str(path))
    if module.__file__ is None or Path(module.__file__).resolve() != file:
        raise HandlerError(
            f"{path} cannot be imported as {file.stem}: that is {module.__file__ or 'built in'}; rename yours"
        )
    return module


def _import(name: str, as_given: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name + ".").startswith(error.name + "."):
            raise HandlerError(
                f"module {as_given!r} was not found. Looked in {Path.cwd()} (the working directory) and in "
                f"{', '.join(path for path in sys.path if path and path != str(Path.cwd()))}. Start the "
                "worker in the folder of the module, or name its file: --module path/to/my_tasks.py"
            ) from error
        raise HandlerError(
            f"module {as_given!r} cannot be imported: it needs {error.name!r}, which is not installed in "
            f"{sys.executable}; install it there, for example with `{sys.executable} -m pip install "
            f"{error.name}`"
        ) from error
    except (Exception, SystemExit) as error:
        hint = (
            "; put what it does as a script under `if __name__ == '__main__':`"
            if isinstance(error, SystemExit)
            else ""
        )
        raise HandlerError(
            f"module {as_given!r} cannot be imported: {type(error).__name__}: {error}{hint}"
        ) from error
