"""Clients of every version of the interface that we say we speak are answered as they were then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import msgpack
import pytest

from pyrotask.remote import bulk, refusals, wire
from pyrotask.remote.addresses import Address
from pyrotask.remote.versions import WIRES
from tests.remote.conversation import Exchange, kept_in, read, say, story
from tests.remote.serving import RawClient, serving

ITS_OWN = frozenset(
    {"lineage", "version", "python", "wire", "oldest_wire", "started_at", "leased_at", "ended_at", "due_at"}
    | {"silent_s", "opened_at", "heard_at"}
)
"""What another broker, at another time, says otherwise; the kinds of it are compared."""


def conversation(version: int) -> list[Exchange]:
    return read(kept_in(version))


VERSIONS = range(WIRES.oldest, WIRES.newest + 1)


def replayed(kept: list[Exchange]) -> Iterator[tuple[Exchange, Exchange]]:
    """Each kept message, and what a broker of today has answered to the very same bytes."""
    with serving("kept") as server, ExitStack() as stack:
        clients: dict[str, RawClient] = {}
        for one in kept:
            if one.who not in clients:
                clients[one.who] = stack.enter_context(RawClient(server, "msgpack", silent=True))
            yield one, say(clients[one.who], one.who, one.what, one.sent)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_kept_conversation_goes_as_it_went(version: int) -> None:
    for then, now in replayed(conversation(version)):
        before, after = wire.parse_header(then.received), wire.parse_header(now.received)
        assert (before.kind, before.flags) == (after.kind, after.flags), then.what
        assert_agrees(value_of(then), value_of(now), then.what)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_broker_of_a_kept_conversation_is_spoken_to(version: int) -> None:
    hello = next(one for one in conversation(version) if one.what == "hello()")
    assert refusals.common_wire(Address("there", 1), value_of(hello)) == version


@pytest.mark.parametrize("version", VERSIONS)
def test_a_kept_conversation_has_every_call_of_its_version(version: int) -> None:
    said = {one.what.partition("(")[0] for one in conversation(version)} - {"handshake"}
    assert said == {method for _, method, _ in story(version)}
    assert said <= set(bulk.CALLS)


def test_the_newest_version_has_every_call_that_there_is() -> None:
    assert {method for _, method, _ in story(WIRES.newest)} == set(bulk.CALLS)


def value_of(one: Exchange) -> Any:
    return msgpack.unpackb(one.received[wire.HEADER_BYTES :])


def assert_agrees(then: Any, now: Any, where: str) -> None:
    """Maps may have more keys than then, and sentences other words; all else is the same."""
    if isinstance(then, dict) and "__exception__" in then:
        assert kind_of_error(then) == kind_of_error(now), where
    elif isinstance(then, dict):
        assert isinstance(now, dict), where
        assert then.keys() <= now.keys(), where
        for key, value in then.items():
            if key in ITS_OWN:
                assert type(value) is type(now[key]), f"{where}[{key!r}]"
            elif key == "methods":
                assert set(value) <= set(now[key]), where
            else:
                assert_agrees(value, now[key], f"{where}[{key!r}]")
    elif isinstance(then, list):
        assert len(then) == len(now), where
        for number, (one, other) in enumerate(zip(then, now, strict=True)):
            assert_agrees(one, other, f"{where}[{number}]")
    elif isinstance(then, str) and " " in then:
        assert isinstance(now, str), where
    else:
        assert then == now, where


def kind_of_error(error: dict[str, Any]) -> tuple[str, str | None]:
    return error["__class__"], error["attributes"].get("remote_type")
