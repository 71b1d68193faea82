"""What tasks do in a simulated world: it stands in their payloads."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from pyrotask.core.model import PLAIN, Payload
from pyrotask.payload import decode_plain, encode_plain
from tests.simulation.loop import Loop


class Work(NamedTuple):
    """One piece of work."""

    name: str
    """No other one has it; the value of the task is this name."""
    deed: str
    """``"value"``; ``"raise"`` (always), ``"flaky"`` (sometimes), ``"poison"``: it kills its worker."""
    seconds: float

    @property
    def to_wire(self) -> list[Any]:
        """As a payload in a bulk call."""
        return packed(tuple(self))


@lru_cache(maxsize=4096)
def packed(value: Any) -> list[Any]:
    """A plain value as a payload in a bulk call."""
    payload = encode_plain(value)
    return [payload.format, list(payload.buffers)]


def unpacked(wire: list[Any]) -> Any:
    """The value of a payload."""
    return _value(wire[1][0])


@lru_cache(maxsize=4096)
def _value(buffer: bytes) -> Any:
    return decode_plain(Payload(PLAIN, (buffer,)))


def some_work(loop: Loop, name: str) -> Work:
    """Any kind of work."""
    roll = loop.random.random()
    if roll < 0.05:
        return Work(name, "poison", 0.05)
    deed = "raise" if roll < 0.12 else "flaky" if roll < 0.3 else "value"
    return Work(name, deed, loop.random.choice((0.001, 0.02, 0.3, 1.5)))


def some_options(loop: Loop, work: Work) -> dict[str, Any]:
    """What a submit says about it."""
    options: dict[str, Any] = {}
    random = loop.random
    if random.random() < 0.3:
        options["priority"] = random.randint(-1, 1)
    if random.random() < 0.1:
        options["delay_s"] = random.choice((0.05, 1.0))
    if work.deed in ("flaky", "raise") and random.random() < 0.7:
        options |= {"retries": random.randint(1, 2), "retry_delay_s": 0.1}
    if work.deed == "value" and random.random() < 0.1:
        options |= {"time_limit_s": 0.2, "retries": 1, "retry_delay_s": 0.05}
    return options
