"""Pyro's messages as bytes: what stands in a header, what we take, and how an answer begins.

A message is a header of 40 bytes, annotations, and data that some serializer has made::

    "PYRO"  version  kind  serializer  flags  sequence  data size  annotations size
    correlation id  (reserved)  magic number

Everything that can be said against a message is said from its header, before any of the rest
is stored or decoded. Nothing here does I/O, and nothing is kept.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from Pyro5 import protocol
from Pyro5.serializers import MarshalSerializer, serializers_by_id

CONNECT: int = protocol.MSG_CONNECT
CONNECT_OK: int = protocol.MSG_CONNECTOK
CONNECT_FAIL: int = protocol.MSG_CONNECTFAIL
INVOKE: int = protocol.MSG_INVOKE
RESULT: int = protocol.MSG_RESULT
PING: int = protocol.MSG_PING

EXCEPTION: int = protocol.FLAGS_EXCEPTION
COMPRESSED: int = protocol.FLAGS_COMPRESSED
ONEWAY: int = protocol.FLAGS_ONEWAY
BATCH: int = protocol.FLAGS_BATCH
KEEP_SERIALIZED: int = protocol.FLAGS_KEEPSERIALIZED
CORRELATED: int = protocol.FLAGS_CORR_ID

HEADER = struct.Struct("!4sHBBHHII16sHH")
HEADER_BYTES = HEADER.size
LONGEST = (1 << 32) - 1
"""The most bytes of data that a header can announce."""

_TAG = b"PYRO"
_VERSION: int = protocol.PROTOCOL_VERSION
_MAGIC = 0x4DC5
_MARSHAL: int = MarshalSerializer.serializer_id
_ANNOTATION = struct.Struct("!4sI")


class NotPyro(Exception):
    """What came in is no Pyro message: nothing can be said to its sender, and nothing follows."""


class Header(NamedTuple):
    """The header of a message that came in."""

    kind: int
    serializer_id: int
    flags: int
    sequence: int
    data_bytes: int
    annotations_bytes: int
    correlation: bytes

    @property
    def size(self) -> int:
        """How many bytes follow the header."""
        return self.data_bytes + self.annotations_bytes

    @property
    def is_oneway(self) -> bool:
        """Whether its sender waits for no answer."""
        return bool(self.flags & ONEWAY)


class Message(NamedTuple):
    """A message that came in complete, or was refused by its header."""

    header: Header
    body: bytes | bytearray
    """Annotations and data; empty if it was refused."""
    refusal: str | None = None
    """Why it was not taken, as a sentence for its sender."""

    @property
    def data(self) -> bytes | bytearray | memoryview:
        """What the serializer made."""
        skipped = self.header.annotations_bytes
        return memoryview(self.body)[skipped:] if skipped else self.body


def parse_header(data: bytes | bytearray | memoryview, offset: int = 0) -> Header:
    """Read the header that begins at ``offset``, where there are `HEADER_BYTES` or more.

    Raises:
        NotPyro: it is none.
    """
    (
        tag, version, kind, serializer_id, flags, sequence, data_bytes, annotations_bytes, correlation,
        _reserved, magic,
    ) = HEADER.unpack_from(data, offset)  # fmt: skip
    if tag != _TAG or version != _VERSION or magic != _MAGIC:
        raise NotPyro(
            f"a message does not begin like one of Pyro's wire protocol {_VERSION}: {tag!r} {version}"
        )
    return Header(kind, serializer_id, flags, sequence, data_bytes, annotations_bytes, correlation)


def check_beginning(part: bytes | bytearray) -> None:
    """Raise NotPyro if no header begins with these few bytes."""
    if not _TAG.startswith(bytes(part[:4])):
        raise NotPyro(f"a message does not begin like one of Pyro's: {bytes(part[:4])!r}")


def refusal(header: Header, most_bytes: int) -> str | None:
    """Why the message is not taken, as a sentence for its sender; None: it is.

    ``most_bytes`` is how many may follow the header.
    """
    if header.size > most_bytes:
        return (
            f"the message is too large: {header.size} bytes, and this broker takes at most {most_bytes} "
            "here. Send less at a time, or start the broker with a higher max_message_bytes"
        )
    if header.flags & COMPRESSED:
        return (
            "compressed messages are not taken, since they can unpack to any size: "
            "set Pyro5.config.COMPRESSION = False"
        )
    if header.flags & KEEP_SERIALIZED:
        return "a SerializedBlob is not taken, since its envelope is in marshal: pass the value itself"
    if header.kind == PING:  # its serializer id is a joke of Pyro's, and its data is not looked at
        return None
    if header.serializer_id == _MARSHAL:
        return (
            "the marshal serializer is not taken, since reading it is not safe: "
            'use Pyro5.config.SERIALIZER = "serpent" (the default), "json" or "msgpack"'
        )
    if header.serializer_id not in serializers_by_id:
        return f"there is no serializer {header.serializer_id}: use Pyro's serpent, json or msgpack"
    return None


def check_annotations(message: Message) -> None:
    """Raise ValueError if the annotations do not add up to their announced size. They are not read."""
    end, at = message.header.annotations_bytes, 0
    while at < end:
        if at + _ANNOTATION.size > end:
            break
        _name, length = _ANNOTATION.unpack_from(message.body, at)
        at += _ANNOTATION.size + length
    if at != end:
        raise ValueError("the message's annotations are damaged: their sizes do not add up")


def answer_header(
    kind: int, to: Header, data_bytes: int, flags: int = 0, serializer_id: int | None = None
) -> bytes:
    """The header of an answer to a message, with ``data_bytes`` of data to follow.

    Raises:
        ValueError: Pyro's header cannot announce as much.
    """
    if data_bytes > LONGEST:
        raise ValueError(f"an answer of {data_bytes} bytes is too large for Pyro: {LONGEST} is the most")
    if to.flags & CORRELATED:
        flags |= CORRELATED
        correlation = to.correlation
    else:
        correlation = bytes(16)
    serializer = to.serializer_id if serializer_id is None else serializer_id
    return HEADER.pack(
        _TAG, _VERSION, kind, serializer, flags, to.sequence, data_bytes, 0, correlation, 0, _MAGIC
    )


def call_header(serializer_id: int, sequence: int, data_bytes: int) -> bytes:
    """The header of a call, with ``data_bytes`` of data to follow.

    Raises:
        ValueError: Pyro's header cannot announce as much.
    """
    if data_bytes > LONGEST:
        raise ValueError(f"a message of {data_bytes} bytes is too large for Pyro: {LONGEST} is the most")
    return HEADER.pack(
        _TAG, _VERSION, INVOKE, serializer_id, 0, sequence, data_bytes, 0, bytes(16), 0, _MAGIC
    )


def as_sent(message: Message) -> bytes:
    """The message as it came in, header and all."""
    head = message.header
    beginning = HEADER.pack(
        _TAG, _VERSION, head.kind, head.serializer_id, head.flags, head.sequence,
        head.data_bytes, head.annotations_bytes, head.correlation, 0, _MAGIC,
    )  # fmt: skip
    return b"".join((beginning, message.body))
