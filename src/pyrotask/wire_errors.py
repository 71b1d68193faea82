"""Our errors on their way to a Pyro proxy, and back.

A plain Pyro proxy that is sent an exception class it does not know raises an error of its own
and drops its connection. So everybody is sent the built-in exception of the nearest kind, with
the real class's name as ``remote_type`` and the rest as attributes; a client that has this
library makes the real one of it again.
"""

from __future__ import annotations

import builtins
import contextlib
from typing import Any

from pyrotask import errors
from pyrotask.errors import PayloadError, PyrotaskError, TaskRaisedException
from pyrotask.payload import encode_plain, to_wire

BUILTINS: tuple[type[Exception], ...] = (KeyError, ValueError, ConnectionError)
"""What our errors are kinds of, besides `PyrotaskError`; the others become RuntimeError."""


def to_builtin(error: BaseException, serializer: str) -> BaseException:
    """The built-in exception to send instead. What is built in, or not ours, is returned as it is."""
    if not isinstance(error, PyrotaskError):
        return error
    kind = next((kind for kind in BUILTINS if isinstance(error, kind)), RuntimeError)
    substitute = kind(str(error))
    attributes: dict[str, Any] = {"remote_type": type(error).__name__}
    if isinstance(error, TaskRaisedException):
        attributes |= {
            "task_id": error.task_id,
            "tag": error.tag,
            "traceback": error.traceback,
            **_describe(error.exception, serializer),
        }
    substitute.__dict__.update(attributes)
    return substitute


def from_builtin(error: BaseException) -> BaseException:
    """Our own error, if the exception is a substitute for one; else the exception itself."""
    name = getattr(error, "remote_type", None)
    kind = getattr(errors, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, PyrotaskError)):
        return error
    seen = vars(error)
    own = (
        _task_raised(seen) if kind is TaskRaisedException else kind(str(error.args[0] if error.args else ""))
    )
    if "_pyroTraceback" in seen:
        own.__dict__["_pyroTraceback"] = seen["_pyroTraceback"]
    return own


def _task_raised(seen: dict[str, Any]) -> TaskRaisedException:
    return TaskRaisedException(
        str(seen.get("task_id")), str(seen.get("tag")), _rebuild(seen), str(seen.get("traceback", ""))
    )


def _describe(exception: object, serializer: str) -> dict[str, Any]:
    """What a task raised, as attributes that every proxy can read.

    ``exception`` is the text for an exception, and the value itself for anything else that a
    slave has stored as one.
    """
    if not isinstance(exception, BaseException):
        return {"exception": exception if _carries(exception, serializer) else repr(exception)}
    kind = getattr(exception, "remote_type", None) or type(exception).__name__
    described: dict[str, Any] = {"exception": f"{kind}: {exception}", "exception_type": kind}
    if _carries(exception.args, serializer):
        described["exception_args"] = exception.args
    return described


def _carries(value: object, serializer: str) -> bool:
    """Whether an exception can have it as an attribute, which is less than can be a value."""
    carrier = RuntimeError(value)
    try:
        encode_plain(carrier)
        to_wire(carrier, serializer)
    except PayloadError:
        return False
    return True


def _rebuild(seen: dict[str, Any]) -> object:
    name = seen.get("exception_type")
    if name is None:
        return seen.get("exception")
    kind = getattr(errors, name, None) or getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, BaseException) and "exception_args" in seen:
        with contextlib.suppress(Exception):  # its arguments have changed on the way
            return kind(*seen["exception_args"])
    substitute = RuntimeError(seen.get("exception"))
    substitute.__dict__["remote_type"] = name
    return substitute
