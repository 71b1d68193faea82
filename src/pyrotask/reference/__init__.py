"""The calls of the reference API, each as a value: what to do, and what to return.

A call checks its arguments, encodes what it carries, and becomes a `Request`: the command for
the machine, and the function that makes the return value of its reply. Nothing is done yet.
So one description serves all who do it: a thread in the manager's own process or in a stock
daemon, which may be blocked (`taskmanager`), and the event loop, which may not (`remote`).

Each call raises `TypeError` or `ValueError` (`PayloadError` among them) for an argument that is no
good. The calls stand in `calls`, what their arguments may be in `arguments`.
"""

from __future__ import annotations

from pyrotask.reference.calls import CALLS, signature
from pyrotask.reference.origin import IN_PROCESS, Origin, Request
from pyrotask.reference.values import exception_of, result_of, task_id, task_number

__all__ = [
    "CALLS",
    "IN_PROCESS",
    "Origin",
    "Request",
    "exception_of",
    "result_of",
    "signature",
    "task_id",
    "task_number",
]
