"""Who gets in: the key and its file, the proof that both sides have it, and what needs one.

The key is 32 random bytes in a file that only its owner can read. It never travels:

- our own clients and the broker prove to each other that they have it. ::

      client                                     broker
      ------ client nonce ---------------------->          in Pyro's handshake
             <------------- label, broker nonce --
      ------ client proof ---------------------->          the second round
             <-------------------- broker proof --

  A proof is an HMAC-SHA256 over the direction, the label and both nonces. So one that was
  recorded, was made for another broker, or is sent back to its maker, proves nothing. The
  broker goes second: nobody without the key gets as much as a proof from it.
- a plain Pyro proxy sends a token, which is derived from the key. It could be read on the
  way, so the server takes it on loopback or under TLS only.

The proof says who opened the connection. It does not encrypt what follows, and cannot stop
somebody who changes packets on the way: on a network like that, use TLS or an SSH tunnel.

Nothing here opens a connection; only the functions about the key file touch the disk (by `private_files`).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import shlex
from pathlib import Path

from pyrotask.errors import AuthenticationFailed, KeyRequired
from pyrotask.remote.private_files import make_private_directories, read_private, write_new_private

KEY_BYTES = 32
NONCE_BYTES = 32

_CLIENT_TO_BROKER = b"pyrotask 1: client to broker"
_BROKER_TO_CLIENT = b"pyrotask 1: broker to client"
_PLAIN_TOKEN = b"pyrotask 1: token of a plain proxy"


# ---------------------------------------------------------------- the key and its file


def create_key(path: Path) -> bytes:
    """Make a new key, store it in a new file with mode 600, and return it.

    The file appears complete or not at all, also when several processes create it at once:
    one succeeds. Missing directories above it are made, with mode 700.

    Raises:
        FileExistsError: if the file exists already; it is left as it is.
    """
    key = secrets.token_bytes(KEY_BYTES)
    make_private_directories(path.parent)
    new = write_new_private(path.parent, key.hex().encode() + b"\n")
    try:
        os.link(new, path)  # unlike a rename, it never replaces a key that somebody uses
    except FileExistsError:
        raise FileExistsError(
            f"key file {path} exists already: use it with --key-file {shlex.quote(str(path))}"
        ) from None
    finally:
        new.unlink()
    return key


def load_key(path: Path) -> bytes:
    """Read the key from its file.

    Raises:
        KeyRequired: if there is no such file, or no key in it.
        PermissionError: if it is not a regular file of this user with mode 600 (or 400); the
            text has the command that repairs it.
    """
    try:
        text = read_private(path)
    except FileNotFoundError:
        raise KeyRequired(
            f"there is no key file {path}: copy the broker's file to it "
            f"(mode 600), or name another with --key-file or PYROTASK_KEY_FILE"
        ) from None
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyRequired(
            f"key file {path} holds no key ({2 * KEY_BYTES} hexadecimal digits): copy the broker's file "
            f"to it, or remove it and `pyrotask serve` makes a new one"
        )
    return key


def load_or_create_key(path: Path) -> bytes:
    """Return the key of the file, which is made if it is missing. Safe in several processes at once.

    Raises:
        KeyRequired, PermissionError: as `load_key`.
    """
    if not path.exists():
        try:
            return create_key(path)
        except FileExistsError:
            pass  # another process was faster: its key counts
    return load_key(path)


# ---------------------------------------------------------------- plain proxies


def token(key: bytes) -> str:
    """Return what a plain proxy shows in ``_pyroHandshake``. The key cannot be computed from it."""
    return hmac.new(key, _PLAIN_TOKEN, hashlib.sha256).hexdigest()


def is_token(key: bytes, offered: object) -> bool:
    """Tell whether what a client offered, of whatever type, is the key's token; in constant time."""
    return isinstance(offered, str) and hmac.compare_digest(token(key).encode(), _utf8(offered))


# ---------------------------------------------------------------- our own clients


def new_nonce() -> str:
    """Return a fresh nonce: 64 hexadecimal digits, never used before."""
    return secrets.token_hex(NONCE_BYTES)


class ClientProof:
    """The client's half of the mutual proof: one object for one connection.

    Send `nonce`; send `answer` to what the broker says; take its proof to `check`, and call
    nothing on the connection before that has returned.

    Args:
        key: the key of `load_key`.
        nonce: from `new_nonce`; the default makes one.
    """

    __slots__ = ("_awaited", "_key", "nonce")

    def __init__(self, key: bytes, nonce: str | None = None) -> None:
        self._key = key
        self._awaited: bytes | None = None
        self.nonce = new_nonce() if nonce is None else nonce

    def answer(self, label: str, broker_nonce: object) -> str:
        """Return the proof for the broker of that label.

        Raises:
            AuthenticationFailed: if what the broker sent is no nonce.
        """
        nonces = _nonce(self.nonce) + _nonce(broker_nonce)
        self._awaited = _proof(self._key, _BROKER_TO_CLIENT, label, nonces)
        return _proof(self._key, _CLIENT_TO_BROKER, label, nonces).hex()

    def check(self, broker_proof: object) -> None:
        """Return if the broker has proved that it has the key too.

        Raises:
            AuthenticationFailed: if it has not.
        """
        if self._awaited is None or not _same(self._awaited, broker_proof):
            raise AuthenticationFailed(
                "the broker could not prove that it has your key: another program answers at its address, "
                "or its key file differs from yours. `pyrotask list` shows the brokers and their key files"
            )


class ServerChallenge:
    """The broker's half of the mutual proof: one object for one connection, good for one try.

    Send `nonce` with the label; take the client's proof to `check`, and send back what that
    returns.

    Args:
        key: the broker's key.
        label: the broker's own label.
        client_nonce: what the client sent, whatever it is.
        nonce: from `new_nonce`; the default makes one.

    Raises:
        AuthenticationFailed: if what the client sent is no nonce.
    """

    __slots__ = ("_awaited", "_reply", "nonce")

    def __init__(self, key: bytes, label: str, client_nonce: object, nonce: str | None = None) -> None:
        self.nonce = new_nonce() if nonce is None else nonce
        nonces = _nonce(client_nonce) + _nonce(self.nonce)
        self._awaited: bytes | None = _proof(key, _CLIENT_TO_BROKER, label, nonces)
        self._reply = _proof(key, _BROKER_TO_CLIENT, label, nonces).hex()

    def check(self, client_proof: object) -> str:
        """Return the broker's own proof, if the client's is right.

        Raises:
            AuthenticationFailed: if it is not, or at a second try.
        """
        awaited, self._awaited = self._awaited, None
        if awaited is None or not _same(awaited, client_proof):
            raise AuthenticationFailed(
                "the client could not prove that it has the broker's key: copy the broker's key file "
                "(`pyrotask list` names it) to the client, and name it there with --key-file"
            )
        return self._reply


def _proof(key: bytes, direction: bytes, label: str, nonces: bytes) -> bytes:
    # Only the label varies in length, and it stands last: two different messages never look the same.
    return hmac.digest(key, direction + nonces + _utf8(label), "sha256")


def _nonce(value: object) -> bytes:
    """Read a nonce that came over the network; hexadecimal text passes every serializer."""
    nonce = _unhex(value)
    if len(nonce) != NONCE_BYTES:
        raise AuthenticationFailed(
            "the other side sent no valid nonce: it does not speak this version of pyrotask's protocol"
        )
    return nonce


def _same(awaited: bytes, offered: object) -> bool:
    return hmac.compare_digest(awaited, _unhex(offered))


def _unhex(value: object) -> bytes:
    if not isinstance(value, str):
        return b""
    try:
        return bytes.fromhex(value)
    except ValueError:
        return b""


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# ---------------------------------------------------------------- what needs a key


def is_loopback(host: str) -> bool:
    """Tell whether that host can be reached from this machine only. Nothing is resolved.

    True for ``localhost``, loopback addresses, and unix sockets (``./u:...``). Any other name
    counts as public, whatever it resolves to today; so do the wildcards ``""``, ``0.0.0.0``, ``::``.
    """
    if host.startswith("./u:") or host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def require_key_for(host: str, key: bytes | None, *, insecure: bool, label: str = "LABEL") -> None:
    """Return if a broker may listen on that host: it is loopback, or there is a key, or it was insisted.

    Raises:
        KeyRequired: otherwise; the text has the command to type.
    """
    if key is not None or insecure or is_loopback(host):
        return
    command = f"pyrotask serve {shlex.quote(label)} --host {shlex.quote(host)}"
    raise KeyRequired(
        f"{host or 'every address of this machine'} can be reached from other machines, and there is no key: "
        f"whoever gets there could run code on your workers. Type `{command} --key-file FILE` (the file is "
        f"made if it is missing), or `{command} --insecure` if you trust everybody on that network"
    )
