"""pyrotask: a task broker for people who compute, on Pyro5.

TaskManager     the reference API, in this process or as a Pyro object
Server          serves a TaskManager under a label
connect         a proxy for the TaskManager of a label or address
Executor        a `concurrent.futures.Executor`, on this machine or on many
AsyncClient     the same in an event loop
as_completed    futures as they are done, with a progress bar if wanted
Session         submits tasks to a broker and gets futures, over any trouble in between
handler         marks a function as the handler of a tag, for workers
Settings        bounds and periods
errors          what can go wrong
masterslave     the master and slave classes of ScientificPython's second module
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pyrotask.errors import PyrotaskError, TaskManagerTermination, TaskRaisedException

if TYPE_CHECKING:
    from pyrotask.client.aio import AsyncClient
    from pyrotask.client.executor import Executor
    from pyrotask.client.progress import as_completed
    from pyrotask.client.session import Session
    from pyrotask.config import Settings
    from pyrotask.remote.proxy import connect
    from pyrotask.remote.server import Server
    from pyrotask.taskmanager import TaskManager
    from pyrotask.worker.handlers import handler

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Executor",
    "PyrotaskError",
    "Server",
    "Session",
    "Settings",
    "TaskManager",
    "TaskManagerTermination",
    "TaskRaisedException",
    "__version__",
    "as_completed",
    "connect",
    "handler",
]

# Loaded at first use: a worker's module that imports `handler` does not need the server.
_HOMES = {
    "AsyncClient": "pyrotask.client.aio",
    "Executor": "pyrotask.client.executor",
    "Server": "pyrotask.remote.server",
    "Session": "pyrotask.client.session",
    "Settings": "pyrotask.config",
    "TaskManager": "pyrotask.taskmanager",
    "as_completed": "pyrotask.client.progress",
    "connect": "pyrotask.remote.proxy",
    "handler": "pyrotask.worker.handlers",
}


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)
