"""Where the values of settings come from, and what is said of one that is no good."""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyrotask.config.kinds import Kind

ENVIRONMENT_PREFIX = "PYROTASK_"
CONFIG_VARIABLE = "PYROTASK_CONFIG"

NOT_SETTINGS = frozenset({CONFIG_VARIABLE})
"""Variables with our prefix that are no settings; every other unknown one is a mistyped setting."""

ARGUMENT = "argument"


def found(kinds: Mapping[str, Kind], arguments: Mapping[str, object]) -> dict[str, object]:
    """All values that somebody has named: arguments count more than the environment, and that than the file.

    Raises:
        ValueError: one is not allowed, or there is no such setting.
        FileNotFoundError: ``PYROTASK_CONFIG`` names a file that is not there.
    """
    values: dict[str, object] = {}
    for name, value, source in (*_from_file(), *_from_environment(), *_from_arguments(arguments)):
        if name not in kinds:
            raise ValueError(_unknown(name, source, kinds))
        values[name] = _read(name, kinds[name], value, source)
    return values


def checked(name: str, kind: Kind, value: object, source: str = ARGUMENT) -> object:
    """The value in its proper type. ValueError: it is not allowed; the text says what is, and its source."""
    try:
        return kind.check(value)
    except (TypeError, ValueError):
        raise ValueError(_refused(name, kind, value, source)) from None


def config_dir() -> Path:
    """Where this user's configuration is."""
    return platformdirs.user_config_path("pyrotask", appauthor=False)


@dataclass(frozen=True, slots=True)
class _Text:
    """A value from the environment, where everything is text."""

    text: str


def _from_file() -> Iterator[tuple[str, object, str]]:
    named = os.environ.get(CONFIG_VARIABLE)
    path = Path(named).expanduser() if named else config_dir() / "pyrotask.toml"
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if named:
            raise FileNotFoundError(
                f"{CONFIG_VARIABLE} names {path}, which is not there: write it, or `unset {CONFIG_VARIABLE}`"
            ) from None
        return
    except ValueError as error:  # not TOML, or not UTF-8
        raise ValueError(f"{path} is no TOML file: {error}") from error
    for name, value in table.items():
        yield name, value, str(path)


def _from_environment() -> Iterator[tuple[str, object, str]]:
    for variable, text in sorted(os.environ.items()):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable not in NOT_SETTINGS and text:
            name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            yield name, _Text(text), f"environment variable {variable}"


def _from_arguments(overrides: Mapping[str, object]) -> Iterator[tuple[str, object, str]]:
    for name, value in overrides.items():
        if value is not None:
            yield name, value, ARGUMENT


def _read(name: str, kind: Kind, value: object, source: str) -> object:
    if not isinstance(value, _Text):
        return checked(name, kind, value, source)
    try:
        parsed = kind.parse(value.text)
    except ValueError:
        raise ValueError(_refused(name, kind, value.text, source)) from None
    return checked(name, kind, parsed, source)


def _refused(name: str, kind: Kind, value: object, source: str) -> str:
    return f"setting {name} = {value!r} ({source}) cannot be: allowed is {kind.allowed}"


def _unknown(name: str, source: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(known))}"
    return f"there is no setting {name} ({source}); {hint}"
