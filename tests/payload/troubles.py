"""Exceptions and objects that make trouble when they travel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class OwnError(ValueError):
    pass


class Silent(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Bad:
    """Raises what it is told when it is pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class Bomb:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return explode, (self.error,)


def explode(error: BaseException) -> None:
    raise error


def caught(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as exc:  # noqa: BLE001
        return exc
    raise AssertionError("it did not raise")


def divide_by_zero() -> float:
    try:
        return 1 / 0
    except ZeroDivisionError as error:
        raise ValueError("bad step", 7) from error
