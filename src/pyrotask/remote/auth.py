"""The gate of a connection: who may reach the broker's objects.

Without a key, everybody who can connect may (and the server listens on loopback only, unless
insisted otherwise). With one, our own clients prove that they have it, and plain proxies show
the token that is made of it, on this machine only. The handshake of our own clients is a dict::

    client   {"pyrotask": version, "wire": newest, "oldest_wire": oldest, "nonce": nonce}
    broker   {"label": label, "challenge": nonce, or None without a key}

and then, with a key, the client calls ``prove(proof)`` of the object `AUTH_OBJECT`, which
returns the broker's own proof. No other object can be reached before that.
"""

from __future__ import annotations

from typing import Any

from pyrotask.errors import AuthenticationFailed
from pyrotask.remote.security import ServerChallenge, is_token
from pyrotask.remote.versions import WIRES, wire_of

AUTH_OBJECT = "Pyrotask.Auth"
PROVE = "prove"


class Gate:
    """One connection's way in.

    Args:
        key: the broker's key; None: it asks for none.
        label: the broker's label.
        is_local: whether the peer is on this machine.
    """

    __slots__ = ("_challenge", "_key", "_label", "is_local", "is_open", "wire")

    def __init__(self, key: bytes | None, label: str, *, is_local: bool) -> None:
        self._key = key
        self._label = label
        self.is_local = is_local
        self._challenge: ServerChallenge | None = None
        self.is_open = False
        """Whether objects may be reached."""
        self.wire = WIRES.oldest
        """The version of the bulk protocol to speak with this client."""

    @property
    def awaits_proof(self) -> bool:
        """Whether a challenge was sent and not been answered yet."""
        return self._challenge is not None

    def greet(self, offered: object) -> object:
        """Take what the client says in Pyro's handshake; return what to answer.

        Raises:
            AuthenticationFailed: it does not get in.
        """
        own = offered if isinstance(offered, dict) and "pyrotask" in offered else None
        self.wire = wire_of(own or {})
        if self._key is None:
            self.is_open = True
            return "hello" if own is None else {"label": self._label, "challenge": None}
        if own is not None:
            self._challenge = ServerChallenge(self._key, self._label, own.get("nonce"))
            return {"label": self._label, "challenge": self._challenge.nonce}
        self._check_token(self._key, offered)
        self.is_open = True
        return "hello"

    def prove(self, proof: Any) -> str:
        """Take the client's proof; return the broker's own.

        Raises:
            AuthenticationFailed: it is wrong. There is no second try.
        """
        challenge, self._challenge = self._challenge, None
        if challenge is None:
            raise AuthenticationFailed("no proof was asked for on this connection: open another")
        answer = challenge.check(proof)
        self.is_open = True
        return answer

    def _check_token(self, key: bytes, offered: object) -> None:
        if not is_token(key, offered):
            raise AuthenticationFailed(
                f"the broker {self._label!r} asks for a key. With pyrotask, use pyrotask.connect(); a plain "
                "proxy on the broker's machine sets its _pyroHandshake to "
                "security.token(security.load_key(FILE)), with security from pyrotask.remote"
            )
        if not self.is_local:
            raise AuthenticationFailed(
                "a token could be read on its way, and is taken on the broker's own machine only: "
                "use pyrotask.connect() from here, or an SSH tunnel"
            )
