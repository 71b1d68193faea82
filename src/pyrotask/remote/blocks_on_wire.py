"""msgpack with blocks in it: by reference where both sides share memory, else as the bytes they are.

What else Pyro's msgpack can carry, this can, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable
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


def pack_references(value: object) -> bytes:
    """Pack a value; blocks in shared memory by reference."""
    return cast("bytes", msgpack.packb(value, use_bin_type=True, default=_by_reference))


def pack_call(call: object, segment: bytes | None, most_bytes: int) -> bytes:
    """Pack a call to a broker.

    Args:
        call: what is called, and with what.
        segment: the identity of our own one that the broker has open; empty: it has none open, but may open
            what is sealed; None: all blocks go as bytes.
        most_bytes: how many bytes of blocks may go so.

    Raises:
        ValueError: there are more. Many tasks can have one block.
    """
    return cast("bytes", msgpack.packb(call, use_bin_type=True, default=_Naming(segment, most_bytes)))


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


def _by_reference(value: object) -> object:
    reference = _reference_to(value)
    return _by_value(value) if reference is None else msgpack.ExtType(EXTENSION, reference.pack())


class _Naming:
    """What stands for each block of one call: see `pack_call`."""

    __slots__ = ("_left_bytes", "_segment")

    def __init__(self, segment: bytes | None, most_bytes: int) -> None:
        self._segment = segment
        self._left_bytes = most_bytes

    def __call__(self, value: object) -> object:
        if not isinstance(value, Block):
            return _PYRO.default(value)
        named = None if self._segment is None else self._named(value)
        if named is not None:
            return named
        self._left_bytes -= value.nbytes
        if self._left_bytes < 0:
            raise ValueError("what the broker cannot open is too large for one message: send less at a time")
        return value.read()

    def _named(self, block: Block) -> msgpack.ExtType | None:
        reference = _reference_to(block)
        if reference is not None and reference.identity == self._segment:
            return msgpack.ExtType(EXTENSION, reference.pack())
        shared = block.shared
        return msgpack.ExtType(SEALED_EXTENSION, shared.offer.pack()) if isinstance(shared, Sealed) else None


def _reference_to(value: object) -> Reference | None:
    shared = value.shared if isinstance(value, Block) else None
    return None if shared is None else cast("Reference | None", shared.reference)
