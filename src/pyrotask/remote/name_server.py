"""The Pyro name server: what it knows about labels, and how a broker takes and leaves its name there.

No call here waits for longer than about `Settings.lookup_timeout_s` for one answer.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
from typing import TYPE_CHECKING, Any

import Pyro5.core
import Pyro5.errors
from Pyro5.client import Proxy

from pyrotask.config import split_host_port
from pyrotask.errors import LabelHeld, NameServerNotFound
from pyrotask.remote.addresses import Address, address_of_uri, answers
from pyrotask.remote.labels import OBJECT_PREFIX, object_name, unquote_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrotask.config import Settings

_log = logging.getLogger(__name__)


def locate_name_server(settings: Settings) -> Proxy:
    """Return a connected proxy of the name server, each of whose calls is bounded by the lookup timeout.

    The proxy belongs to the calling thread; close it by ``with``. There is no broadcast: it
    takes seconds when nobody answers, and anybody may answer it.

    Raises:
        NameServerNotFound: if none answers in time; the text says what to do.
    """
    # Not Pyro's locate_ns: its only timeout is the process-wide COMMTIMEOUT, which is the user's.
    places = name_server_places(settings)
    place = next((place for place in places if answers(place, settings.lookup_timeout_s)), None)
    if place is None:
        raise NameServerNotFound(_no_name_server(places[0], "nobody listens there"))
    proxy = _proxy(f"PYRO:{Pyro5.core.NAMESERVER_NAME}@{place.location}", settings)
    try:
        proxy._pyroBind()  # noqa: SLF001 - Pyro's public names look like this
    except Pyro5.errors.CommunicationError as error:
        raise NameServerNotFound(_no_name_server(place, str(error))) from error
    return proxy


def lookup_name(label: str, settings: Settings) -> str | None:
    """Return the URI that the name server has for that label, None if it does not know it.

    Raises:
        NameServerNotFound: if none answers in time.
    """
    with _name_server(settings) as names:
        return _lookup(names, object_name(label))


def list_names(settings: Settings) -> dict[str, str]:
    """Return the URIs of all labels that the name server knows, whether their brokers live or not.

    Raises:
        NameServerNotFound: if none answers in time.
    """
    with _name_server(settings) as names:
        found = names.list(prefix=OBJECT_PREFIX)
    return {unquote_label(name.removeprefix(OBJECT_PREFIX)): str(uri) for name, uri in found.items()}


def register_name(label: str, uri: object, settings: Settings, *, dead: str | None = None) -> None:
    """Register the broker's URI (text, or Pyro's) under its label. Idempotent.

    A stale name, where nobody answers or somebody else does, is replaced. One whose owner
    takes connections and stays silent counts as held: it may be stopped or busy, and two
    managers of one label are worse than none. ``dead`` is the ``host:port`` of a former owner that
    is known to have ended: whoever is there now has nothing to do with the label.

    Raises:
        LabelHeld: if another broker holds the label; the text says where, and what to do.
        NameServerNotFound: if no name server answers in time, or it ends meanwhile: whether
            the name was registered is unknown then.
    """
    name, own = object_name(label), str(uri)
    with _name_server(settings) as names:
        holder = _lookup(names, name)
        if holder is not None and holder != own:
            if address_of_uri(holder).location != dead and is_live(holder, settings):
                raise LabelHeld(_held(label, holder, settings))
            names.remove(name)
        with contextlib.suppress(Pyro5.errors.NamingError):  # somebody was faster, or it was ours
            names.register(name, own, safe=True)
        holder = _lookup(names, name)
        if holder is not None and holder != own:
            raise LabelHeld(_held(label, holder, settings))


def unregister_name(label: str, uri: object, settings: Settings) -> bool:
    """Remove the label from the name server if it is still this URI's; tell whether it was. Idempotent.

    Never raises for a name server that is gone or silent: that is logged as a warning, and
    False.
    """
    name = object_name(label)
    try:
        with _name_server(settings) as names:
            return _lookup(names, name) == str(uri) and names.remove(name) == 1
    except NameServerNotFound as error:
        _log.warning("the name %s stays in the name server: %s", name, error)
        return False


def is_live(uri: str, settings: Settings) -> bool:
    """Tell whether the owner of a registered URI lives, or may live."""
    if not answers(address_of_uri(uri), settings.lookup_timeout_s):
        return False
    with _proxy(uri, settings) as proxy:
        try:
            proxy._pyroBind()  # noqa: SLF001
        except Pyro5.errors.ProtocolError:
            return False  # it does not speak Pyro: another program has got the port
        except Pyro5.errors.CommunicationError as error:
            # Another Pyro program, without our object, has got the port. Any other refusal (a
            # key is asked for, it is full, it is silent) may be the owner's.
            return re.search(r"rejected: unknown object$", str(error)) is None
    return True


def name_server_places(settings: Settings) -> list[Address]:
    """Return where to look; a host that was not named explicitly is Pyro's own setting."""
    own_port = Pyro5.config.NS_PORT
    if settings.name_server is not None:
        host, port = split_host_port(settings.name_server)
        return [Address(host, port or own_port)]
    hosts = [Pyro5.config.NS_HOST]
    if hosts == ["localhost"]:
        hosts.append(
            "127.0.1.1"
        )  # where Debian's /etc/hosts puts a server that listens on the machine's name
    return [Address(host, own_port) for host in hosts]


@contextlib.contextmanager
def _name_server(settings: Settings) -> Iterator[Any]:
    """Lend the name server; its end in the middle of a call is told like its absence."""
    with locate_name_server(settings) as names:
        try:
            yield names
        except Pyro5.errors.CommunicationError as error:
            raise NameServerNotFound(
                f"the Pyro name server stopped answering ({error}): start it again with `pyro5-ns`"
            ) from error


def _no_name_server(place: Address, reason: str) -> str:
    return (
        f"no Pyro name server answers at {place.location} ({reason}): start one with `pyro5-ns`, "
        f"name another with --name-server HOST:PORT, or do without: brokers are found by host:port too"
    )


def _lookup(names: Any, name: str) -> str | None:
    try:
        return str(names.lookup(name))
    except Pyro5.errors.NamingError:
        return None


def _proxy(uri: str, settings: Settings) -> Proxy:
    proxy = Proxy(uri)
    proxy._pyroTimeout = settings.lookup_timeout_s  # noqa: SLF001 - Pyro's public names look like this
    proxy._pyroMaxRetries = 0  # noqa: SLF001
    return proxy


def _held(label: str, holder: str, settings: Settings) -> str:
    place, name = name_server_places(settings)[0], shlex.quote(object_name(label))
    return (
        f"label {label!r} is held by a live broker at {address_of_uri(holder).location}, says the "
        f"name server {place.location}. Use another label, or end that broker first; if it is none of yours, "
        f"remove the name: `pyro5-nsc -n {place.host} -p {place.port} remove {name}`"
    )
