"""Who is where: from a label, or an address, to the broker.

A broker is found by its label in two places: in the connection file that it leaves in the
user's runtime directory, then in the Pyro name server, as ``TaskManager.<label>``. Neither is
needed: ``host:port`` always works. A place that is missing, stale, dead or silent costs at most
about `Settings.lookup_timeout_s`, and is named when nothing was found.

A broker calls, in this order: `ConnectionFile.write` and `register_name` once it listens;
`unregister_name` and `ConnectionFile.remove` before it closes its socket, since from then on
a successor may take the label.
"""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyrotask.errors import BrokerNotFound, NameServerNotFound
from pyrotask.remote.addresses import Address, address_of_uri, answers, parse_address
from pyrotask.remote.connection_file import ConnectionFile
from pyrotask.remote.labels import checked_label, object_name
from pyrotask.remote.name_server import lookup_name, name_server_places

if TYPE_CHECKING:
    from pyrotask.config import Settings


def find(where: str, settings: Settings) -> Address:
    """Find the broker that `where`, a label or an address, means.

    The label of a connection file whose broker answers goes first; then an address is what
    looks like one (``host:port``, ``[v6]:port``, ``./u:/path``), and is returned as it is,
    whether somebody is there or not; anything else is looked up in the name server.

    Blocks for at most about three times `Settings.lookup_timeout_s`. May be called from any thread.

    Raises:
        BrokerNotFound: if no broker of that label answers; the text says where it was looked
            for, what was there, and what to type.
        TypeError, ValueError: if `where` is no text, or empty.
    """
    checked_label(where)
    tried: list[str] = []
    found = _find_by_file(where, settings, tried)
    if found is None:
        with contextlib.suppress(ValueError):
            return replace(parse_address(where), key_file=_own_key_file(settings))
        found = _find_by_name(where, settings, tried)
    if found is None:
        label = shlex.quote(where)
        raise BrokerNotFound(
            f"no broker of label {where!r} was found. Looked in: {'; '.join(tried)}. "
            f"Start it with `pyrotask serve {label}`, see what runs by `pyrotask list`, or give its host:port"
        )
    return found


def _find_by_file(label: str, settings: Settings, tried: list[str]) -> Address | None:
    place = f"connection file {ConnectionFile.path(settings.runtime_dir, label)}"
    try:
        file = ConnectionFile.read(settings.runtime_dir, label)
    except FileNotFoundError:
        tried.append(f"{place} (there is none)")
    except (OSError, ValueError) as error:
        tried.append(f"{place} ({error})")
    else:
        address = replace(file.address, source=place)
        if address.near is not None and answers(address, settings.lookup_timeout_s):
            return address
        address = replace(address, near=None)
        if answers(address, settings.lookup_timeout_s):
            return address
        tried.append(
            f"{place} (nobody answers at {address.location}, where process {file.pid} of {file.hostname} was)"
        )
    return None


def _find_by_name(label: str, settings: Settings, tried: list[str]) -> Address | None:
    place = f"name server {name_server_places(settings)[0].location}"
    try:
        uri = lookup_name(label, settings)
    except NameServerNotFound:
        tried.append(f"{place} (none answers there)")  # a broker needs none: no advice about it
        return None
    if uri is None:
        tried.append(f"{place} (it does not know {object_name(label)})")
        return None
    address = replace(address_of_uri(uri), label=label, source=place, key_file=_own_key_file(settings))
    if answers(address, settings.lookup_timeout_s):
        return address
    tried.append(f"{place} (nobody answers at {address.location}, which it names)")
    return None


def _own_key_file(settings: Settings) -> Path | None:
    return settings.key_file if settings.key_file.exists() else None
