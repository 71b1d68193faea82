"""A journal as readable lines: one JSON object for each event, and before them the image.

Events have ``position``, ``event`` and their fields. What an image says has ``image``, its
position, and ``record``, then the fields of that. Bytes stand in base64; a large value that nobody
needed any more is gone.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Iterator
from typing import Any

from pyrotask.core.events import Event
from pyrotask.core.model import Payload
from pyrotask.journal.folder import Folder
from pyrotask.journal.image import FIELDS, records_of
from pyrotask.journal.problems import JournalDamaged
from pyrotask.journal.recovery import commits, fold

Line = dict[str, Any]


def export(folder: Folder, *, payloads: bool = True) -> Iterator[Line]:
    """All that the journal says, in order.

    Args:
        folder: of the journal, which may be in use.
        payloads: also give the bytes of users' values; else their sizes only.

    Raises:
        JournalDamaged: at the place where it shows; what came before was readable.
    """
    position = 0
    images = folder.images()
    if images:
        position = images[-1].position
        state = fold(folder, up_to=position).state
        for record in records_of(state):
            name, fields = FIELDS[record[0]]
            values = _values(fields, record[1:], payloads=payloads)
            yield {"image": position, "record": name, **values}
    for commit in commits(folder, position):
        for number, event in enumerate(commit.events, commit.first):
            yield line_of(number, event, payloads=payloads)


def line_of(position: int, event: Event, *, payloads: bool = True) -> Line:
    """One event."""
    fields = _values(event._fields, event, payloads=payloads)
    return {"position": position, "event": type(event).__name__, **fields}


def _values(names: tuple[str, ...], values: tuple[Any, ...], *, payloads: bool) -> Line:
    return {name: _readable(value, payloads) for name, value in zip(names, values, strict=True)}


def _base64(value: Payload) -> Line:
    """The bytes of a value. Large ones are kept only for as long as somebody needs them."""
    try:
        return {"base64": [base64.b64encode(buffer).decode("ascii") for buffer in value.read()]}
    except JournalDamaged:
        return {"gone": True}


def _readable(value: Any, payloads: bool) -> Any:  # noqa: FBT001 - a flag that is handed down
    if isinstance(value, Payload):
        return {"format": value.format, "bytes": value.nbytes} | (_base64(value) if payloads else {})
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {str(key): _readable(item, payloads) for key, item in value.items()}
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None)
        if names is not None:
            return _values(names, value, payloads=payloads)
        return [_readable(item, payloads) for item in value]
    return value
