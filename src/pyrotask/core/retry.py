"""When a task that raised, or ran too long, runs again."""

from __future__ import annotations

from pyrotask.core.model import Nanoseconds, RetryPolicy, TaskNumber


def retry_at(
    policy: RetryPolicy,
    now: Nanoseconds,
    task: TaskNumber,
    retries: int,
    type_names: tuple[str, ...] | None,
) -> Nanoseconds | None:
    """The instant of the next try after ``retries`` of them, or None: the task has failed.

    ``type_names`` are those of the exception and its bases; None: it was the time limit,
    which a policy for certain types does not cover.
    """
    if retries >= policy.retries:
        return None
    if policy.only and not set(policy.only).intersection(type_names or ()):
        return None
    spread = 1.0 + policy.jitter * (2.0 * _fraction(task, retries) - 1.0)
    return now + max(0, int(_delay(policy, retries) * spread))


def _delay(policy: RetryPolicy, retries: int) -> float:
    try:
        delay = policy.delay_ns * policy.factor**retries
    except OverflowError:
        delay = float("inf") if policy.delay_ns else 0.0
    return min(delay, float(policy.max_delay_ns))


def _fraction(task: int, retries: int) -> float:
    """A number in [0, 1) that looks random, and is the same each time it is asked for."""
    mixed = (task * 0x9E3779B97F4A7C15 + (retries + 1) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed ^= mixed >> 31
    mixed = (mixed * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (mixed >> 11) / float(1 << 53)
