"""The house rules that import-linter cannot say: which room may use which library."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import pyrotask

PACKAGE = Path(pyrotask.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

PURE_STANDARD_MODULES = frozenset({
    "__future__", "abc", "bisect", "collections", "collections.abc", "dataclasses", "enum", "functools",
    "hashlib", "heapq", "itertools", "math", "operator", "types", "typing", "zlib",
})  # fmt: skip
"""What the core may import: nothing here reads a clock, draws a number or does I/O."""

ROOMS_OF = {
    "Pyro5": {"remote", "taskmanager"},
    "sqlite3": {"journal"},
    "psycopg": {"journal"},
    "pickle": {"payload"},
    "cloudpickle": {"payload"},
}
"""The rooms (a folder or a file of the package) that alone may import a library."""


def _room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


@cache
def _imported_by(file: Path) -> set[str]:
    """Name the modules that a file imports, at any depth of it and for type checking too."""
    names: set[str] = set()
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


CORE = [file for file in FILES if _room(file) == "core"]


@pytest.mark.parametrize("file", CORE, ids=lambda f: f.stem)
def test_the_core_imports_only_pure_modules_itself_and_the_errors(file: Path) -> None:
    strangers = {
        name
        for name in _imported_by(file)
        if name not in PURE_STANDARD_MODULES and not name.startswith(("pyrotask.core", "pyrotask.errors"))
    }
    assert not strangers


@pytest.mark.parametrize(("library", "rooms"), ROOMS_OF.items())
def test_a_library_stays_in_its_room(library: str, rooms: set[str]) -> None:
    users = {
        str(file.relative_to(PACKAGE))
        for file in FILES
        if any(name.partition(".")[0] == library for name in _imported_by(file)) and _room(file) not in rooms
    }
    assert not users


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_are_absolute(file: Path) -> None:
    assert not [node for node in ast.walk(_parsed(file)) if isinstance(node, ast.ImportFrom) and node.level]
