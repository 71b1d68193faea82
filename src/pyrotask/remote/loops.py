"""Which event loop serves: uvloop where it is installed, since it costs a little less; else asyncio's own.

What is served, and every promise, is the same with both. What uvloop does differently:

- It sends when the callback at hand is over, and not at once: see `Connection._write`.
- Its transports close their descriptor at once, and the socket that they show does not know: so
  nobody looks at the socket of a transport that is closing.
"""

from __future__ import annotations

import asyncio
import importlib
import logging

log = logging.getLogger(__name__)


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """Make an event loop: ``"auto"``: the fastest there is; ``"asyncio"``: Python's own."""
    loop = _new_uvloop() if kind == "auto" else None
    if loop is None:
        loop = asyncio.new_event_loop()
    log.debug("the event loop is one of %s", type(loop).__module__)
    return loop


def sends_at_once(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether what is written to its transports is sent in that moment, if the system takes it."""
    return not type(loop).__module__.startswith("uvloop")


def accepted_at_once(loop: asyncio.AbstractEventLoop, most: int) -> int:
    """What to tell a loop as the backlog of a server.

    asyncio's own accepts that many connections in one turn. When there is no descriptor left, it tries that
    often too: each time it logs an error, and sets a timer to try again, so that there are ever more.
    """
    return 1 if isinstance(loop, asyncio.SelectorEventLoop) else most


def _new_uvloop() -> asyncio.AbstractEventLoop | None:
    try:
        loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    except Exception as error:  # noqa: BLE001 - there is none, or it is no good here: asyncio's is
        log.debug("no uvloop: %s", error)
        return None
    return loop
