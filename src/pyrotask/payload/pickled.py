"""The pickle format. This is the only file of the package that imports pickle or cloudpickle."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

from pyrotask.core.blocks import Block, Buffer
from pyrotask.core.model import PICKLE, Payload
from pyrotask.errors import PayloadError
from pyrotask.payload.texts import describe, type_name

OUT_OF_BAND_BYTES = 16 * 1024
"""From this size on a buffer (an array's data) travels beside the pickle, not in it."""

Keep = Callable[[bytes | memoryview], Block | None]
"""Is given a buffer, a memoryview of bytes, and may return a block that has a copy of it."""


def encode_pickle(value: object, keep: Keep | None = None) -> Payload:
    """Encode nearly any value; large contiguous buffers become buffers of their own.

    Functions and classes travel by name where the other side can import them. Those of
    ``__main__``, lambdas and closures travel by value, with cloudpickle. ``keep``: see `encode`.
    Raises PayloadError with the reason when the value cannot be pickled.
    """
    try:
        data, buffers = _dump(pickle.dumps, value, keep)
        # The name is in the stream of each pickle that refers to the module. A value that
        # merely holds this text is carried by cloudpickle as well.
        if b"__main__" not in data:
            return Payload(PICKLE, (_kept(data, keep), *buffers))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001, S110 - cloudpickle may carry it, or has the better reason
        pass
    try:
        import cloudpickle  # noqa: PLC0415 - it takes 30 ms, and few processes need it

        data, buffers = _dump(cloudpickle.dumps, value, keep)
        return Payload(PICKLE, (_kept(data, keep), *buffers))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PayloadError(
            f"a value of type {type_name(type(value))} cannot be pickled: {describe(error)}. "
            "Locks, sockets, open files and generators cannot travel: make them inside the task, "
            "or leave them out in the class's __getstate__"
        ) from error


def pickle_file(value: object) -> bytes:
    """Encode nearly any value in one piece, as a file that ``pickle.load`` reads.

    Raises PayloadError with the reason when the value cannot be pickled.
    """
    data, *buffers = encode_pickle(value).read()
    if not buffers:
        return data
    import cloudpickle  # noqa: PLC0415 - as above

    return bytes(cloudpickle.dumps(value, protocol=5))


def decode_pickle(payload: Payload) -> Any:
    """Return a new object from a pickle; **this runs its code**. See `pyrotask.payload.decode`."""
    parts = payload.read()
    try:
        data, *buffers = parts
        return pickle.loads(data, buffers=map(_writable, buffers))  # noqa: S301 - our own side only
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PayloadError(_why_not_loaded(error, parts)) from error


def _dump(dumps: Callable[..., bytes], value: object, keep: Keep | None) -> tuple[bytes, list[Buffer]]:
    buffers: list[Buffer] = []

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        with buffer.raw() as raw:
            if raw.nbytes < OUT_OF_BAND_BYTES:
                return True
            kept = None if keep is None else keep(raw)
            buffers.append(bytes(raw) if kept is None else kept)  # a copy: the array may change right after
        return False

    data = dumps(value, protocol=5, buffer_callback=keep_in_band)
    return data, buffers


def _kept(data: bytes, keep: Keep | None) -> Buffer:
    return data if keep is None else keep(data) or data


def _writable(buffer: bytes) -> bytes | bytearray:
    # An array in read-only memory could not be changed in place. (What was read-only when it
    # was pickled stays so: the pickle itself says it.)
    return bytearray(buffer) if memoryview(buffer).readonly else buffer


def _why_not_loaded(error: BaseException, parts: tuple[bytes, ...]) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return (
            f"the value needs the module {error.name!r}, which cannot be imported here. Each worker and "
            "client must be able to import it: install it, or set PYTHONPATH, until this works: "
            f"{sys.executable} -c 'import {error.name}'"
        )
    hint = "the code that it refers to must be the same on both sides"
    if parts and b"cloudpickle" in parts[0]:
        hint += ", and so must the version of Python, since it holds a function or class by value"
    return f"the value cannot be unpickled: {describe(error)}; {hint}"
