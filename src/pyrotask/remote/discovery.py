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
import hashlib
import json
import logging
import re
import shlex
import socket
import string
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, unquote

import Pyro5.core
import Pyro5.errors
from Pyro5.client import Proxy

from pyrotask.config import split_host_port
from pyrotask.errors import BrokerNotFound, LabelHeld, NameServerNotFound
from pyrotask.remote.security import check_private_directory, private_directory, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrotask.config import Settings

_log = logging.getLogger(__name__)

OBJECT_PREFIX = "TaskManager."
UNIX_PREFIX = "./u:"

# ---------------------------------------------------------------- labels

# Pyro refuses blanks in a name and cuts it at "@". All else in ASCII stands for itself, so that
# people can write PYRONAME:TaskManager.run_10:09 as they think it.
_PLAIN_IN_NAMES = "".join(set(string.punctuation) - set("@%"))
_LONGEST_QUOTED = 180


def object_name(label: str) -> str:
    """Return the name of that broker's `TaskManager` in its daemon and in the name server.

    Raises:
        TypeError, ValueError: if the label is no text, or empty.
    """
    return OBJECT_PREFIX + quote(_checked_label(label), safe=_PLAIN_IN_NAMES, errors="surrogatepass")


def quote_label(label: str) -> str:
    """Return the label as a safe part of a path or URL: letters, digits and ``_-.~%`` only.

    Never ``.``, ``..`` or hidden. As long as the label needs; see `file_stem` for a bounded one.

    Raises:
        TypeError, ValueError: if the label is no text, or empty.
    """
    quoted = quote(_checked_label(label), safe="", errors="surrogatepass")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted


def unquote_label(quoted: str) -> str:
    """Return the label of a `quote_label`, or of an `object_name` without its prefix."""
    return unquote(quoted, errors="surrogatepass")


def file_stem(label: str) -> str:
    """Return a file name for the label, of at most 220 characters, another one for each label."""
    quoted = quote_label(label)
    if len(quoted) <= _LONGEST_QUOTED:
        return quoted
    digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{quoted[: _LONGEST_QUOTED - 32]}+{digest}"  # quoting leaves no "+": a short label never looks so


def _checked_label(label: str) -> str:
    if not isinstance(label, str):
        raise TypeError(f"a label is a text, not {label!r}")
    if not label:
        raise ValueError("a label cannot be empty: name it after the computation, for example")
    return label


# ---------------------------------------------------------------- addresses


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is, and how we know.

    Attributes:
        host: a name or an address without brackets; for a unix socket ``./u:/its/path``.
        port: the TCP port; 0 for a unix socket.
        label: the broker's label, None when only the address is known.
        source: how it was found, for messages: ``"address"``, ``"connection file ..."``, ...
        key_file: where its key is, None if it is not known to have one.
    """

    host: str
    port: int
    label: str | None = None
    source: str = "address"
    key_file: Path | None = None

    @property
    def location(self) -> str:
        """The address as Pyro writes it: ``host:port``, ``[v6]:port`` or ``./u:path``."""
        if self.host.startswith(UNIX_PREFIX):
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``"host:port"``, ``"[IPv6]:port"`` or ``"./u:/path/of/socket"``. Nothing is resolved.

    Raises:
        ValueError: if the text has none of these shapes.
    """
    if text.startswith(UNIX_PREFIX) and len(text) > len(UNIX_PREFIX):
        return Address(text, 0)
    host, port = split_host_port(text)
    if port is None:
        raise ValueError(f"{text!r} has no port; an address is host:port, [IPv6]:port or ./u:/path/of/socket")
    return Address(host, port)


def answers(address: Address, timeout_s: float) -> bool:
    """Tell whether somebody takes connections at that address; blocks for at most about the timeout."""
    try:
        if not address.host.startswith(UNIX_PREFIX):
            socket.create_connection((address.host, address.port), timeout_s).close()
            return True
        with socket.socket(socket.AF_UNIX) as unix:  # absent on Windows: AttributeError
            unix.settimeout(timeout_s)
            unix.connect(address.host.removeprefix(UNIX_PREFIX))
            return True
    except (OSError, AttributeError, UnicodeError):
        return False


# ---------------------------------------------------------------- the connection file

_FILE_SUFFIX = ".broker.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionFile:
    """What a running broker tells the other processes of its user.

    Attributes:
        label: the broker's label.
        host: where it listens (a wildcard like ``0.0.0.0`` is fine), or ``./u:/path``.
        port: its TCP port, 0 for a unix socket.
        pid: its process id on `hostname`.
        hostname: the machine it runs on.
        lineage: its journal's lineage id.
        started_at: when it started, in seconds of the wall clock (`time.time`).
        version: its version of pyrotask.
        key_file: the file of its key on that machine, None if it asks for none.
    """

    label: str
    host: str
    port: int
    pid: int
    hostname: str
    lineage: str
    started_at: float
    version: str
    key_file: Path | None = None

    @staticmethod
    def path(directory: Path, label: str) -> Path:
        """Return where the file of that label is, or would be."""
        return directory / (file_stem(label) + _FILE_SUFFIX)

    def write(self, directory: Path) -> Path:
        """Write the file, in place of an older one; readers see the old or the new, never a part.

        The directory is made if it is missing.

        Raises:
            PermissionError: if the directory is not private, see `security.private_directory`.
        """
        values = asdict(self) | {"key_file": None if self.key_file is None else str(self.key_file)}
        path = self.path(private_directory(directory), self.label)
        write_private(path, json.dumps(values, indent=1).encode() + b"\n")
        return path

    @classmethod
    def read(cls, directory: Path, label: str) -> Self:
        """Read the file of that label. Whether its broker still lives is not looked at.

        Raises:
            FileNotFoundError: if there is none.
            PermissionError: if the directory is not private: the file could be anybody's.
            ValueError: if it is damaged; the text has the command that removes it.
        """
        check_private_directory(directory)
        found = cls._read(cls.path(directory, label))
        if found.label != label:  # a file system that takes "Run" and "run" for the same name
            raise FileNotFoundError(f"{cls.path(directory, label)} is of label {found.label!r}")
        return found

    def remove(self, directory: Path) -> bool:
        """Remove the file if it is still this broker's; False if it is gone, or a successor's. Idempotent.

        Call it while the broker still listens: a successor writes its own after that.
        """
        try:
            found = self.read(directory, self.label)
        except (OSError, ValueError):
            return False
        if (found.pid, found.hostname, found.lineage) != (self.pid, self.hostname, self.lineage):
            return False
        self.path(directory, self.label).unlink(missing_ok=True)
        return True

    @classmethod
    def list_all(cls, directory: Path) -> list[Self]:
        """Read all files of the directory, by label; damaged ones are skipped with a logged warning.

        Empty if the directory is missing.

        Raises:
            PermissionError: if the directory is not private.
        """
        try:
            check_private_directory(directory)
        except FileNotFoundError:
            return []
        files = []
        for path in directory.glob(f"*{_FILE_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # its broker has just ended
                try:
                    files.append(cls._read(path))
                except ValueError as error:
                    _log.warning("skipped: %s", error)
        return sorted(files, key=lambda file: file.label)

    @property
    def address(self) -> Address:
        """Where to connect to: for a broker on all addresses, loopback if it is on this machine."""
        host = self.host
        if host in {"", "0.0.0.0", "::"}:  # noqa: S104 - read, not bound
            host = "127.0.0.1" if self.hostname == socket.gethostname() else self.hostname
        return Address(host, self.port, self.label, key_file=self.key_file)

    @classmethod
    def _read(cls, path: Path) -> Self:
        try:
            values = json.loads(path.read_bytes())
            known = {
                name: values[name] for name in cls.__slots__ if name in values
            }  # a newer version may say more
            key_file = known.pop("key_file", None)
            file = cls(**known, key_file=None if key_file is None else Path(key_file))
            file._check_types()
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"connection file {path} is damaged ({error}): remove it with `rm {shlex.quote(str(path))}`, "
                f"and start its broker again"
            ) from error
        return file

    def _check_types(self) -> None:
        for name in ("label", "host", "hostname", "lineage", "version"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is no text")
        for name in ("port", "pid"):
            if not isinstance(getattr(self, name), int):
                raise TypeError(f"{name} is no whole number")
        if not 0 <= self.port <= 65535:  # noqa: PLR2004 - the range of TCP
            raise ValueError(f"port is {self.port}")
        if not isinstance(self.started_at, int | float):
            raise TypeError("started_at is no number")


# ---------------------------------------------------------------- finding a broker


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
    _checked_label(where)
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
        if answers(address, settings.lookup_timeout_s):
            return address
        tried.append(
            f"{place} (nobody answers at {address.location}, where process {file.pid} of {file.hostname} was)"
        )
    return None


def _find_by_name(label: str, settings: Settings, tried: list[str]) -> Address | None:
    place = f"name server {_name_server_places(settings)[0].location}"
    try:
        uri = lookup_name(label, settings)
    except NameServerNotFound as error:
        tried.append(f"{place} ({error})")
        return None
    if uri is None:
        tried.append(f"{place} (it does not know {object_name(label)})")
        return None
    address = replace(_address_of(uri), label=label, source=place, key_file=_own_key_file(settings))
    if answers(address, settings.lookup_timeout_s):
        return address
    tried.append(f"{place} (nobody answers at {address.location}, which it names)")
    return None


def _own_key_file(settings: Settings) -> Path | None:
    return settings.key_file if settings.key_file.exists() else None


# ---------------------------------------------------------------- the Pyro name server


def locate_name_server(settings: Settings) -> Proxy:
    """Return a connected proxy of the name server, each of whose calls is bounded by the lookup timeout.

    The proxy belongs to the calling thread; close it by ``with``. There is no broadcast: it
    takes seconds when nobody answers, and anybody may answer it.

    Raises:
        NameServerNotFound: if none answers in time; the text says what to do.
    """
    # Not Pyro's locate_ns: its only timeout is the process-wide COMMTIMEOUT, which is the user's.
    places = _name_server_places(settings)
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


def register_name(label: str, uri: object, settings: Settings) -> None:
    """Register the broker's URI (text, or Pyro's) under its label. Idempotent.

    A stale name, where nobody answers or somebody else does, is replaced. One whose owner
    takes connections and stays silent counts as held: it may be stopped or busy, and two
    managers of one label are worse than none.

    Raises:
        LabelHeld: if another broker holds the label; the text says where, and what to do.
        NameServerNotFound: if no name server answers in time, or it ends meanwhile: whether
            the name was registered is unknown then.
    """
    name, own = object_name(label), str(uri)
    with _name_server(settings) as names:
        holder = _lookup(names, name)
        if holder is not None and holder != own:
            if is_live(holder, settings):
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


def _name_server_places(settings: Settings) -> list[Address]:
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


def is_live(uri: str, settings: Settings) -> bool:
    """Tell whether the owner of a registered URI lives, or may live."""
    if not answers(_address_of(uri), settings.lookup_timeout_s):
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


def _held(label: str, holder: str, settings: Settings) -> str:
    place, name = _name_server_places(settings)[0], shlex.quote(object_name(label))
    return (
        f"label {label!r} is held by a live broker at {_address_of(holder).location}, says the name server "
        f"{place.location}. Use another label, or end that broker first; if it is none of yours, "
        f"remove the name: `pyro5-nsc -n {place.host} -p {place.port} remove {name}`"
    )


def _address_of(uri: str) -> Address:
    parsed = Pyro5.core.URI(uri)
    if parsed.sockname:
        return Address(UNIX_PREFIX + parsed.sockname, 0)
    return Address(parsed.host or "", parsed.port or 0)  # a PYRONAME has none: nobody answers there
