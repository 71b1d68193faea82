"""Any value <-> a payload of the format that fits it."""

from __future__ import annotations

from typing import Any

from pyrotask.core.model import PICKLE, PLAIN, Payload
from pyrotask.errors import PayloadError
from pyrotask.payload.pickled import Keep, decode_pickle, encode_pickle
from pyrotask.payload.plain import NotPlain, pack, unpack


def encode(value: object, keep: Keep | None = None) -> Payload:
    """Encode any value: plain where that carries it exactly, else pickle.

    ``keep``: is given each buffer, and may return a block that has a copy of it.
    Raises PayloadError when neither can.
    """
    try:
        payload = pack(value)
    except NotPlain:
        return encode_pickle(value, keep)
    kept = None if keep is None else keep(payload.read()[0])
    return payload if kept is None else Payload(PLAIN, (kept,))


def decode(payload: Payload) -> Any:
    """Return a new object from a payload of any format; **reading a pickle runs its code**.

    A writable buffer (a bytearray) is given away by the caller: the object may live in it.
    Read-only ones (bytes) are copied where the object is to be writable.
    Raises PayloadError with the reason when the object cannot be made here.
    """
    if payload.format == PLAIN:
        return unpack(payload)
    if payload.format != PICKLE:
        raise PayloadError(
            f"payload format {payload.format!r} is unknown to this version of pyrotask; "
            "update it to the version that the sender uses: pip install -U pyrotask"
        )
    return decode_pickle(payload)
