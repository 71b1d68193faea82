"""Live exceptions <-> `Failure`: what a task raised, told so that it surely can be read."""

from __future__ import annotations

import traceback
from typing import Any

from pyrotask.core.model import Failure, Payload
from pyrotask.errors import PayloadError
from pyrotask.payload.formats import decode, encode
from pyrotask.payload.plain import NotPlain, decode_plain, pack, stand_in_named
from pyrotask.payload.texts import MAX_MESSAGE, describe, safe_repr, shortened, text_of, type_name

MAX_TRACEBACK = 20_000
"""The most characters that are kept of a traceback: recursions and chains can be endless."""


def encode_error(exc: BaseException) -> Failure:
    """Describe a live exception for the broker. Raises nothing, whatever the exception does.

    The error is encoded so that it surely can be decoded: plain, or a pickle that was tried.
    Else it is a `RuntimeError` of the same text, with the class's name as ``remote_type``.
    """
    return Failure(_error_payload(exc), _traceback_text(exc), _type_names(type(exc)), describe(exc))


def encode_plain_error(error: object, traceback_text: str = "") -> Failure:
    """Describe what a plain client hands in as exception: any object, and a text.

    Always plain: what is not becomes a `RuntimeError` stand-in, as in `encode_error`.
    """
    traceback_text = shortened(traceback_text, MAX_TRACEBACK)
    try:
        payload = pack(error)
    except NotPlain:
        payload = pack(_stand_in(error))
    if isinstance(error, BaseException):
        return Failure(payload, traceback_text, _type_names(type(error)), describe(error))
    message = error if type(error) is str else safe_repr(error)
    return Failure(payload, traceback_text, (type(error).__name__,), shortened(message, MAX_MESSAGE))


def decode_error(failure: Failure, *, plain_only: bool = False) -> Any:
    """Return what a failed task raised, or a `RuntimeError` stand-in with ``remote_type``.

    The stand-in is for an exception that cannot be made here, or is a pickle and
    ``plain_only`` (for plain clients) is set. Raises nothing.
    """
    try:
        return decode_plain(failure.error) if plain_only else decode(failure.error)
    except PayloadError:
        name = failure.type_names[0] if failure.type_names else "Exception"
        return stand_in_named(failure.message or name, name)


def _error_payload(exc: BaseException) -> Payload:
    try:
        payload = encode(exc)
        copy = decode(payload)
        if isinstance(copy, BaseException) and text_of(copy) is not None:
            return payload
    except PayloadError:
        pass
    return pack(_stand_in(exc))


def _stand_in(error: object) -> RuntimeError:
    return stand_in_named(safe_repr(error), type_name(type(error)))


def _type_names(kind: type) -> tuple[str, ...]:
    """Return the names of an exception class and its bases, up to Exception."""
    names = []
    for base in kind.__mro__:
        names.append(base.__name__)
        if base in {Exception, BaseException}:
            break
    return tuple(names)


def _traceback_text(exc: BaseException) -> str:
    try:
        lines = traceback.format_exception(exc)
    except Exception as error:  # noqa: BLE001 - e.g. __notes__ that is no list, by a user's hand
        return f"{type_name(type(exc))} (its traceback cannot be shown: {type_name(type(error))})\n"
    return shortened("".join(lines), MAX_TRACEBACK)
