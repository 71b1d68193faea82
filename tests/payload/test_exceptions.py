"""Built-in exceptions are plain values."""

from __future__ import annotations

import builtins

import pytest

from pyrotask.payload import (
    decode,
    decode_plain,
    encode_plain,
)
from tests.payload.troubles import caught, divide_by_zero


def builtin_exceptions() -> list[type[BaseException]]:
    kinds = {
        kind for kind in vars(builtins).values() if isinstance(kind, type) and issubclass(kind, BaseException)
    }
    return sorted(kinds, key=lambda kind: kind.__name__)


ARGS: dict[type[BaseException], tuple[object, ...]] = {
    UnicodeDecodeError: ("utf-8", b"\xff", 0, 1, "bad"),
    UnicodeEncodeError: ("utf-8", "\ud800", 0, 1, "bad"),
    UnicodeTranslateError: ("x", 0, 1, "bad"),
    BaseExceptionGroup: ("two", [KeyError("x"), KeyboardInterrupt()]),
    ExceptionGroup: ("two", [KeyError("x"), ValueError(1)]),
}


@pytest.mark.parametrize("kind", builtin_exceptions())
def test_every_built_in_exception_is_plain(kind: type[BaseException]) -> None:
    exc = kind(*ARGS.get(kind, ("text",)))
    copy = decode_plain(encode_plain(exc))
    assert type(copy) is kind
    assert repr(copy) == repr(exc)


def test_an_exception_keeps_its_attributes_notes_and_file_name() -> None:
    exc = FileNotFoundError(2, "No such file", "data.txt")
    exc.remote_type = "ours.Missing"  # type: ignore[attr-defined]
    exc.add_note("look in /data")
    copy = decode_plain(encode_plain(exc))
    assert (copy.filename, copy.remote_type, copy.__notes__) == (
        "data.txt",
        "ours.Missing",
        ["look in /data"],
    )


def test_an_exception_travels_without_its_traceback_and_cause() -> None:
    copy = decode_plain(encode_plain(caught(divide_by_zero)))
    assert (copy.__traceback__, copy.__cause__, copy.__context__) == (None, None, None)


def test_a_built_in_exception_of_a_newer_python_arrives_as_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = encode_plain(ValueError("x"))
    newer = encoded._replace(buffers=(encoded.read()[0].replace(b"ValueError", b"NovelError"),))
    copy = decode(newer)
    assert (type(copy), copy.remote_type, str(copy)) == (RuntimeError, "NovelError", "NovelError('x',)")
