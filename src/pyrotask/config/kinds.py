"""What the values of settings may be: how a text becomes one, and which are refused."""

# The methods of each are those of `Kind`, and described there:
# ruff: noqa: D102

from __future__ import annotations

import ipaddress
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Kind(Protocol):
    """What the values of a setting may be."""

    @property
    def allowed(self) -> str:
        """The allowed values, as the end of the sentence "allowed is ..."."""
        ...

    def parse(self, text: str) -> object:
        """Turn an environment variable into a value, not yet checked. Raises ValueError."""
        ...

    def check(self, value: object) -> object:
        """Return the value in its proper type. Raises ValueError or TypeError."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number between two bounds."""

    at_least: int
    at_most: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.at_least} to {self.at_most}"

    def parse(self, text: str) -> int:
        return int(text)

    def check(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise TypeError
        if not self.at_least <= value <= self.at_most:
            raise ValueError
        return value


@dataclass(frozen=True, slots=True)
class Number:
    """A number from some bound on."""

    at_least: float
    may_be_infinite: bool = False

    @property
    def allowed(self) -> str:
        return f"a number, at least {self.at_least:g}" + (", or inf" if self.may_be_infinite else "")

    def parse(self, text: str) -> float:
        return float(text)

    def check(self, value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError
        number = float(value)
        if not number >= self.at_least or (math.isinf(number) and not self.may_be_infinite):
            raise ValueError  # `not >=` refuses nan as well
        return number


@dataclass(frozen=True, slots=True)
class PathName:
    """The name of a file or a folder."""

    allowed: str

    def parse(self, text: str) -> str:
        return text

    def check(self, value: object) -> Path:
        if not isinstance(value, str | os.PathLike) or not os.fspath(value):
            raise TypeError
        return Path(value).expanduser().absolute()


@dataclass(frozen=True, slots=True)
class PathOrNone:
    """The same, or none."""

    path: PathName

    @property
    def allowed(self) -> str:
        return self.path.allowed

    def parse(self, text: str) -> str:
        return self.path.parse(text)

    def check(self, value: object) -> Path | None:
        return None if value is None else self.path.check(value)


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.words)}"

    def parse(self, text: str) -> str:
        return text

    def check(self, value: object) -> str:
        if value not in self.words:
            raise ValueError
        return str(value)


@dataclass(frozen=True, slots=True)
class Host:
    """A host, without a port."""

    allowed: str = "a host's name or address, without a port"

    def parse(self, text: str) -> str:
        return text

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise TypeError
        if re.fullmatch(r"\w[\w.-]*", value, re.ASCII) is None:
            ipaddress.IPv6Address(value)
        return value


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host, and a port if one likes; or none."""

    allowed: str = 'a text "host", "host:port" or "[IPv6 address]:port"'

    def parse(self, text: str) -> str:
        return text

    def check(self, value: object) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise TypeError
        split_host_port(value)
        return value


def split_host_port(text: str) -> tuple[str, int | None]:
    """Split ``"host:port"``, ``"host"`` or ``"[IPv6]:port"`` into host and port (None: not said).

    The host comes without brackets. Nothing is resolved.

    Raises:
        ValueError: if the text has none of these shapes, or the port is not in 1..65535.
    """
    match = re.fullmatch(
        r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>\w[\w.-]*))(?::(?P<port>\d{1,5}))?", text, re.ASCII
    )
    if match is None:
        raise ValueError(f"{text!r} is no host or host:port (an IPv6 address stands in brackets: [::1]:9090)")
    if match["v6"] is not None:
        ipaddress.IPv6Address(match["v6"])  # a ValueError that names the address
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 1 <= port <= 65535:  # noqa: PLR2004 - the range of TCP
        raise ValueError(f"{text!r} is no host:port: a port is in 1 to 65535")
    return match["v6"] or match["name"], port
