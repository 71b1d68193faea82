"""How the exception of a task is told to whoever collects it."""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pyrotask import payload as payloads
from pyrotask.core.model import PICKLE, PLAIN, Failure, Payload
from pyrotask.errors import UnknownTask
from pyrotask.payload import (
    decode_error,
    decode_plain,
    encode_error,
    encode_plain_error,
)
from tests.payload.troubles import Bad, OwnError, Silent, caught, divide_by_zero, explode
from tests.payload.values import raised

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_built_in_exception_is_told_as_plain_with_its_traceback() -> None:
    failure = encode_error(caught(divide_by_zero))
    assert failure.error.format == PLAIN
    assert repr(decode_error(failure)) == "ValueError('bad step', 7)"
    assert failure.type_names == ("ValueError", "Exception")
    assert failure.message == "ValueError: ('bad step', 7)"
    assert "ZeroDivisionError" in failure.traceback
    assert failure.traceback.endswith("ValueError: ('bad step', 7)\n")


def test_the_names_of_all_bases_are_told_up_to_exception() -> None:
    names = ("UnknownTask", "Refused", "PyrotaskError", "KeyError", "LookupError", "Exception")
    assert encode_error(UnknownTask("t_1")).type_names == names


@pytest.mark.parametrize("exc", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_exceptions_that_end_a_program_are_told_as_well(exc: BaseException) -> None:
    failure = encode_error(exc)
    assert repr(decode_error(failure)) == repr(exc)
    assert failure.type_names == (type(exc).__name__, "BaseException")


def test_an_own_exception_travels_as_itself_when_it_can_be_read_back() -> None:
    failure = encode_error(OwnError("x", 2))
    assert failure.error.format == PICKLE
    error = decode_error(failure)
    assert (type(error), error.args) == (OwnError, ("x", 2))


class Strict(Exception):
    """Pickles, but does not unpickle: it is rebuilt from its args, of which there is one."""

    def __init__(self, station: str, level: int) -> None:
        super().__init__(f"{station} at {level}")


class Pretender(Exception):
    """Unpickles as something that is no exception."""

    def __reduce__(self) -> Any:
        return str, ("x",)


def holding(thing: object) -> Exception:
    exc = OwnError("busy")
    exc.thing = thing  # type: ignore[attr-defined]
    return exc


TROUBLE: dict[str, Callable[[], BaseException]] = {
    "Strict": lambda: Strict("b2", 4),
    "Pretender": lambda: Pretender("x"),
    "OwnError": lambda: holding(threading.Lock()),
    "ValueError": lambda: raised(ValueError, [], {"lock": threading.Lock()}),
    "Silent": Silent,
}


@pytest.mark.parametrize("name", TROUBLE)
def test_an_exception_that_cannot_travel_sends_a_stand_in(name: str) -> None:
    exc = TROUBLE[name]()
    failure = encode_error(exc)
    error = decode_plain(failure.error)
    assert isinstance(error, RuntimeError)
    assert vars(error)["remote_type"].endswith(name)
    assert name in str(error)
    assert failure.type_names[0] == name
    assert name in failure.traceback


def test_an_exception_that_contains_itself_sends_a_stand_in() -> None:
    exc = ValueError()
    exc.args = (exc,)
    assert decode_error(encode_error(exc)).remote_type == "ValueError"


def test_a_traceback_that_cannot_be_shown_is_no_obstacle() -> None:
    exc = OwnError("x")
    exc.__notes__ = Bad(ValueError())  # type: ignore[assignment]
    assert "OwnError" in encode_error(exc).traceback


def test_texts_are_bounded_and_can_be_written_anywhere() -> None:
    failure = encode_error(Strict("\ud800" + "x" * 10**6, 1))
    assert failure.traceback.encode()
    assert failure.message.encode()
    assert len(failure.traceback) < 2 * payloads.MAX_TRACEBACK
    assert len(failure.message) < 2 * payloads.MAX_MESSAGE
    assert len(str(decode_error(failure))) < 2 * payloads.MAX_MESSAGE


def test_an_exception_from_a_plain_client_is_always_plain() -> None:
    failure = encode_plain_error(caught(divide_by_zero), "the text")
    assert repr(decode_plain(failure.error)) == "ValueError('bad step', 7)"
    assert failure.traceback == "the text"
    assert failure.type_names == ("ValueError", "Exception")


def test_a_traceback_from_a_plain_client_is_bounded_and_can_be_written_anywhere() -> None:
    text = encode_plain_error("it failed", "\ud800" + "x" * 10**6).traceback
    assert text.encode()
    assert len(text) < 2 * payloads.MAX_TRACEBACK


@pytest.mark.parametrize("error", ["it failed", 3, {"code": 3}], ids=repr)
def test_a_plain_client_may_store_any_plain_value_as_exception(error: object) -> None:
    failure = encode_plain_error(error)
    assert decode_plain(failure.error) == error
    assert failure.message == str(error)
    assert failure.type_names == (type(error).__name__,)


def test_what_is_not_plain_from_a_plain_client_gets_a_stand_in() -> None:
    error = decode_plain(encode_plain_error(struct.error("short")).error)
    assert (type(error), str(error), error.remote_type) == (RuntimeError, "error('short')", "struct.error")


def test_a_plain_client_is_told_of_a_pickled_exception_by_a_stand_in() -> None:
    failure = encode_error(caught(lambda: explode(OwnError("x"))))
    error = decode_error(failure, plain_only=True)
    assert (type(error), error.remote_type) == (RuntimeError, "OwnError")
    assert str(error).endswith("OwnError: x")


def test_an_exception_that_cannot_be_made_here_is_told_by_a_stand_in() -> None:
    error = decode_error(Failure(Payload(PICKLE, (b"damaged",)), "", ("OrbitError", "Exception")))
    assert (type(error), str(error), error.remote_type) == (RuntimeError, "OrbitError", "OrbitError")
