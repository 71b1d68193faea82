"""A Pyro proxy that proves the broker's key by itself (`remote.security`), and raises our own errors."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import Pyro5.core
from Pyro5.client import Proxy

import pyrotask
from pyrotask.errors import AuthenticationFailed, KeyRequired
from pyrotask.remote import versions
from pyrotask.remote.auth import AUTH_OBJECT, PROVE
from pyrotask.remote.os_sockets import notice_dead_peers
from pyrotask.remote.security import ClientProof, load_key, new_nonce
from pyrotask.wire_errors import from_builtin

if TYPE_CHECKING:
    from pyrotask.remote.addresses import Address


class KeyedProxy(Proxy):  # type: ignore[misc]
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


def key_is_a_must(address: Address) -> bool:
    """Whether the broker is known to have a key: then whoever does not ask for it is another."""
    return address.key_file is not None and address.source.startswith("connection file")
