"""msgpack with blocks in it: by reference where both sides share memory, else as the bytes they are.

What else Pyro's msgpack can carry, this can, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import msgpack
from Pyro5.serializers import serializers

from pyrotask.arena import EXTENSION, SEALED_EXTENSION, Offer, Reader, Reference, Sealed, Shelf
from pyrotask.core.blocks import Block

Load = Callable[[bytes | bytearray | memoryview], Any]

_PYRO = serializers["msgpack"]


def pack(value: object) -> bytes:
    """Pack a value, with the bytes of its blocks."""
    return cast("bytes", msgpack.packb(value, use_bin_type=True, default=_by_value))


def pack_references(value: object, only: bytes | None = None) -> bytes:
    """Pack a value; blocks in shared memory by reference.

    ``only``: those in the segment of this identity, and offers of those in sealed memory; None: all.
    """
    default = _by_reference if only is None else partial(_by_reference, only=only)
    return cast("bytes", msgpack.packb(value, use_bin_type=True, default=default))


def bytes_in_blocks(value: object) -> int:
    """How many bytes the blocks in a value have."""
    sizes: list[int] = []

    def noted(part: object) -> object:
        if not isinstance(part, Block):
            return _PYRO.default(part)
        sizes.append(len(part))
        return None

    msgpack.packb(value, use_bin_type=True, default=noted)
    return sum(sizes)


def loader(shelf: Shelf | None, most_bytes: int) -> Load:
    """Make the broker's function that unpacks a message, with references to no more than so many bytes."""
    if shelf is None:
        return unpack

    def load(data: bytes | bytearray | memoryview) -> Any:
        left = most_bytes

        def block(code: int, data: bytes) -> object:
            nonlocal left
            if code not in {EXTENSION, SEALED_EXTENSION}:
                return _PYRO.ext_hook(code, data)
            offer = Offer.unpack(data) if code == SEALED_EXTENSION else None
            reference = Reference.unpack(data) if offer is None else offer.reference
            left -= reference.nbytes
            if left < 0:
                raise ValueError(
                    f"the message is too large: it refers to more than {most_bytes} bytes. Send less at a "
                    "time, or start the broker with a higher max_message_bytes"
                )
            return shelf.block(reference) if offer is None else shelf.sealed_block(offer)

        return msgpack.unpackb(data, raw=False, ext_hook=block)

    return load


def unpack(data: bytes | bytearray | memoryview, reader: Reader | None = None) -> Any:
    """Unpack a message of a broker; what it refers to is copied out of shared memory, or mapped.

    Raises:
        Vanished: that is not there any more.
    """
    if reader is None:
        return msgpack.unpackb(data, raw=False, ext_hook=_PYRO.ext_hook)

    def fetched(code: int, data: bytes) -> object:
        return reader.fetch(Reference.unpack(data)) if code == EXTENSION else _PYRO.ext_hook(code, data)

    return msgpack.unpackb(data, raw=False, ext_hook=fetched)


def _by_value(value: object) -> object:
    return value.read() if isinstance(value, Block) else _PYRO.default(value)


def _by_reference(value: object, only: bytes | None = None) -> object:
    if not isinstance(value, Block):
        return _PYRO.default(value)
    shared = value.shared
    reference = None if shared is None else cast("Reference | None", shared.reference)
    if reference is None:
        return value.read()
    if only not in {None, reference.identity}:
        if isinstance(shared, Sealed):
            return msgpack.ExtType(SEALED_EXTENSION, shared.offer.pack())
        return value.read()
    return msgpack.ExtType(EXTENSION, reference.pack())
