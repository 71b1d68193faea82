"""The ways to a broker: a proxy for the reference API, and the bulk proxy of our own programs.

    connect         a `TaskManagerProxy` for the broker of that label or address
    BulkProxy       calls of `remote.bulk`; finds the broker again when it is gone

Both prove the broker's key by themselves (`remote.security`), raise our own errors, and never
repeat a call on their own: whether that is safe, only the caller knows. Both belong to one
thread at a time, as every Pyro proxy.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import Pyro5.core
import Pyro5.errors
from Pyro5.client import Proxy

import pyrotask
from pyrotask import reference
from pyrotask.config import Settings
from pyrotask.errors import (
    AuthenticationFailed,
    BrokerBroken,
    ConnectError,
    KeyRequired,
    VersionMismatch,
)
from pyrotask.payload import from_wire
from pyrotask.remote import bulk, discovery, labels, refusals, versions
from pyrotask.remote.auth import AUTH_OBJECT, PROVE
from pyrotask.remote.lean import LeanConnection
from pyrotask.remote.os_sockets import notice_dead_peers
from pyrotask.remote.security import ClientProof, load_key, new_nonce
from pyrotask.wire_errors import from_builtin

if TYPE_CHECKING:
    import threading

    from pyrotask.remote.addresses import Address

log = logging.getLogger("pyrotask.proxy")

GETS_OF_RESULTS = frozenset({"getAnyResult", "getResultWithTag"})

CALL_TIMEOUT_S = 30.0
"""How long a call that does not wait may take before the broker counts as gone: it may be
writing a long journal, or be reading a gigabyte from somebody else."""

FIRST_HELLO_S = 3.0
"""How long the first try to reconnect waits for the broker to say hello; the next ones wait longer, up
to `CALL_TIMEOUT_S`. A dead broker's port may have got another owner, who takes connections and
says nothing, while the broker is back elsewhere."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
"""Between two tries to reconnect: at once for a short break, gently for a long one."""


# ---------------------------------------------------------------- proxies with our key and errors


class _KeyedProxy(Proxy):  # type: ignore[misc]
    """A Pyro proxy that proves the broker's key when it connects, and raises our own errors."""

    def __init__(self, uri: str, key_file: Path | None, *, key_is_a_must: bool = False) -> None:
        super().__init__(uri)
        self._set_own(None if key_file is None else str(key_file), key_is_a_must)

    def _set_own(self, key_file: str | None, key_is_a_must: bool) -> None:  # noqa: FBT001
        # Pyro's own __setattr__ sets attributes of the remote object.
        own = {
            "_pyrotask_key_file": key_file,
            "_pyrotask_key_is_a_must": key_is_a_must,
            "_pyrotask_proof": None,
        }
        for name, value in own.items():
            object.__setattr__(self, name, value)
        self._pyroMaxRetries = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_pyrotask"):
            raise AttributeError(name)  # while it is unpickled
        return super().__getattr__(name)

    def __getstate__(self) -> tuple[Any, ...]:
        return (*super().__getstate__(), self._pyrotask_key_file, self._pyrotask_key_is_a_must)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        *of_pyro, key_file, key_is_a_must = state
        super().__setstate__(tuple(of_pyro))
        self._set_own(key_file, key_is_a_must)

    def _pyroInvoke(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - Pyro's name
        if self._pyroConnection is None:
            self._offer_nonce()
        try:
            return super()._pyroInvoke(*args, **kwargs)
        except Exception as error:
            ours = from_builtin(error)
            if ours is error:
                raise
            ours.__dict__["_pyroTraceback"] = getattr(error, "_pyroTraceback", None)
            raise ours from None

    def _pyroInvokeBatch(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802
        results = super()._pyroInvokeBatch(*args, **kwargs)
        for result in results or ():
            if isinstance(result, Pyro5.core._ExceptionWrapper):  # noqa: SLF001 - it has no public name
                result.exception = from_builtin(result.exception)
        return results

    def _pyroBind(self) -> Any:  # noqa: N802
        if self._pyroConnection is None:
            self._offer_nonce()
        return super()._pyroBind()

    def _offer_nonce(self) -> None:
        """Say in the handshake who we are; a key is read anew for each connection."""
        file = self._pyrotask_key_file
        proof = None if file is None else ClientProof(load_key(Path(file)))
        object.__setattr__(self, "_pyrotask_proof", proof)
        self._pyroHandshake = {
            "pyrotask": pyrotask.__version__,
            "wire": versions.WIRES.newest,
            "oldest_wire": versions.WIRES.oldest,
            "nonce": new_nonce() if proof is None else proof.nonce,
        }

    def _pyroValidateHandshake(self, response: Any) -> None:  # noqa: N802
        sock = self._pyroConnection.sock
        notice_dead_peers(sock)
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._prove_key(response if isinstance(response, dict) else {})
        except BaseException:
            self._pyroRelease()
            raise

    def _prove_key(self, response: dict[str, Any]) -> None:
        challenge, where = response.get("challenge"), str(self._pyroUri.location)
        if challenge is None:
            if self._pyrotask_key_is_a_must:
                raise AuthenticationFailed(
                    f"the program at {where} does not know of the key that its connection file names: it is "
                    "another one. `pyrotask list` shows the brokers"
                )
            return
        if self._pyrotask_proof is None:
            raise KeyRequired(
                f"the broker at {where} asks for its key: copy its key file (`pyrotask list` names it there) "
                "to this machine, mode 600, and name it with --key-file or PYROTASK_KEY_FILE"
            )
        answer = self._pyrotask_proof.answer(str(response.get("label", "")), challenge)
        proof = self._pyroInvoke(PROVE, (answer,), {}, objectId=AUTH_OBJECT)
        self._pyrotask_proof.check(proof)


class TaskManagerProxy(_KeyedProxy):
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
        key_is_a_must=_key_is_a_must(address),
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


# ---------------------------------------------------------------- the bulk proxy


class BulkProxy:
    """A connection to the bulk object of a broker.

    Not thread-safe: used by one thread at a time. Use it with ``with``, or `close` it.

    Args:
        where: the broker's label or address, see `discovery.find`.
        settings: None: `Settings.load()`.
        connect: False: there is no connection until `reconnect` has made one.

    Attributes:
        label, lineage: the broker's; the lineage tells whether numbers from before a
            reconnect still mean the same.
        location: where it was found.
        has_journal: whether the broker's work outlives it: then it is worth waiting for its next run.
        wire: the version of the interface that both sides speak.
        python: the version of the broker's Python; see `warn_of_python`.

    Raises:
        BrokerNotFound, ConnectError: it cannot be reached.
        KeyRequired, AuthenticationFailed: it can, and does not let us in.
        VersionMismatch: it runs a version that we cannot talk to.
    """

    def __init__(self, where: str, settings: Settings | None = None, *, connect: bool = True) -> None:
        self._where = where
        self._settings = settings or Settings.load()
        self._proxy: _KeyedProxy | None = None
        self._lean: LeanConnection | None = None
        """The same connection, for our calls."""
        self.label = ""
        self.lineage = ""
        self.location = ""
        self.has_journal = False
        self.wire = versions.WIRES.newest
        self.python = ""
        if connect:
            self.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def call(self, method: str, *args: object, timeout_s: float | None = None) -> Any:
        """Call a function of `remote.bulk`, and return what it returns.

        ``timeout_s``: how long the broker may take; None: `CALL_TIMEOUT_S`.

        Raises:
            ConnectError: the connection broke, or the broker does. Whether the call was
                executed is unknown; the connection is closed: `reconnect`.
            PyrotaskError, TypeError, ValueError: as the function says; the connection lives on.
        """
        try:
            return self._open().call(method, args, CALL_TIMEOUT_S if timeout_s is None else timeout_s)
        except Exception as error:
            self._explain(method, error)
            raise

    def send(self, *calls: tuple[str, tuple[object, ...]]) -> None:
        """Send calls, each a method and its arguments; the broker does them in order. See `receive`.

        Raises as `call` does when the connection breaks.
        """
        try:
            self._open().send(*calls)
        except Exception as error:
            self._explain(calls[0][0], error)
            raise

    def receive(self, method: str, timeout_s: float) -> Any:
        """The reply to the first call that was sent and has none yet; ``method`` is its name.

        Raises as `call` does.
        """
        try:
            return self._open().receive(timeout_s)
        except Exception as error:
            self._explain(method, error)
            raise

    def _open(self) -> LeanConnection:
        if self._lean is None:
            raise ConnectError(f"the connection to {self._where!r} is closed: call reconnect first")
        return self._lean

    def _explain(self, method: str, error: Exception) -> None:
        """Raise what it means for our caller, unless it is for him as it is."""
        at = f"broker {self._where!r} at {self.location}"
        if isinstance(error, BrokerBroken):
            self.close()
            raise ConnectError(f"{at} has stopped: {error}") from error
        if isinstance(error, (Pyro5.errors.CommunicationError, ConnectionError)) and self._lean is not None:
            self.close()
            raise ConnectError(f"the connection to {at} broke in {method} ({error})") from error
        if isinstance(error, AttributeError):  # of the broker
            raise VersionMismatch(
                f"the {at} is of an older pyrotask (interface {self.wire}), and cannot {method}: there, type "
                "`pip install -U pyrotask`, and start it again"
            ) from error

    def fileno(self) -> int:
        """The descriptor of the connection, -1 if it is closed.

        Between two calls it becomes readable when the broker has closed the connection: with a
        selector, that is seen at once.
        """
        connection = None if self._proxy is None else self._proxy._pyroConnection  # noqa: SLF001
        return -1 if connection is None else int(connection.sock.fileno())

    def interrupt(self) -> None:
        """Break the connection from another thread: a call that waits ends with a ConnectError."""
        with contextlib.suppress(OSError, AttributeError):  # it may be closed at this very moment
            self._proxy._pyroConnection.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # noqa: SLF001

    def connect(self, hello_s: float = CALL_TIMEOUT_S) -> None:
        """Find the broker and connect to it: once. Raises as the constructor does.

        ``hello_s``: how long it may take to say hello.
        """
        self.close()
        address = discovery.find(self._where, self._settings)
        proxy = _KeyedProxy(
            f"PYRO:{bulk.OBJECT_ID}@{address.location}",
            address.key_file,
            key_is_a_must=_key_is_a_must(address),
        )
        proxy._pyroSerializer = "msgpack"  # noqa: SLF001
        proxy._pyroMethods = set(bulk.CALLS)  # noqa: SLF001 - so that it does not ask for them
        proxy._pyroTimeout = hello_s  # noqa: SLF001
        try:
            hello = proxy._pyroInvoke("hello", (), {})  # noqa: SLF001
            wire = refusals.common_wire(address, hello)
            refusals.check_label(address, hello)
        except (Pyro5.errors.CommunicationError, ConnectionError) as error:
            proxy._pyroRelease()  # noqa: SLF001
            if isinstance(error, ConnectError):
                raise
            raise refusals.unreachable(self._where, address, error) from error
        except AttributeError as error:
            proxy._pyroRelease()  # noqa: SLF001
            raise refusals.mismatch(address, "without this interface", "") from error
        except BaseException:
            proxy._pyroRelease()  # noqa: SLF001
            raise
        self._proxy = proxy
        self._lean = LeanConnection(proxy._pyroConnection.sock, bulk.OBJECT_ID)  # noqa: SLF001
        self.label, self.lineage, self.location = hello["label"], hello["lineage"], address.location
        self.has_journal = hello.get("has_journal", False) is True
        self.wire, self.python = wire, str(hello.get("python", ""))

    def reconnect(self, timeout_s: float | None = None, stop: threading.Event | None = None) -> None:
        """Find the broker again, wherever it is now, and connect: as often as it takes.

        Blocks. Between two tries are pauses that grow, each of a random length, so that a
        thousand workers do not come back at the same moment.

        Args:
            timeout_s: after how long to give up; None: never.
            stop: give up when it is set.

        Raises:
            KeyRequired, AuthenticationFailed, VersionMismatch: it is there, and trying again
                cannot help.
            ConnectError: given up, with the reason of the last try.
        """
        give_up_at = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s, hello_s = FIRST_PAUSE_S, FIRST_HELLO_S
        while True:
            try:
                self.connect(hello_s)
                return
            except (KeyRequired, AuthenticationFailed, VersionMismatch):
                raise
            except (ConnectError, BrokerBroken) as error:
                if give_up_at is not None and time.monotonic() >= give_up_at:
                    raise ConnectError(
                        f"gave up after {timeout_s:g} s without broker {self._where!r}: {error}"
                    ) from error
                if _wait(pause_s * random.uniform(0.5, 1.5), stop):  # noqa: S311 - no secret
                    raise ConnectError(f"told to stop while broker {self._where!r} was away") from error
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                if isinstance(error.__cause__, Pyro5.errors.TimeoutError):
                    hello_s = min(2 * hello_s, CALL_TIMEOUT_S)

    def warn_of_python(self) -> None:
        """Log a warning if the broker's Python is another one, with what does not work then.

        For those who send or run functions: workers, and clients that submit.
        """
        warning = versions.python_warning(self.label, self.python) if self.python else None
        if warning is not None:
            log.warning("%s", warning)

    def close(self) -> None:
        """Close the connection. Idempotent; `reconnect` opens another."""
        proxy, self._proxy, self._lean = self._proxy, None, None
        if proxy is not None:
            proxy._pyroClaimOwnership()  # noqa: SLF001
            proxy._pyroRelease()  # noqa: SLF001


def _wait(seconds: float, stop: threading.Event | None) -> bool:
    if stop is not None:
        return stop.wait(seconds)
    time.sleep(seconds)
    return False


# ---------------------------------------------------------------- what can be wrong


def _key_is_a_must(address: Address) -> bool:
    """Whether the broker is known to have a key: then whoever does not ask for it is another."""
    return address.key_file is not None and address.source.startswith("connection file")
