"""The values that the core knows."""

from __future__ import annotations

from pyrotask.core.model import FINISHED, UNFINISHED, Payload, State


def test_a_payload_is_as_large_as_its_buffers_together() -> None:
    assert Payload("plain", (b"abc", b"de")).nbytes == 5


def test_every_state_is_either_finished_or_not() -> None:
    assert set(State) == FINISHED | UNFINISHED
    assert not FINISHED & UNFINISHED


def test_a_state_is_found_by_its_value() -> None:
    assert [State(state.value) for state in State] == list(State)
