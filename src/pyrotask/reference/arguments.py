"""What the arguments of the reference API may be: each check returns the value in its proper type.

`TypeError` or `ValueError` says which argument is no good, and why.
"""

from __future__ import annotations

from typing import cast

from pyrotask.core.model import SECOND, Nanoseconds, ProcessId

MOST = 1 << 31
"""The largest number that a caller may give for anything that is not an id."""

LONGEST_S = 1_000_000_000
"""The longest duration, some 30 years: in nanoseconds it still fits everywhere."""


def tag(value: object) -> str:
    """A tag: a text that is not empty."""
    if not text(value, "a tag"):
        raise ValueError("a tag must not be empty")
    return cast("str", value)


def text(value: object, what: str) -> str:
    """A text that can be sent as UTF-8."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{what} must be text, and {value!r} has half characters (surrogates)") from None
    return value


def process(value: object) -> ProcessId:
    """A process id, of whoever it is."""
    return ProcessId(integer(value, "a process id", at_least=None, at_most=None))


def integer(value: object, what: str, at_least: int | None, at_most: int | None = MOST) -> int:
    """A whole number between these bounds; None: there is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if at_least is not None and value < at_least:
        raise ValueError(f"{what} must be at least {at_least}, not {value}")
    if at_most is not None and value > at_most:
        raise ValueError(f"{what} must be at most {at_most}, not {value}")
    return value


def nanoseconds(seconds: object, what: str) -> Nanoseconds:
    """A duration, of more than nothing, that is given in seconds."""
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"{what} must be a number of seconds, not {type(seconds).__name__}")
    if not 0 < seconds <= LONGEST_S:
        raise ValueError(f"{what} must be greater than 0 s and at most {LONGEST_S} s, not {seconds!r}")
    return max(1, int(seconds * SECOND))


def timeout(seconds: object) -> float | None:
    """How long to wait, in seconds; None: no limit."""
    if seconds is None:
        return None
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise TypeError(f"timeout must be a number of seconds or None, not {type(seconds).__name__}")
    if not seconds >= 0:
        raise ValueError(f"timeout must be 0 s or more, or None for no limit, not {seconds!r}")
    return float(seconds) if seconds <= LONGEST_S else None
