"""What the loop serves by itself: tables of calls, each under an object id.

A call is a function that takes an `Origin` and what the client sent, checks it, and returns a
`Request`: see `pyrotask.reference` and `pyrotask.remote.bulk`. Nothing is done here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pyrotask.reference import Origin, Request
from pyrotask.remote.serializing import Codec, RawCall

PLAIN_SERIALIZERS = frozenset({"serpent", "json", "msgpack"})
OWN_SERIALIZER = frozenset({"msgpack"})


class Service(NamedTuple):
    """A table of calls."""

    calls: Mapping[str, Callable[..., Request]]
    serializers: frozenset[str] = PLAIN_SERIALIZERS
    is_opaque: bool = False
    """Its calls carry payloads as bytes, and not values in the client's serializer."""

    @property
    def metadata(self) -> dict[str, list[str]]:
        """What Pyro tells a proxy about the object."""
        return {"methods": sorted(self.calls), "oneway": [], "attrs": []}


def request_of(service: Service, call: RawCall, origin: Origin, codec: Codec) -> Request:
    """Check a call, and make a request of it.

    Raises:
        AttributeError: there is no such method.
        TypeError, ValueError: an argument is no good, or the service is for another serializer.
    """
    if codec.name not in service.serializers:
        raise ValueError(
            f"{call.object_id} speaks {' or '.join(sorted(service.serializers))} only, not {codec.name}: "
            f'set the proxy\'s _pyroSerializer to "{min(service.serializers)}"'
        )
    function = service.calls.get(call.method)
    if function is None:
        raise AttributeError(
            f"{call.object_id} has no method {call.method!r}; it has: {', '.join(sorted(service.calls))}"
        )
    try:
        return function(origin, *call.args, **call.kwargs)
    except TypeError:
        check_arguments(call.method, function, call.args, call.kwargs)
        raise


def check_arguments(name: str, function: Callable[..., Request], args: Any, kwargs: Any) -> None:
    """Raise a TypeError that names the call and its signature, if the arguments do not fit it."""
    full = inspect.signature(function)
    seen = full.replace(
        parameters=list(full.parameters.values())[1:], return_annotation=inspect.Signature.empty
    )
    try:
        seen.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}: {error}; it is called as {name}{_readable(seen)}") from None


def _readable(signature: inspect.Signature) -> str:
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare))
