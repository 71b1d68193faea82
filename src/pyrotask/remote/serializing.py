"""The three of Pyro's serializers that we take, with what strangers may have them make.

Pyro makes objects of some dicts that it decodes: proxies among them, which open connections
to wherever they were told to when they are touched. Here only exceptions are made, and only
of the arguments of a call, once it is known to be one of ours. marshal is not taken: see `wire`.
"""

from __future__ import annotations

import builtins
import json
import logging
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import serpent
from Pyro5.core import _ExceptionWrapper
from Pyro5.serializers import SerializerBase, serializers, serializers_by_id

from pyrotask.arena import StaleReference
from pyrotask.errors import PyrotaskError, TaskRaisedException
from pyrotask.remote import serpent_texts
from pyrotask.remote.blocks_on_wire import Load, pack, pack_references, unpack
from pyrotask.wire_errors import to_builtin

log = logging.getLogger(__name__)

KIB = 1024

EXPECTED = (PyrotaskError, TypeError, ValueError, AttributeError, TimeoutError, KeyError)
"""Errors that tell their whole story by themselves; of others the traceback is sent along."""


KNOWN_CALLS = 4096
"""How many short calls a codec remembers: those of a thousand clients."""

KNOWN_BYTES = 256
"""How long a call may be to be remembered: all of them together are 4 MB at most."""

SIMPLE = frozenset({int, float, bool, str, type(None)})
"""Arguments that are not changed by whoever is given them."""


ROWS = frozenset({list, tuple})
"""What a call is, and its arguments are, when they were decoded."""

PARTS_OF_A_CALL = 4
"""Object, method, arguments, and arguments by name."""


class RawCall(NamedTuple):
    """A call as it was decoded: plain values only."""

    object_id: str
    method: str
    args: Any
    kwargs: dict[str, Any]


class Codec:
    """One serializer. Thread-safe.

    Where decoding is slow, it remembers short calls with simple arguments: a client that pings, or
    asks for its next task, sends the same bytes again and again, and to decode them is most of the work.
    """

    def __init__(
        self,
        name: str,
        loads: Callable[[bytes | bytearray], Any],
        *,
        large_bytes: int,
        dumps: Callable[[object], bytes] | None = None,
        remembers_calls: bool = True,
    ) -> None:
        self.name = name
        self.id: int = serializers[name].serializer_id
        self.large_bytes = large_bytes
        """From this size on a message takes it milliseconds: that is not done in the loop."""
        self._dumps: Callable[[object], bytes] = dumps or serializers[name].dumps
        self._dumps_references = pack_references if name == "msgpack" else self._dumps
        self._loads = loads
        self._nothing: bytes = self._dumps(None)
        self._yes: bytes = self._dumps(True)
        self._no: bytes = self._dumps(False)
        self._remembers_calls = remembers_calls
        self._known_calls: dict[bytes, RawCall] = {}

    def dumps(self, value: object, *, by_reference: bool = False) -> bytes:
        """Encode a value. Raises whatever Pyro's serializer does.

        ``by_reference``: the reader can open what is in shared memory; only msgpack makes use of it.
        """
        if value is None:
            return self._nothing
        if value is True:
            return self._yes
        if value is False:
            return self._no
        return self._dumps_references(value) if by_reference else self._dumps(value)

    def load(self, data: bytes | bytearray | memoryview) -> Any:
        """Decode a value, of plain types only. Raises ValueError for what cannot be decoded.

        That is a StaleReference if it is the memory which cannot be opened.
        """
        try:
            return self._loads(bytes(data) if isinstance(data, memoryview) else data)
        except StaleReference:  # its sender knows what to do
            raise
        except (MemoryError, RecursionError):
            raise ValueError(f"the {self.name} data is nested too deeply") from None
        except Exception as error:
            raise ValueError(f"the {self.name} data cannot be decoded: {error}") from error

    def load_call(self, data: bytes | bytearray | memoryview) -> RawCall:
        """Decode a call. Raises ValueError if it is none."""
        if not self._remembers_calls or type(data) is not bytes or len(data) > KNOWN_BYTES:
            return self._load_call(data)
        call = self._known_calls.get(data)
        if call is None:
            call = self._load_call(data)
            if SIMPLE.issuperset(map(type, (*call.args, *call.kwargs.values()))):
                if len(self._known_calls) >= KNOWN_CALLS:
                    self._known_calls.clear()
                self._known_calls[data] = call
        return call

    def _load_call(self, data: bytes | bytearray | memoryview) -> RawCall:
        call = self.load(data)
        if isinstance(call, dict):  # json's shape
            call = [call.get(name) for name in ("object", "method", "params", "kwargs")]
        # Each call comes this way: a match statement would take most of its time.
        if type(call) in ROWS and len(call) == PARTS_OF_A_CALL:
            object_id, method, args, kwargs = call
            are_names = type(object_id) is str and type(method) is str
            if are_names and type(args) in ROWS and (kwargs is None or type(kwargs) is dict):
                return RawCall(object_id, method, args, kwargs or {})
        raise ValueError("the message is no call: it needs an object, a method and its arguments")

    def dump_error(self, error: BaseException) -> bytes:
        """Encode an error as one that every Pyro client can decode. Raises nothing."""
        shown = self.error_to_send(error)
        try:
            return self.dumps(shown)
        except Exception as problem:  # noqa: BLE001 - whatever is attached to it
            text = f"{type(error).__name__}: {_text(error)} (the exception itself cannot travel: {problem})"
            return self.dumps(RuntimeError(text.encode("ascii", "backslashreplace").decode("ascii")))

    def dump_results(self, values: list[Any], error: BaseException | None) -> bytes:
        """Encode the results of a batch, and the error that ended it."""
        last = [] if error is None else [_ExceptionWrapper(self.error_to_send(error))]
        return self.dumps([*values, *last])

    def error_to_send(self, error: BaseException) -> BaseException:
        """The built-in exception that stands for it, with what a reader should see of its traceback."""
        shown = to_builtin(error, self.name)
        if not _is_known(shown):
            kind = next(c for c in type(error).__mro__ if c.__module__ == builtins.__name__)
            substitute = (kind if kind in _MADE_OF_TEXT else RuntimeError)(_text(error))
            substitute.__dict__["remote_type"] = type(error).__name__
            shown = substitute
        shown.__dict__["_pyroTraceback"] = _lines(error)
        return shown


def revived(call: RawCall, data: bytes | bytearray | memoryview) -> RawCall:
    """The call, with exceptions made of the dicts that stand for them, at any depth.

    ``data`` is what it was decoded of. Raises ValueError for a dict that stands for any other
    object.
    """
    # Written otherwise, by an escape, the name is the key of a plain dict, and stays one.
    if b"__class__" not in (bytes(data) if isinstance(data, memoryview) else data):
        return call
    try:
        return call._replace(
            args=_REVIVER.recreate_classes(call.args), kwargs=_REVIVER.recreate_classes(call.kwargs)
        )
    except RecursionError:
        raise ValueError("the arguments are nested too deeply") from None


def make_codecs(load_msgpack: Load = unpack) -> dict[int, Codec]:
    """Codecs of the serializers that we take, by their numbers on the wire."""
    codecs = (
        Codec("serpent", _load_serpent, large_bytes=64 * KIB, dumps=_dump_serpent),
        Codec("json", _load_json, large_bytes=256 * KIB),
        Codec("msgpack", load_msgpack, large_bytes=4096 * KIB, dumps=pack, remembers_calls=False),
    )
    return {codec.id: codec for codec in codecs}


def dump_in(serializer_id: int, value: Exception | str) -> tuple[int, bytes]:
    """Encode an error of our own, or a text, for somebody whose serializer we may not take.

    Returns the number of the serializer that was used (serpent, if there is no such one), and
    the bytes.
    """
    serializer = serializers_by_id.get(serializer_id, serializers["serpent"])
    return serializer.serializer_id, serializer.dumps(value)


class _Reviver(SerializerBase):  # type: ignore[misc] # Pyro5 has no types
    """Pyro's way to make objects of dicts, for exceptions only."""

    @classmethod
    def dict_to_class(cls, data: dict[str, Any]) -> Any:
        kind = data.get("__class__")
        if kind == "float":  # how serpent writes nan
            return float(data["value"])
        if data.get("__exception__") and isinstance(kind, str):
            try:
                return super().dict_to_class(data)
            except Exception:  # noqa: BLE001 - a class of the sender's own, or strange arguments
                return _stand_in(kind, data)
        raise ValueError(
            f"a value of class {kind!r} cannot be taken: a Pyro proxy carries plain Python values only "
            "(and built-in exceptions). Convert it before, or use a master in the manager's own process"
        )


def _stand_in(kind: str, data: dict[str, Any]) -> RuntimeError:
    args = data.get("args", ())
    error = RuntimeError(*args) if isinstance(args, list | tuple) else RuntimeError(args)
    error.__dict__["remote_type"] = kind.rpartition(".")[2]
    return error


def _load_serpent(data: bytes | bytearray) -> Any:
    call = serpent_texts.read_call(data)
    return serpent.loads(data) if call is None else call


def _dump_serpent(value: object) -> bytes:
    text = serpent_texts.write(value)
    return cast("bytes", serializers["serpent"].dumps(value)) if text is None else text


def _load_json(data: bytes | bytearray) -> Any:
    return json.loads(data.decode("utf-8"))


def _is_known(error: BaseException) -> bool:
    return type(error).__module__ in {builtins.__name__, "Pyro5.errors"}


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - of a class that we do not know
        return f"(a {type(error).__name__} without a text)"


def _lines(error: BaseException) -> list[str]:
    if isinstance(error, TaskRaisedException):
        return error.traceback.splitlines(keepends=True)
    if isinstance(error, EXPECTED):
        return []
    return traceback.format_exception(error)


_MADE_OF_TEXT = (
    ValueError, TypeError, KeyError, AttributeError, OSError, ConnectionError, TimeoutError, LookupError,
    ArithmeticError, MemoryError, RecursionError,
)  # fmt: skip

_REVIVER = _Reviver()
