"""Stands for the module of a user."""

from __future__ import annotations

from pyrotask import handler

FACTOR = 2


@handler
def scaled(value: int) -> int:
    return FACTOR * value
