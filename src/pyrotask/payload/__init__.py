"""Object <-> `Payload`: how values travel, and what each kind of client can read.

There are two formats. *plain* is one canonical encoding of plain Python values, which every
kind of client can be served with, and which is safe to read. *pickle* carries nearly
everything, but reading it runs code, so only our own clients and workers do. (Files:
`plain` and `pickled` are the two, `formats` chooses, `failures` tells errors, `pyro` knows
Pyro's serializers; `places` and `texts` help.)

A value is plain if it is None, or its type is **exactly** bool, int, float, complex, str,
bytes, bytearray, tuple, list, set, frozenset, dict, datetime, date, time (with no tzinfo or
a ``datetime.timezone``), timedelta, or a built-in exception, and everything in it is plain.
Subclasses (``np.float64``, named tuples, enums, ``OrderedDict``) are not: they would come
out as something else. Plain values are trees: what is in a value twice comes out as two.

All functions are thread-safe, keep nothing, and copy: what was encoded shares nothing
mutable with what is decoded. What cannot be done is a `PayloadError`, whatever the value's
own code raised; only ``KeyboardInterrupt`` passes through.
"""

from __future__ import annotations

from pyrotask.payload.failures import MAX_TRACEBACK, decode_error, encode_error, encode_plain_error
from pyrotask.payload.formats import decode, encode
from pyrotask.payload.pickled import OUT_OF_BAND_BYTES, Keep, encode_pickle, pickle_file
from pyrotask.payload.places import MAX_DEPTH, PLAIN_TYPES
from pyrotask.payload.plain import decode_plain, encode_plain
from pyrotask.payload.pyro import MAX_DIGITS, from_wire, to_wire
from pyrotask.payload.texts import MAX_MESSAGE

__all__ = [
    "MAX_DEPTH", "MAX_DIGITS", "MAX_MESSAGE", "MAX_TRACEBACK", "OUT_OF_BAND_BYTES", "PLAIN_TYPES", "Keep",
    "decode", "decode_error", "decode_plain", "encode", "encode_error", "encode_pickle", "encode_plain",
    "encode_plain_error", "from_wire", "pickle_file", "to_wire",
]  # fmt: skip
