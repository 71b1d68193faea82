"""The unix socket beside the connection file: who uses it, who may, and what is left of it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from Pyro5.api import Proxy

from pyrotask.config import Settings
from pyrotask.errors import ConnectError, KeyRequired, LabelHeld
from pyrotask.remote.bulk_proxy import BulkProxy
from pyrotask.remote.connection_file import ConnectionFile
from pyrotask.remote.discovery import find
from pyrotask.remote.near_socket import NearSocket, is_of_another_user
from pyrotask.remote.proxy import connect
from tests.ports import free_port
from tests.remote.naming import file_of
from tests.remote.serving import LONG_S, in_thread, serving

if not hasattr(socket, "AF_UNIX"):
    pytest.skip("this system has no unix sockets", allow_module_level=True)

NOBODY = 65534


@pytest.fixture
def near() -> Iterator[Settings]:
    """Settings with a runtime directory whose path is short enough for a socket, wherever tests run."""
    folder = Path(tempfile.mkdtemp(prefix="near-", dir="/tmp"))
    yield Settings.load(
        runtime_dir=folder / "run", name_server=f"127.0.0.1:{free_port()}", lookup_timeout_s=LONG_S
    )
    shutil.rmtree(folder)


def family_of(proxy: BulkProxy) -> int:
    """Which kind of connection it has."""
    with socket.socket(fileno=os.dup(proxy.fileno())) as twin:
        return twin.family


def answer_two(listener: socket.socket, answer: bytes) -> None:
    """Say that to whoever looks whether somebody is there, and to whoever comes then; and hang up."""
    listener.settimeout(LONG_S)
    for _ in range(2):
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(answer)
            connection.recv(4096)


def sockets_in(settings: Settings) -> list[Path]:
    return [path for path in settings.runtime_dir.iterdir() if path.is_socket()]


def test_a_program_on_the_same_machine_comes_by_the_unix_socket(near: Settings) -> None:
    with serving("x", settings=near, connection_file=True), BulkProxy("x", near) as proxy:
        assert family_of(proxy) == socket.AF_UNIX
        assert proxy.call("hello")["label"] == "x"


def test_an_address_means_tcp(near: Settings) -> None:
    with (
        serving("x", settings=near, connection_file=True) as server,
        BulkProxy(server.address, near) as proxy,
    ):
        assert family_of(proxy) == socket.AF_INET


def test_a_proxy_that_may_be_copied_to_another_machine_has_an_address_that_means_something_there(
    near: Settings,
) -> None:
    with serving("x", settings=near, connection_file=True) as server, connect("x", near) as proxy:
        assert proxy._pyroUri.port == server.port


def test_a_plain_proxy_may_use_the_unix_socket_too(near: Settings) -> None:
    with serving("x", settings=near, connection_file=True):
        (path,) = sockets_in(near)
        with Proxy(f"PYRO:TaskManager.x@./u:{path}") as proxy:
            assert proxy.addTaskRequest("sqrt", (2.0,)) == "sqrt_0"


def test_a_socket_that_is_gone_means_tcp(near: Settings) -> None:
    with serving("x", settings=near, connection_file=True):
        (path,) = sockets_in(near)
        path.unlink()
        with BulkProxy("x", near) as proxy:
            assert family_of(proxy) == socket.AF_INET


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4], ids=["nothing", "HTTP"])
def test_a_socket_with_another_program_behind_it_means_tcp(
    near: Settings, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "pyrotask")
    with serving("x", settings=near, connection_file=True), socket.socket(socket.AF_UNIX) as stranger:
        (path,) = sockets_in(near)
        path.unlink()
        stranger.bind(str(path))
        stranger.listen()
        end = in_thread(lambda: answer_two(stranger, answer))
        with BulkProxy("x", near) as proxy:
            assert family_of(proxy) == socket.AF_INET
        end()
    assert f"{path} is no way to the broker" in caplog.text


def test_the_socket_of_another_broker_means_tcp(near: Settings) -> None:
    with serving("x", settings=near, connection_file=True):
        (path,) = sockets_in(near)
        with serving("y", settings=near, connection_file=True):
            (other,) = set(sockets_in(near)) - {path}
            other.replace(path)
            with BulkProxy("x", near) as proxy:
                assert family_of(proxy) == socket.AF_INET
                assert proxy.label == "x"


def test_a_busy_broker_is_not_asked_twice(near: Settings) -> None:
    with serving("x", settings=near, connection_file=True), socket.socket(socket.AF_UNIX) as silent:
        (path,) = sockets_in(near)
        path.unlink()
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(ConnectError, match="nobody answers"):
            BulkProxy("x", near, connect=False).connect(0.1)


def test_the_socket_of_another_machine_is_not_tried(near: Settings) -> None:
    file = file_of("x", hostname="another", near=Path("/its.socket"))

    assert file.address.near is None


def test_only_the_user_can_reach_the_socket(near: Settings) -> None:
    with serving("x", settings=near, connection_file=True):
        (path,) = sockets_in(near)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not hasattr(socket, "SO_PEERCRED"),
    reason="only root can be somebody else, and only Linux tells who it was",
)
def test_another_user_is_turned_away_even_if_the_folder_is_open(near: Settings) -> None:
    with (
        serving("x", settings=near, connection_file=True) as server,
        socket.socket(socket.AF_UNIX) as stranger,
    ):
        (path,) = sockets_in(near)
        for place, mode in ((path, 0o666), (path.parent, 0o711), (path.parent.parent, 0o711)):
            place.chmod(mode)
        stranger.settimeout(LONG_S)
        # The whole process is that user for a moment: the broker must not look in that one.
        is_himself = threading.Event()
        assert server._hub is not None
        server._hub.post(is_himself.wait, LONG_S)
        os.seteuid(NOBODY)
        try:
            stranger.connect(str(path))
        finally:
            os.seteuid(0)
            is_himself.set()
        with_nothing = stranger.recv(1)
        path.parent.chmod(0o700)

    assert with_nothing == b""


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not hasattr(socket, "SO_PEERCRED"),
    reason="only root can be somebody else, and only Linux tells who it was",
)
def test_a_user_with_a_large_number_is_known_as_himself() -> None:
    try:
        os.seteuid(3_000_000_000)
    except OSError:
        pytest.skip("this machine has no such users")
    try:
        ends = socket.socketpair(socket.AF_UNIX)
        is_a_stranger = is_of_another_user(ends[0])
    finally:
        os.seteuid(0)
    for end in ends:
        end.close()

    assert not is_a_stranger


def test_the_key_is_asked_for_there_as_well(near: Settings, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    with serving("x", settings=near, connection_file=True, key_file=key_file):
        with BulkProxy("x", near) as proxy:
            assert family_of(proxy) == socket.AF_UNIX
        key_file.rename(tmp_path / "elsewhere")
        with pytest.raises(KeyRequired):
            BulkProxy("x", near)


def test_a_server_that_stops_leaves_no_socket(near: Settings) -> None:
    with serving("x", settings=near, connection_file=True):
        assert sockets_in(near)

    assert not list(near.runtime_dir.iterdir())


def test_a_server_that_does_not_start_leaves_no_socket(near: Settings) -> None:
    with serving("x", settings=near, connection_file=True):
        before = sockets_in(near)
        with pytest.raises(LabelHeld), serving("x", settings=near, connection_file=True):
            pass
        assert sockets_in(near) == before


def test_what_a_killed_broker_has_left_is_removed_by_the_next_one(near: Settings) -> None:
    killed = NearSocket.open(near.runtime_dir)
    assert killed is not None
    killed.listener.close()  # all that the system does for a process that is killed

    with serving("x", settings=near, connection_file=True):
        assert not killed.path.exists()


def test_what_a_broker_has_left_that_was_killed_while_it_started_is_removed_too(near: Settings) -> None:
    killed = NearSocket.open(near.runtime_dir)
    assert killed is not None
    killed.listener.close()
    unnamed = killed.path.rename(killed.path.with_suffix(".new"))

    with serving("x", settings=near, connection_file=True):
        assert unnamed.exists()  # it may be one that starts at this very moment
    os.utime(unnamed, (0, 0))
    with serving("x", settings=near, connection_file=True):
        assert not unnamed.exists()


def test_ctrl_c_while_it_is_opened_leaves_no_socket(near: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(_: Path, __: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            NearSocket.open(near.runtime_dir)

    assert not list(near.runtime_dir.iterdir())


def test_a_broker_that_lives_keeps_its_socket_when_another_one_starts(near: Settings) -> None:
    with serving("x", settings=near, connection_file=True):
        (path,) = sockets_in(near)
        with serving("y", settings=near, connection_file=True):
            assert find("x", near).near == path
            assert len(sockets_in(near)) == 2


def test_a_path_that_is_too_long_for_a_socket_means_tcp(near: Settings) -> None:
    far = dataclasses.replace(near, runtime_dir=near.runtime_dir / ("d" * 100))
    with serving("x", settings=far, connection_file=True), BulkProxy("x", far) as proxy:
        assert ConnectionFile.read(far.runtime_dir, "x").near is None
        assert family_of(proxy) == socket.AF_INET


def test_a_folder_that_is_open_to_others_gets_no_socket(near: Settings) -> None:
    near.runtime_dir.mkdir(mode=0o755)

    with pytest.raises(PermissionError, match="chmod 700"):
        NearSocket.open(near.runtime_dir)
    assert not list(near.runtime_dir.iterdir())
