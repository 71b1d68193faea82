"""One client's connection: who it is, its messages one after the other, and its answers.

A connection is greeted, may have to prove that it has the key, and is then served: each
message is a `Turn`, and the next one has to wait until it is over. Meanwhile the end of the
connection is seen at once, and what else comes in is bounded. Once it is closed, what had come
in completely before is still done, but for requests to be handed something.

Everything here runs in the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, cast

from pyrotask.arena import Visitor
from pyrotask.errors import AuthenticationFailed
from pyrotask.reference import Origin
from pyrotask.remote import wire
from pyrotask.remote.auth import AUTH_OBJECT, PROVE, Gate
from pyrotask.remote.daemon import PyroConnection
from pyrotask.remote.inbox import Inbox
from pyrotask.remote.near_socket import is_of_another_user
from pyrotask.remote.os_sockets import Socket, has_hung_up, notice_dead_peers, send_now, shut_down
from pyrotask.remote.security import is_loopback
from pyrotask.remote.serializing import Codec, dump_in
from pyrotask.remote.turn import Turn

if TYPE_CHECKING:
    from pyrotask.core.model import ConnectionId
    from pyrotask.remote.hub import Hub

log = logging.getLogger(__name__)

PARKED_INPUT_BYTES = 64 * 1024
"""What a client may send while it waits for an answer. Pyro's send nothing, or a oneway call."""

COPIED_BYTES = 64 * 1024
"""Up to this size a header and its data are made one: a copy costs less than another write."""

AT_ONCE = 100
"""How many messages are done before others have their turn: some milliseconds, as in a batch."""

HEAR_EVERY_S = 0.2
"""How often input counts as a sign of life: calls that name a process count anyway."""


class Connection(asyncio.BufferedProtocol):
    """See the module's text.

    Args:
        hub: what it shares with the others.
    """

    __slots__ = (
        "_clogged",
        "_closed",
        "_goes_on_soon",
        "_going_on",
        "_hear_at",
        "_inbox",
        "_origin",
        "_paused",
        "_pyro",
        "_transport",
        "_turn",
        "_waiting",
        "gate",
        "hub",
        "number",
        "unheard",
        "visitor",
    )  # fmt: skip

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.gate: Gate
        self.number: ConnectionId | None = None
        """Its number in the engine, once it may reach objects."""
        self.visitor: Visitor | None = None
        """What it shares with us, if it is on this host."""
        self._inbox = Inbox(hub.shared, hub.settings.handshake_message_bytes)
        self._transport: asyncio.Transport
        self._turn: Turn | None = None
        """The call that is being done."""
        self._waiting: list[wire.Message] = []
        """Messages that came in meanwhile."""
        self._pyro: PyroConnection | None = None
        """What Pyro's own code sees, once it has a call for it."""
        self.unheard: ConnectionId | None = None
        """Its number, while the machine is still to be told that something came in."""
        self._origin: Origin | None = None
        """That of the last call: nearly always that of the next one, too."""
        self._hear_at = 0.0
        self._closed = False
        self._clogged = False
        """The client does not take its answers as fast as they are made."""
        self._paused = False
        """Nothing is read."""
        self._going_on = False
        self._goes_on_soon = False

    # --- what asyncio calls ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        notice_dead_peers(self._socket())
        peer = transport.get_extra_info("peername")
        is_local = not isinstance(peer, tuple) or is_loopback(peer[0])
        self.gate = Gate(self.hub.key, self.hub.label, is_local=is_local)
        self.hub.opened(self)
        if is_of_another_user(self._socket()):
            self._drop("it is of another user")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes are to be put."""
        return self._inbox.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """They are there."""
        try:
            messages = self._inbox.advance(nbytes)
        except wire.NotPyro as error:
            self._drop(str(error))
            return
        now = time.monotonic()
        if now >= self._hear_at:
            self._hear_at = now + HEAR_EVERY_S
            self.unheard = self.number
        with self.hub.deferring:
            if messages:
                self._waiting += messages
                self._go_on()
            if self.unheard is not None:  # no call has told it
                self._be_heard(self.unheard)
            if self._turn is not None or self._clogged:
                self._bound_input()

    def eof_received(self) -> bool:
        """The client has closed the connection, or died."""
        self.end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by whichever side."""
        self.end()
        self.hub.closed(self)

    def pause_writing(self) -> None:
        """The client does not read: nothing more is done for it until it does."""
        self._clogged = True

    def resume_writing(self) -> None:
        """It does again."""
        self._clogged = False
        self._go_on()

    # --- for the hub, and turns ---------------------------------------------------------------

    @property
    def peer(self) -> object:
        """Who is there, for the log."""
        return self._transport.get_extra_info("peername") or "a process of this machine"

    def origin(self, serializer: str | None) -> Origin:
        """Who calls, for a call in this serializer; None: in opaque bytes."""
        known = self._origin
        if known is None or known.serializer != serializer:
            known = self._origin = Origin(self.number, serializer, self.gate.wire, self.visitor)
        return known

    def is_there(self) -> bool:
        """Whether an answer would find somebody: the system may know better than the loop."""
        if not self.is_open:  # then its descriptor may be another's
            return not self._closed
        return not has_hung_up(self._socket())

    @property
    def is_open(self) -> bool:
        """Whether an answer could be sent."""
        return not self._closed and not self._transport.is_closing()

    def reply(self, header: wire.Header, data: bytes, flags: int) -> None:
        """Answer a call; nothing happens if the connection is closed."""
        self._write(wire.answer_header(wire.RESULT, header, len(data), flags), data)

    def read_on(self) -> None:
        """Read again, if that was paused and the client takes its answers."""
        if self._paused and not self._clogged and self.is_open:
            self._paused = False
            self._transport.resume_reading()

    def over(self, turn: Turn) -> None:
        """The call is done, or given up: the next one can begin. Idempotent."""
        if self._turn is turn:
            self._turn = None
            self._go_on()

    def pass_on(self, message: wire.Message, turn: Turn) -> None:
        """The call is for an object of Pyro's daemon: its own code does it, in a thread."""
        if self._pyro is None:
            self._pyro = PyroConnection(self._socket(), self)
        self.hub.daemon.serve(self._pyro, message, lambda: self.over(turn))

    def send(self, data: bytes) -> None:
        """Send a message that Pyro's own code has made."""
        self._write(data, b"")

    def end(self) -> None:
        """Close the connection at once. What is parked dies, what was sent is done. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._inbox.discard()
        self._transport.abort()
        if self.number is not None:
            self.hub.engine.disconnect(self.number)
        if self._turn is not None:
            self._turn.abandon()
        self._clogged = False
        self._go_on()
        if self._pyro is not None:
            self.hub.daemon.closed(self._pyro)

    def hang_up(self) -> None:
        """Close the connection, without the loop: it has ended."""
        if self.is_open:
            shut_down(self._socket())
        self.end()

    def finish(self) -> None:
        """Close the connection as soon as the client has what was written."""
        if not self._closed:
            self._transport.close()

    # --- messages -----------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Do what waits, up to the first call that takes its time."""
        if self._going_on:
            return
        self._going_on = True
        try:
            done = 0
            while self._waiting and self._turn is None and not self._clogged:
                if done == AT_ONCE and not self._closed:
                    self._make_room_for_others()
                    return
                self._take(self._waiting.pop(0))
                done += 1
        finally:
            self._going_on = False
        if self._turn is None:
            self.read_on()
        self._part()

    def _make_room_for_others(self) -> None:
        """What waits is gone on with when the others had their turn; until then nothing is read."""
        self._stop_reading()
        if not self._goes_on_soon:
            self._goes_on_soon = True
            self.hub.loop.call_soon(self._go_on_now)

    def _go_on_now(self) -> None:
        self._goes_on_soon = False
        with self.hub.deferring:
            self._go_on()

    def _stop_reading(self) -> None:
        if not self._paused and self.is_open:
            self._paused = True
            self._transport.pause_reading()

    def _be_heard(self, number: ConnectionId) -> None:
        self.unheard = None
        self.hub.engine.execute(lambda m, now: m.hear(now, number))

    def _part(self) -> None:
        """When the connection is closed, and what had come in is done: nothing is shared any more."""
        is_over = self._closed and self._turn is None and not self._waiting
        if is_over and self.visitor is not None:
            self.visitor.leave()

    def _take(self, message: wire.Message) -> None:
        header = message.header
        codec = self.hub.codecs.get(header.serializer_id)
        if not self.gate.is_open:
            self._admit(message, codec)
        elif header.kind == wire.PING:
            pong = b"pong"
            self._write(wire.answer_header(wire.PING, header, len(pong)), pong)
        elif header.kind != wire.INVOKE:
            self._drop(f"a message of kind {header.kind} is no call")
        elif message.refusal is not None or codec is None:
            if not header.is_oneway:
                self._refuse(header, ValueError(message.refusal))
        else:
            self._turn = Turn(self, message, codec)
            self._turn.begin()

    def _refuse(self, header: wire.Header, error: Exception) -> None:
        """Answer with an error, in whatever serializer the message names."""
        codec = self.hub.codecs.get(header.serializer_id)
        if codec is not None:
            self.reply(header, codec.dump_error(error), wire.EXCEPTION)
            return
        serializer, data = dump_in(header.serializer_id, error)
        self._write(wire.answer_header(wire.RESULT, header, len(data), wire.EXCEPTION, serializer), data)

    def _bound_input(self) -> None:
        """While a call is being done, or answers are not taken, little else is taken in."""
        if self._turn is not None and self._turn.is_parked:
            # It has to be read on, or its end would not be seen.
            if not self._waiting and not self._inbox.held_bytes:
                return
            held = self._inbox.held_bytes + sum(len(message.body) for message in self._waiting)
            if held > PARKED_INPUT_BYTES or len(self._waiting) > PARKED_INPUT_BYTES // wire.HEADER_BYTES:
                self._drop(f"it sent {held} bytes more while it waits for an answer")
        elif self._waiting:
            self._stop_reading()

    # --- getting in -------------------------------------------------------------------------

    def _admit(self, message: wire.Message, codec: Codec | None) -> None:
        if self.gate.awaits_proof:
            self._check_proof(message, codec)
        elif message.header.kind == wire.CONNECT:
            self._greet(message, codec)
        else:
            self._drop("its first message is not Pyro's handshake")

    def _greet(self, message: wire.Message, codec: Codec | None) -> None:
        header = message.header
        try:
            if message.refusal is not None or codec is None:
                raise ValueError(message.refusal)
            self.hub.check_room()
            said = codec.load(message.data)
            if not isinstance(said, dict):
                raise ValueError("the handshake is damaged")  # noqa: TRY004 - the sender's data
            answer = self.gate.greet(said.get("handshake"))
            about = self.hub.metadata(said.get("object")) if self.gate.is_open else None
            data = codec.dumps({"handshake": answer, "meta": about})
        except Exception as error:  # noqa: BLE001 - whatever a stranger's message brings about
            log.info("%s was not let in: %s", self.peer, error)
            serializer, data = dump_in(header.serializer_id, str(error))
            self.gate.is_open = False
            self._write(wire.answer_header(wire.CONNECT_FAIL, header, len(data), 0, serializer), data)
            self._turn_away()
            return
        self._write(wire.answer_header(wire.CONNECT_OK, header, len(data)), data)
        if self.gate.is_open:
            self._let_in()

    def _check_proof(self, message: wire.Message, codec: Codec | None) -> None:
        header = message.header
        try:
            if message.refusal is not None or codec is None:
                raise ValueError(message.refusal)
            call = codec.load_call(message.data)
            if (call.object_id, call.method) != (AUTH_OBJECT, PROVE) or len(call.args) != 1:
                raise AuthenticationFailed(
                    f"the key has to be proved first: call {AUTH_OBJECT}.{PROVE}(proof), "
                    "or use pyrotask.connect()"
                )
            data = codec.dumps(self.gate.prove(call.args[0]))
        except Exception as error:  # noqa: BLE001 - as above
            log.warning("%s was not let in: %s", self.peer, error)
            self._refuse(header, error)
            self._turn_away()
            return
        self.reply(header, data, 0)
        self._let_in()

    def _let_in(self) -> None:
        self.number = self.hub.engine.connect()
        self._inbox.most_bytes = self.hub.settings.max_message_bytes
        if self.hub.shelf is not None and self.gate.is_local:
            self.visitor = Visitor(self.hub.shelf)
        self.hub.admitted(self)

    def _turn_away(self) -> None:
        self._waiting.clear()
        self.finish()

    # --- odds and ends ------------------------------------------------------------------------

    def _write(self, header: bytes, data: bytes) -> None:
        transport = self._transport
        if self._closed or transport.is_closing():
            return
        if len(data) > COPIED_BYTES:
            transport.write(header)
            transport.write(memoryview(data))  # what cannot be sent at once is copied once less
            return
        message = header + data
        if not self.hub.sends_at_once and not transport.get_write_buffer_size():
            message = message[send_now(self._socket(), message) :]
        if message:
            transport.write(message)

    def _drop(self, reason: str) -> None:
        log.warning("the connection of %s was dropped: %s", self.peer, reason)
        self._waiting.clear()
        self.end()

    def _socket(self) -> Any:
        return cast("Socket", self._transport.get_extra_info("socket"))
