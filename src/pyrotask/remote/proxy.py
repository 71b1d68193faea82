"""The way of masters to a broker: a proxy for the reference API.

It never repeats a call on its own: whether that is safe, only the caller knows. It belongs to one
thread at a time, as every Pyro proxy. The way of our own programs is in `remote.bulk_proxy`.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import Pyro5.errors

from pyrotask import reference
from pyrotask.config import Settings
from pyrotask.errors import ConnectError
from pyrotask.payload import from_wire
from pyrotask.remote import discovery, labels, refusals
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.keyed_proxy import KeyedProxy, key_is_a_must

if TYPE_CHECKING:
    from pyrotask.remote.addresses import Address

log = logging.getLogger("pyrotask.proxy")

GETS_OF_RESULTS = frozenset({"getAnyResult", "getResultWithTag"})


class TaskManagerProxy(KeyedProxy):
    """A Pyro proxy for a `TaskManager`: all its methods, with our own errors.

    From `connect`. It can be pickled and copied, and connects anew after a broken connection. For
    the call that it broke in it raises `ConnectError`, which is Pyro's own
    ``CommunicationError``, too; whether that call was done is unknown. A wait for a
    result of more than ``explain_after_s`` logs a warning that says what the tasks wait for.
    """

    _pyrotask_explain_after_s = 5.0  # `connect` has it from the settings; a copy makes do with this

    def _pyroInvoke(  # noqa: N802 - Pyro's name
        self,
        methodname: str,
        vargs: Any,
        kwargs: Any,
        flags: int = 0,
        objectId: str | None = None,  # noqa: N803
    ) -> Any:
        invoke = partial(super()._pyroInvoke, methodname, flags=flags, objectId=objectId)
        try:
            return self._ask(invoke, methodname, vargs, kwargs, is_odd=bool(flags or objectId))
        except ConnectError:
            raise
        except Pyro5.errors.CommunicationError as error:
            raise refusals.broken(methodname, self._pyroUri, error) from error

    def _ask(self, invoke: Any, methodname: str, vargs: Any, kwargs: Any, *, is_odd: bool) -> Any:
        """Do it, and tell on the way what a result is waited for."""
        if methodname not in GETS_OF_RESULTS or is_odd:
            return self._revived(invoke(vargs, kwargs))
        try:
            asked = reference.signature(methodname).bind(*vargs, **kwargs).arguments
            timeout, patience_s = asked.get("timeout"), self._pyrotask_explain_after_s
            if not (timeout is None or timeout > patience_s):
                return self._revived(invoke(vargs, kwargs))
        except TypeError:  # the broker tells what is wrong
            return self._revived(invoke(vargs, kwargs))
        try:
            return self._revived(invoke((), asked | {"timeout": patience_s}))
        except TimeoutError:
            for sentence in self.explain() if "explain" in self._pyroMethods else ():
                log.warning("%s", sentence)
        left_s = None if timeout is None else timeout - patience_s
        try:
            return self._revived(invoke((), asked | {"timeout": left_s}))
        except TimeoutError:
            raise TimeoutError(f"nothing came within {timeout:g} s") from None

    def _revived(self, result: Any) -> Any:
        """Bytes, which serpent carries as a dict, are bytes again."""
        return from_wire(result, self._pyroSerializer or Pyro5.config.SERIALIZER)


def connect(
    where: str,
    settings: Settings | None = None,
    *,
    serializer: str | None = None,
    timeout_s: float | None = None,
) -> TaskManagerProxy:
    """Return a connected proxy for the `TaskManager` of that label or address (``host:port``).

    Args:
        where: see `discovery.find`.
        settings: None: `Settings.load()`.
        serializer: the Pyro serializer; None: Pyro's setting, serpent by default.
        timeout_s: how long any call may take; None: no limit. Tasks and results have a
            ``timeout`` of their own, which costs nothing when it passes.

    Blocks until it is connected, or for some seconds when it cannot.

    Raises:
        ConnectError: there is no way to the broker; the subclass and the text say why.
    """
    chosen = settings or Settings.load()
    address = discovery.find(where, chosen)
    label = address.label or _label_at(address, chosen)
    proxy = TaskManagerProxy(
        f"PYRO:{labels.object_name(label)}@{address.location}",
        address.key_file,
        key_is_a_must=key_is_a_must(address),
    )
    object.__setattr__(proxy, "_pyrotask_explain_after_s", chosen.explain_after_s)
    proxy._pyroSerializer = serializer  # noqa: SLF001 - Pyro's public names look like this
    proxy._pyroTimeout = timeout_s  # noqa: SLF001
    try:
        proxy._pyroBind()  # noqa: SLF001
    except Pyro5.errors.CommunicationError as error:
        raise refusals.unreachable(where, address, error) from error
    return proxy


def _label_at(address: Address, settings: Settings) -> str:
    with BulkProxy(address.location, settings) as proxy:
        return proxy.label
