"""Options that several commands share, and the settings that they make."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrotask.config import Settings


class UsageError(Exception):
    """The command line, or a setting, is no good: exit code 2."""


def add_connecting(parser: argparse.ArgumentParser) -> None:
    """Add the options of those commands that look for a broker."""
    group = parser.add_argument_group("finding the broker")
    group.add_argument(
        "--key-file",
        type=key_file,
        metavar="FILE",
        help="the broker's key (default: where its connection file says)",
    )
    group.add_argument("--name-server", metavar="HOST[:PORT]", help="the Pyro name server to ask")


def check_labels(args: argparse.Namespace) -> None:
    """See that the label that was given, if one was, can be one.

    Raises:
        UsageError: it cannot; the text says why, and what to type.
    """
    from pyrotask.remote.labels import checked_label

    for name in ("label", "broker"):
        given = getattr(args, name, None)
        if given is None:
            continue
        try:
            checked_label(given)
        except ValueError as error:
            example = "explain sqrt_17 pi" if args.command == "explain" else f"{args.command} pi"
            raise UsageError(f"{error}; as in `pyrotask {example}`") from error


def positive(text: str) -> int:
    """Parse a whole number of at least 1, as argparse's ``type``."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return number


def key_file(text: str) -> Path:
    """See that the key file that was named is there, as argparse's ``type``; only `serve` makes one."""
    path = Path(text).expanduser()
    if not path.exists():
        raise argparse.ArgumentTypeError(
            f"there is no file {text!r}: copy the broker's key file there; `pyrotask list`, on the broker's "
            "machine, names it"
        )
    return path


def seconds(text: str) -> float:
    """Parse a number of seconds greater than 0, as argparse's ``type``."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds greater than 0")
    return number


def seconds_or_zero(text: str) -> float:
    """Parse a number of seconds, which may be 0, as argparse's ``type``."""
    return 0.0 if text.strip() == "0" else seconds(text)


def settings_of(args: argparse.Namespace) -> Settings:
    """Load the settings; what the command line says goes first.

    Raises:
        UsageError: a setting is no good; the text says where it stands.
    """
    from pyrotask.config import Settings

    try:
        return Settings.load(
            key_file=getattr(args, "key_file", None), name_server=getattr(args, "name_server", None)
        )
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error
