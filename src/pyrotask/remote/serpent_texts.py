"""Short calls and replies in serpent, Pyro's default serializer, without Python's compiler.

serpent's texts are Python literals, and its reader has Python compile each: that takes longer than
what most calls ask for. Nearly all calls of the reference API are names, numbers and rows of them, and
so are the replies. Those are read and written here; whatever else there is, or could be meant
otherwise, is None here, and serpent's own business. So nothing is accepted here that serpent would
refuse, and nothing means anything else (`tests/remote/test_serpent_texts.py` asks serpent).
"""

from __future__ import annotations

import math
import re
from typing import Any

SHORT_BYTES = 4096
"""Longer calls are left to serpent: nothing here is said about what takes how much memory."""

LEVELS = 3
"""How deep rows nest in what is written. Deeper ones, and those that contain themselves, are serpent's."""

HEADER = "# serpent utf-8 python3.2\n"

# What is possessive here repeats one set of characters. Where more is repeated, that leaves Python 3.11
# before 3.11.5 at a wrong place, and "(3)" would be a tuple. It is not needed: the next character always
# says which way to go, so no other way leads far, and what is refused is refused soon.
_STRING = r"'[ -&(-\[\]-~]*+'"  # printable ASCII, without quotes of its kind and escapes
_NUMBER = r"-?(?:0|[1-9][0-9]{0,17}+)(?:\.[0-9]{1,20}+)?(?:e[-+][0-9]{1,3}+)?"
_LEAF = rf"(?:{_STRING}|{_NUMBER}|None|True|False)"


def _row_or_leaf(item: str) -> str:
    """The pattern of a leaf, or of a tuple or list of items as serpent writes it."""
    return rf"(?:{_LEAF}|\((?:{item}(?:(?:,{item})+|,))?\)|\[(?:{item}(?:,{item})*)?\])"


_ARGUMENT = _row_or_leaf(_row_or_leaf(_LEAF))
_CALL = re.compile(
    rf"{HEADER}\(({_STRING}),({_STRING}),\(((?:{_ARGUMENT}(?:(?:,{_ARGUMENT})+|,))?)\),\{{\}}\)"
)
_TOKEN = re.compile(rf"{_STRING}|[\[\]()]|[^\[\](),']+")

_WORDS = {"None": None, "True": True, "False": False}

_AS_REPR = frozenset({str, int, bool, type(None)})


def read_call(data: bytes | bytearray) -> tuple[str, str, tuple[Any, ...], dict[str, Any]] | None:
    """What ``serpent.loads`` would return for this call; None: ask it. Raises nothing."""
    if len(data) > SHORT_BYTES or not data.isascii():
        return None
    found = _CALL.fullmatch(data.decode("ascii"))
    if found is None:
        return None
    object_id, method, args = found.groups()
    return object_id[1:-1], method[1:-1], tuple(_items(args)), {}


def write(value: object) -> bytes | None:
    """What Pyro's serpent serializer would make of this value; None: ask it.

    Raises ValueError, as serpent does, for an int of more digits than Python writes.
    """
    text = _text(value, LEVELS)
    return None if text is None else (HEADER + text).encode()


def _items(text: str) -> list[Any]:
    """The items of a row, of which is known that it is one."""
    items: list[Any] = []
    outer: list[list[Any]] = []
    for token in _TOKEN.findall(text):
        first = token[0]
        if first == "'":
            items.append(token[1:-1])
        elif first in "([":
            outer.append(items)
            items = []
        elif first in ")]":
            row = items if first == "]" else tuple(items)
            items = outer.pop()
            items.append(row)
        elif token in _WORDS:
            items.append(_WORDS[token])
        else:
            items.append(float(token) if "." in token or "e" in token else int(token))
    return items


def _text(value: Any, levels: int) -> str | None:
    kind = type(value)
    if kind in _AS_REPR:
        return repr(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else None
    if (kind is not tuple and kind is not list) or not levels:
        return None
    parts = []
    for item in value:
        part = _text(item, levels - 1)
        if part is None:
            return None
        parts.append(part)
    inside = ",".join(parts)
    if kind is list:
        return f"[{inside}]"
    return f"({inside},)" if len(parts) == 1 else f"({inside})"
