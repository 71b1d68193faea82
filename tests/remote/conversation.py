"""Conversations between clients and a broker, byte by byte: to record them, and to hold them again.

    python -m tests.remote.conversation 2

records the `story` of that version with the library as it is: once for each version of the
interface, before the first release that speaks it. Then the file never changes: it shows what clients
of that version say, and what they were answered. A file has a line for each message and its answer::

    {"who": connection, "what": for people, "sent": message, "received": answer}

with the messages, Pyro's header and all, in base64.
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
from Pyro5 import protocol

from pyrotask.config import Settings
from pyrotask.remote import bulk
from tests.remote.serving import RawClient, serving

VALUE, OTHER, ERROR = ["plain", [b"\x01"]], ["plain", [b"\x02"]], ["pickle", [b"\x03"]]
ALL_OPTIONS = {
    "priority": 3,
    "delay_s": 0,
    "inputs": [],
    "key": "sqrt of 2",
    "retries": 2,
    "retry_delay_s": 0,
    "retry_factor": 2,
    "retry_max_delay_s": 60,
    "retry_jitter": 0,
    "retry_only": ["OSError"],
    "time_limit_s": 60.5,
    "max_crashes": 2,
    "max_losses": 2,
    "plain_answer": True,
}

Said = tuple[str, str, list[Any]]
"""Over which connection, which call, and its arguments."""

BEGINNING: Sequence[Said] = [
    ("supervisor", "hello", []),
    ("supervisor", "register_node", [5.0, "host"]),
    ("worker", "hello", []),
    ("worker", "register_worker", [0, 5.0, "host, pid 1", ["sqrt", "cbrt"]]),
    ("other worker", "register_worker", [None, None, "host, pid 2", None]),
    ("worker", "register_worker", [7, 5.0, "of no node", []]),
    ("client", "hello", []),
    ("client", "open_session", ["mine"]),
    ("client", "submit", [1, 1, 0, [["sqrt", VALUE, ALL_OPTIONS], ["sqrt", VALUE, {}], ["cbrt", VALUE]]]),
    ("client", "submit", [1, 1, 0, [["sqrt", VALUE, ALL_OPTIONS], ["sqrt", VALUE, {}], ["cbrt", VALUE]]]),
    ("client", "submit", [1, 2, 1, [["sqrt", OTHER, {"key": "sqrt of 2"}]]]),
    ("client", "submit", [1, 2, 1, [["cbrt", VALUE, {"inputs": [1]}], ["exp", VALUE, {"delay_s": 3600}]]]),
    ("client", "submit", [9, 1, 0, [["sqrt", VALUE]]]),
    ("supervisor", "beat", [0, [0, 8]]),
    ("worker", "exchange", [0, [], None, 1, 0]),
    ("worker", "exchange", [0, [[0, 1, "value", VALUE]], None, 1, 0]),
    ("worker", "exchange", [0, [[1, 1, "release", "returned"]], None, 0, 0]),
    ("worker", "exchange", [0, [[4, 1, "value", VALUE]], ["sqrt"], 1, 0.0]),
    ("worker", "resume", [0, [[1, 2]]]),
    ("other worker", "exchange", [1, [], ["cbrt"], 1, 0]),
    (
        "other worker",
        "exchange",
        [1, [[2, 2, "error", ERROR, "Traceback", ["ValueError", "Exception"], "no"]], ["cbrt"], 0, 0],
    ),
    ("supervisor", "time_limit_reached", [0, 1, 2]),
    ("client", "collect", [1, 0, 2, 0]),
    ("client", "collect", [1, 1, 10, 0, 2, ["sqrt", "cbrt"]]),
    ("client", "collect", [1, 99, 1, 0]),
    ("client", "tasks", [{"session": 1}, 10, None]),
    ("client", "tasks", [{"states": ["failed"], "tag": "cbrt"}]),
    ("client", "task", [4]),
    ("client", "task", [77]),
    ("client", "cancel", [{"tasks": [4]}, "no time", 10, None, [1, 3, 2]]),
    ("client", "cancel", [{}]),
    ("client", "retry", [{"tasks": [4]}, 10, None, [1, 4, 3]]),
    ("client", "forget", [{"states": ["failed", "succeeded"]}, 10, None, [1, 5, 4]]),
    ("client", "collect", [1, 3, 0, 0]),
    ("client", "store_data", [{"a": VALUE, "b": OTHER}]),
    ("client", "retrieve_data", ["b"]),
    ("client", "delete_data", ["b"]),
    ("client", "retrieve_data", ["b"]),
    ("client", "status", []),
]

NEWS: Mapping[int, Sequence[Said]] = {
    2: [
        ("other worker", "share", [1, 0, b"of no segment   "]),
        ("client", "submit", [1, 6, 5, [["sqrt", VALUE, {"key": "a"}], ["sqrt", VALUE], ["sqrt", VALUE]]]),
        ("worker", "exchange", [0, [], ["sqrt"], 1, 0]),
        ("supervisor", "beat", [0, [0, 8]]),
        ("client", "cancel", [{"tasks": [5]}, "no time"]),
        ("supervisor", "beat", [0, [0]]),
        ("client", "explain", [5]),
        ("client", "explain", [6]),
        ("client", "explain", [77]),
        ("client", "peek", [{"keys": ["a"]}, 10, None]),
        ("client", "peek", [{"session": 1}]),
        ("client", "sessions", []),
        ("client", "sessions", ["mine"]),
        ("client", "sessions", ["yours"]),
        ("worker", "exchange", [0, [], ["sqrt"], 1, 0]),
        ("supervisor", "give_back", [0, [[6, 1], [7, 1]]]),
        ("client", "tasks", [{"keys": ["a"]}]),
        ("worker", "exchange", [0, [], None, 0, 0, [["sqrt", 3, 0.25]]]),
        ("client", "submit_and_collect", [1, 7, 6, [["exp", VALUE]], 3, 3, 10, 0]),
        ("client", "submit_and_collect", [1, 7, 6, [["exp", VALUE]], 3, 3, 10, 0.001]),
    ],
}
"""What each version after the first has added."""

END: Sequence[Said] = [
    ("supervisor", "child_exited", [0, [[1, 2]], "killed by signal 9 (SIGKILL)"]),
    ("supervisor", "child_exited", [0, [], "again"]),
    ("client", "close_session", [1]),
    ("client", "close_session", [1]),
    ("client", "terminate", []),
    ("other worker", "exchange", [1, [], None, 1, 60]),
    ("other worker", "unregister", [1]),
    ("supervisor", "unregister_node", [0]),
]

KEPT = Path(__file__).parent / "kept"


def story(version: int) -> list[Said]:
    """What is said in that version of the interface: every call, with all its shapes."""
    news = [said for since, added in NEWS.items() if since <= version for said in added]
    return [*BEGINNING, *news, *END]


def kept_in(version: int) -> Path:
    """Where the conversation of that version is kept."""
    return KEPT / f"wire-{version}.jsonl"


class Exchange(NamedTuple):
    """A message and its answer."""

    who: str
    what: str
    sent: bytes
    received: bytes


def record(version: int) -> Iterator[Exchange]:
    """Tell the story to a new broker."""
    greeting = {"pyrotask": "0.1.0", "wire": version, "nonce": "00" * 32}
    # Shared memory is named by numbers of this machine.
    with serving("kept", settings=Settings(arena_bytes=0)) as server, ExitStack() as stack:
        clients: dict[str, RawClient] = {}
        for who, method, args in story(version):
            if who not in clients:
                clients[who] = client = stack.enter_context(RawClient(server, "msgpack", silent=True))
                said = msgpack.packb({"handshake": greeting, "object": bulk.OBJECT_ID})
                yield say(client, who, "handshake", client.message(protocol.MSG_CONNECT, said))
            client = clients[who]
            call = msgpack.packb((bulk.OBJECT_ID, method, args, {}))
            yield say(client, who, f"{method}{tuple(args)}", client.message(protocol.MSG_INVOKE, call))


def say(client: RawClient, who: str, what: str, sent: bytes) -> Exchange:
    """Send a message, and wait for its answer."""
    client.sock.sendall(sent)
    answer = protocol.recv_stub(client.connection)
    head = protocol.SendingMessage(answer.type, answer.flags, answer.seq, answer.serializer_id, answer.data)
    return Exchange(who, what, sent, bytes(head.data))


def write(path: Path, conversation: Iterator[Exchange]) -> None:
    """Keep it in a file."""
    lines = [
        json.dumps(
            one._asdict()
            | {
                "sent": b64encode(one.sent).decode(),
                "received": b64encode(one.received).decode(),
            }
        )
        for one in conversation
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(path: Path) -> list[Exchange]:
    """What is kept in a file."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [
        Exchange(one["who"], one["what"], b64decode(one["sent"]), b64decode(one["received"])) for one in lines
    ]


if __name__ == "__main__":
    number = int(sys.argv[1])
    write(kept_in(number), record(number))
