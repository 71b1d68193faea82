"""A file without a name: it is handed on as a descriptor, and nothing of it can be left behind."""

from __future__ import annotations

import os
import tempfile


def nameless_file(what: str) -> int:
    """An open, empty file, in memory where the system has such; ``what`` is for people who look."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(f"pyrotask-{what}")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
