"""What operating systems do differently with sockets."""

from __future__ import annotations

import pytest

from pyrotask.remote.os_sockets import allow_many_sockets

resource = pytest.importorskip("resource", reason="the system has no such limit")


def test_a_broker_may_open_as_many_sockets_as_the_system_allows() -> None:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, most))
        allow_many_sockets()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 512
        allow_many_sockets()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] == most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
