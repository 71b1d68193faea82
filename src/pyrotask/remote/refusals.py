"""Why there is no way to a broker: the errors, each with what to type next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import Pyro5.errors

import pyrotask
from pyrotask.errors import BrokerNotFound, ConnectError, VersionMismatch
from pyrotask.remote import labels, versions

if TYPE_CHECKING:
    from pyrotask.remote.addresses import Address


class BrokenConnection(ConnectError, Pyro5.errors.ConnectionClosedError):  # type: ignore[misc] # no types
    """The connection broke in a call. For scripts that know Pyro it is Pyro's own error, too."""


class SilentBroker(ConnectError, Pyro5.errors.TimeoutError):  # type: ignore[misc]
    """A call took longer than its caller allows. It is Pyro's own error, too."""


def common_wire(address: Address, hello: dict[str, Any]) -> int:
    """The version of the interface to speak with a broker that said this. Raises VersionMismatch."""
    theirs = versions.range_told(hello)
    wire = None if theirs is None else versions.WIRES.common(theirs)
    if wire is None:
        version = str(hello.get("version", "?"))
        raise mismatch(address, f"{version} (interface {theirs})", f"=={version}")
    return wire


def check_label(address: Address, hello: dict[str, Any]) -> None:
    """A broker that died may have left its entry, and another one may have got its port."""
    if address.label is not None and hello["label"] != address.label:
        raise BrokerNotFound(
            f"{address.location}, where broker {address.label!r} should be by its {address.source}, is "
            f"broker {hello['label']!r} now; start yours with `pyrotask serve {shlex.quote(address.label)}`"
        )


def mismatch(address: Address, theirs: str, requirement: str) -> VersionMismatch:
    """The broker there speaks no version that we do."""
    command = (
        f"pip install {shlex.quote('pyrotask' + requirement)}" if requirement else "pip install -U pyrotask"
    )
    return VersionMismatch(
        f"the broker at {address.location} runs pyrotask {theirs}, and this is {pyrotask.__version__} "
        f"(interface {versions.WIRES}): they have none in common; here, type `{command}`"
    )


def unreachable(where: str, address: Address, error: Exception) -> ConnectError:
    """There was no connection: what Pyro says of it, for people."""
    text = str(error)
    if "rejected" in text and "unknown object" in text:
        return BrokerNotFound(
            f"a Pyro program answers at {address.location} (from {address.source}), and it is no broker "
            f"{where!r}: see what runs by `pyrotask list`"
        )
    if "rejected" in text:
        return ConnectError(f"the broker {where!r} at {address.location} refused the connection: {text}")
    named = where == address.location
    sought = "" if named else f" for {where!r}"
    known_by = "" if named else f" (from {address.source})"
    return BrokerNotFound(
        f"nobody answers{sought} at {address.location}{known_by}: {text}. See what runs by `pyrotask list`"
    )


def broken(method: str, uri: Any, error: Exception) -> ConnectError:
    """The connection of a proxy at that Pyro URI broke in a call, or could not be made for it."""
    label = labels.unquote_label(str(uri.object).removeprefix(labels.OBJECT_PREFIX))
    where, again = f"the broker {label!r} at {uri.location}", f"`pyrotask serve {shlex.quote(label)}`"
    if isinstance(error, Pyro5.errors.TimeoutError):
        return SilentBroker(
            f"{where} did not answer {method} in time ({error}); whether it was done is unknown. See how it "
            f"is by `pyrotask status {shlex.quote(label)}`; the next call connects again"
        )
    return BrokenConnection(
        f"the connection to {where} is gone, in {method} ({error}); whether it was done is unknown. See what "
        f"runs by `pyrotask list`, start it again by {again}; the next call connects again"
    )
