"""A journal as readable lines: one JSON object for each event, and before them the image.

Events have ``position``, ``event`` and their fields. What an image says has ``image``, its
position, and ``record``, then the fields of that. Bytes stand in base64; a large value that nobody
needed any more is gone. If a broker compacts the journal meanwhile, its new image comes in the place of the
events that went.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Iterator
from typing import Any

from pyrotask.core.events import Event
from pyrotask.core.model import Payload
from pyrotask.core.state import DurableState
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
    told = tried = 0
    while True:
        newest = _newest_image(folder)
        try:
            if newest > told:
                tried = newest
                state = fold(folder, up_to=newest).state
                yield from _lines_of_image(newest, state, payloads=payloads)
                told = newest
            for commit in commits(folder, told):
                for told, event in enumerate(commit.events, commit.first):
                    yield line_of(told, event, payloads=payloads)
            return
        except (JournalDamaged, FileNotFoundError):
            if _newest_image(folder) <= max(told, tried):
                raise


def _newest_image(folder: Folder) -> int:
    """Its position; 0: there is none."""
    return max((image.position for image in folder.images()), default=0)


def _lines_of_image(position: int, state: DurableState, *, payloads: bool) -> Iterator[Line]:
    for record in records_of(state):
        name, fields = FIELDS[record[0]]
        yield {"image": position, "record": name, **_values(fields, record[1:], payloads=payloads)}


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
