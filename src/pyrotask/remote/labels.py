"""Labels, as people give them, in the forms that other places can hold: Pyro's names, and file names."""

from __future__ import annotations

import hashlib
import string
from urllib.parse import quote, unquote

OBJECT_PREFIX = "TaskManager."

# Pyro refuses blanks in a name and cuts it at "@". All else in ASCII stands for itself, so that
# people can write PYRONAME:TaskManager.run_10:09 as they think it.
_PLAIN_IN_NAMES = "".join(set(string.punctuation) - set("@%"))
_LONGEST_QUOTED = 180


def object_name(label: str) -> str:
    """Return the name of that broker's `TaskManager` in its daemon and in the name server.

    Raises:
        TypeError, ValueError: if the label is no text, or empty.
    """
    return OBJECT_PREFIX + quote(checked_label(label), safe=_PLAIN_IN_NAMES, errors="surrogatepass")


def quote_label(label: str) -> str:
    """Return the label as a safe part of a path or URL: letters, digits and ``_-.~%`` only.

    Never ``.``, ``..`` or hidden. As long as the label needs; see `file_stem` for a bounded one.

    Raises:
        TypeError, ValueError: if the label is no text, or empty.
    """
    quoted = quote(checked_label(label), safe="", errors="surrogatepass")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def unquote_label(quoted: str) -> str:
    """Return the label of a `quote_label`, or of an `object_name` without its prefix."""
    return unquote(quoted, errors="surrogatepass")


def file_stem(label: str) -> str:
    """Return a file name for the label, of at most 220 characters, another one for each label."""
    quoted = quote_label(label)
    if len(quoted) <= _LONGEST_QUOTED:
        return quoted
    digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{quoted[: _LONGEST_QUOTED - 32]}+{digest}"  # quoting leaves no "+": a short label never looks so


def checked_label(label: str) -> str:
    """Return the label.

    Raises:
        TypeError, ValueError: if it is no text, or empty.
    """
    if not isinstance(label, str):
        raise TypeError(f"a label is a text, not {label!r}")
    if not label:
        raise ValueError("a label cannot be empty: name it after the computation, for example")
    return label
