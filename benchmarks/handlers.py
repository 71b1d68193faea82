"""The same tasks as handlers of a pyrotask worker: ``pyrotask worker LABEL --module benchmarks.handlers``."""

from __future__ import annotations

from typing import Any

from benchmarks import tasks
from pyrotask import handler, payload
from pyrotask.core.model import Payload
from pyrotask.remote.bulk_proxy import BulkProxy

do_noop = tasks.noop
do_logged = tasks.logged
do_bump = tasks.bump
do_probe = tasks.probe

_kept: dict[str, Any] = {}


@handler("probe stored")
def probe_stored(number: int, broker: str, name: str) -> tuple[int, int, float]:
    """The same as `probe` over an array that is stored at the broker; fetched once, and kept."""
    if name not in _kept:
        with BulkProxy(broker) as proxy:
            kind, buffers = proxy.call("retrieve_data", name)
        _kept[name] = payload.decode(Payload(kind, tuple(buffers)))
    return tasks.probe(number, _kept[name])
