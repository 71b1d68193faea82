"""Which segments this process has open. Others' threads, of earlier tests too, may close theirs meanwhile."""

from __future__ import annotations

from pathlib import Path

from pyrotask.arena.memfd import NAME

Opened = frozenset[tuple[str, int]]
"""Descriptors, each with the number of the file that it is open for."""


def segments_open() -> Opened:
    """Those that are open now: of brokers and sessions in this process."""
    descriptors = Path("/proc/self/fd").iterdir()
    return frozenset((each.name, file) for each in descriptors if (file := _segment(each)))


def opened_since(before: Opened) -> Opened:
    """Those that were opened after that, and still are open."""
    return segments_open() - before


def _segment(descriptor: Path) -> int:
    """The number of its file; 0: it is no segment, or was closed just now."""
    try:
        return descriptor.stat().st_ino if NAME in str(descriptor.readlink()) else 0
    except OSError:
        return 0
