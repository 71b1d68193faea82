from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import Pyro5.api
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from Pyro5.core import URI
from Pyro5.nameserver import start_ns

from pyrotask.config import Settings
from pyrotask.errors import BrokerNotFound, LabelHeld, NameServerNotFound
from pyrotask.remote.discovery import (
    Address,
    ConnectionFile,
    _name_server,
    answers,
    file_stem,
    find,
    list_names,
    locate_name_server,
    lookup_name,
    object_name,
    parse_address,
    quote_label,
    register_name,
    unquote_label,
    unregister_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD_SCRIPT_LABEL = "msd_Sun_Nov_22_10:10:09_2026"
SHORT_S = 0.3
"""What a silent peer may cost here: no test waits for something to arrive in that time."""

labels = st.text(st.characters(codec=None), min_size=1)
nasty_labels = [
    "a b",
    "me@host",
    "100%",
    "%40",
    "a/b",
    "..",
    ".",
    ".hidden",
    "µ-ß",
    "\ud800",
    "a\nb",
    "CON:1",
    "x" * 999,
]


# ---------------------------------------------------------------- real peers


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@contextlib.contextmanager
def serving(daemon: Any) -> Iterator[Any]:
    """Let a real Pyro daemon serve in a thread."""
    thread = threading.Thread(target=daemon.requestLoop)
    thread.start()
    try:
        yield daemon
    finally:
        daemon.shutdown()
        thread.join()
        daemon.close()


@Pyro5.api.expose
class Manager:
    """What a broker registers: for these tests, that it is there is enough."""


@contextlib.contextmanager
def pyro_broker(label: str, daemon_class: type = Pyro5.api.Daemon) -> Iterator[str]:
    """Run a Pyro server that has the label's object; lend its URI."""
    with serving(daemon_class(host="127.0.0.1")) as daemon:
        yield str(daemon.register(Manager, object_name(label)))


class KeyedDaemon(Pyro5.api.Daemon):  # type: ignore[misc]
    """A broker that lets in nobody."""

    def validateHandshake(self, conn: object, data: object) -> object:
        raise PermissionError("a key is asked for")


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Listen, and never answer: the kernel takes the connections, as it does for a stopped process."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@contextlib.contextmanager
def name_server_process() -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run ``pyro5-ns`` in a process of its own, which a test can stop or kill."""
    command = [sys.executable, "-u", "-m", "Pyro5.nameserver", "-n", "127.0.0.1", "-p", "0", "-x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = next(line for line in process.stdout if line.startswith("URI"))
            yield int(address.rpartition(":")[2]), process
        finally:
            process.kill()


@pytest.fixture
def nowhere() -> Settings:
    """Settings with no name server."""
    return Settings.load(name_server=f"127.0.0.1:{free_port()}", lookup_timeout_s=SHORT_S)


@pytest.fixture
def with_ns() -> Iterator[Settings]:
    """Settings with a name server that runs. Its timeout is long: nobody here is silent."""
    _, daemon, _ = start_ns(host="127.0.0.1", port=0, enableBroadcast=False)
    with serving(daemon):
        yield Settings.load(name_server=daemon.locationStr, lookup_timeout_s=30)


def file_of(label: str, **changes: Any) -> ConnectionFile:
    plain = ConnectionFile(
        label=label, host="127.0.0.1", port=5000, pid=os.getpid(), hostname=socket.gethostname(),
        lineage="0123abcd", started_at=1.5, version="1.0", key_file=None,
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


# ---------------------------------------------------------------- labels


@given(labels)
@example(OLD_SCRIPT_LABEL)
def test_a_label_comes_back_from_its_quoted_form(label: str) -> None:
    assert unquote_label(quote_label(label)) == label
    assert unquote_label(object_name(label).removeprefix("TaskManager.")) == label


@pytest.mark.parametrize("label", [*nasty_labels, OLD_SCRIPT_LABEL])
def test_pyro_takes_the_object_name_of_every_label(label: str) -> None:
    uri = URI(f"PYRO:{object_name(label)}@127.0.0.1:5000")

    assert (uri.object, uri.location) == (object_name(label), "127.0.0.1:5000")


def test_a_label_without_blanks_and_at_signs_is_in_the_name_server_as_it_is_written() -> None:
    assert object_name(OLD_SCRIPT_LABEL) == f"TaskManager.{OLD_SCRIPT_LABEL}"


@given(labels)
@example("..")
@example(".")
@example(OLD_SCRIPT_LABEL)
def test_a_quoted_label_is_one_plain_file_name(label: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_~%-][A-Za-z0-9_.~%-]*", quote_label(label))


@given(labels)
@example("x" * 5000)
@example("ß" * 5000)
def test_a_file_name_is_never_too_long(label: str) -> None:
    assert len(ConnectionFile.path(Path(), label).name) <= 255


def test_long_labels_that_begin_alike_have_files_of_their_own() -> None:
    assert file_stem("x" * 1000) != file_stem("x" * 1001)


def test_a_label_that_looks_like_a_shortened_one_has_a_file_of_its_own() -> None:
    assert file_stem(file_stem("x" * 1000)) != file_stem("x" * 1000)


@pytest.mark.parametrize(("label", "error"), [("", ValueError), (None, TypeError), (3, TypeError)])
def test_what_is_no_label_is_refused(label: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="label"):
        quote_label(label)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost:9090", "localhost", 9090),
        ("10.0.0.1:1", "10.0.0.1", 1),
        ("[::1]:5000", "::1", 5000),
        ("./u:/run/user/1/broker", "./u:/run/user/1/broker", 0),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, host: str, port: int) -> None:
    address = parse_address(text)

    assert (address.host, address.port, address.location) == (host, port, text)


@pytest.mark.parametrize(
    "text", ["", "localhost", "localhost:", ":1", "a:99999", "./u:", OLD_SCRIPT_LABEL, "10:10:09"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host"):
        parse_address(text)


def test_a_unix_socket_answers_while_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a unix socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("broker")
        server.listen()
        assert answers(Address("./u:broker", 0), SHORT_S)

    assert not answers(Address("./u:broker", 0), SHORT_S)


# ---------------------------------------------------------------- the connection file


@given(
    label=labels,
    port=st.integers(0, 65535),
    started_at=st.floats(0, 1e12),
    key=st.sampled_from([None, Path("/k")]),
)
def test_a_connection_file_is_read_as_it_was_written(
    label: str, port: int, started_at: float, key: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.getbasetemp() / "written"
    file = file_of(label, port=port, started_at=started_at, key_file=key)
    file.write(directory)

    assert ConnectionFile.read(directory, label) == file


def test_only_the_user_can_read_a_connection_file(tmp_path: Path) -> None:
    path = file_of("x").write(tmp_path / "run")

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_can_write_in_is_not_believed(tmp_path: Path) -> None:
    file_of("x").write(tmp_path / "run")
    (tmp_path / "run").chmod(0o777)

    with pytest.raises(PermissionError, match="chmod 700"):
        ConnectionFile.read(tmp_path / "run", "x")
    with pytest.raises(PermissionError, match="chmod 700"):
        ConnectionFile.list_all(tmp_path / "run")


def test_a_broker_removes_its_connection_file_once(tmp_path: Path) -> None:
    file = file_of("x")
    path = file.write(tmp_path / "run")

    assert file.remove(tmp_path / "run") is True
    assert not path.exists()
    assert file.remove(tmp_path / "run") is False


@pytest.mark.parametrize("successor", [{"pid": 1}, {"lineage": "another"}, {"hostname": "another"}], ids=str)
def test_a_broker_leaves_its_successors_connection_file(successor: dict[str, Any], tmp_path: Path) -> None:
    file_of("x", **successor).write(tmp_path / "run")

    assert file_of("x").remove(tmp_path / "run") is False
    assert ConnectionFile.read(tmp_path / "run", "x") == file_of("x", **successor)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"label": "x"}',
        b"\xff",
        json.dumps(dataclasses.asdict(file_of("x", port="5000"))).encode(),
        json.dumps(dataclasses.asdict(file_of("x", port=99999))).encode(),
    ],
)
def test_a_damaged_file_is_named_with_the_command_that_removes_it(content: bytes, tmp_path: Path) -> None:
    path = file_of("x").write(tmp_path / "run")
    path.write_bytes(content)

    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is damaged .*`rm "):
        ConnectionFile.read(tmp_path / "run", "x")


def test_a_newer_version_may_write_more(tmp_path: Path) -> None:
    path = file_of("x").write(tmp_path / "run")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tls": True}))

    assert ConnectionFile.read(tmp_path / "run", "x") == file_of("x")


def test_all_connection_files_are_listed_by_label(tmp_path: Path) -> None:
    for label in ("b", "a b", OLD_SCRIPT_LABEL, "x" * 1000):
        file_of(label).write(tmp_path / "run")

    listed = [file.label for file in ConnectionFile.list_all(tmp_path / "run")]
    assert listed == ["a b", "b", OLD_SCRIPT_LABEL, "x" * 1000]


def test_a_damaged_file_is_not_listed_but_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file_of("good").write(tmp_path / "run")
    bad = file_of("bad").write(tmp_path / "run")
    bad.write_bytes(b"{")

    with caplog.at_level(logging.WARNING):
        assert ConnectionFile.list_all(tmp_path / "run") == [file_of("good")]
    assert str(bad) in caplog.text


def test_before_the_first_broker_nothing_is_listed_and_nothing_made(tmp_path: Path) -> None:
    assert ConnectionFile.list_all(tmp_path / "run") == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("wildcard", ["", "0.0.0.0", "::"])
def test_a_broker_on_all_addresses_is_reached_by_loopback_or_by_its_machines_name(wildcard: str) -> None:
    assert file_of("x", host=wildcard).address.location == "127.0.0.1:5000"
    assert file_of("x", host=wildcard, hostname="node7").address.location == "node7:5000"


# ---------------------------------------------------------------- finding a broker


def test_an_address_is_found_whether_somebody_is_there_or_not(nowhere: Settings) -> None:
    port = free_port()

    assert find(f"127.0.0.1:{port}", nowhere) == Address("127.0.0.1", port, None, "address", None)


def test_an_address_needs_no_name_server(nowhere: Settings) -> None:
    with silent_server() as dead:
        settings = dataclasses.replace(nowhere, name_server=f"127.0.0.1:{dead}", lookup_timeout_s=1000)
        assert find("node7:9000", settings).location == "node7:9000"


def test_an_address_comes_with_the_users_key_if_he_has_one(nowhere: Settings) -> None:
    nowhere.key_file.parent.mkdir(parents=True)
    nowhere.key_file.touch()

    assert find("node7:9000", nowhere).key_file == nowhere.key_file


@pytest.mark.parametrize("label", ["x", OLD_SCRIPT_LABEL, "run:12"])
def test_a_label_is_found_by_its_connection_file(label: str, nowhere: Settings) -> None:
    with silent_server() as port:
        path = file_of(label, port=port, key_file=Path("/its.key")).write(nowhere.runtime_dir)

        assert find(label, nowhere) == Address(
            "127.0.0.1", port, label, f"connection file {path}", Path("/its.key")
        )


def test_an_address_that_was_a_label_once_is_an_address_again(nowhere: Settings) -> None:
    file_of("node7:9000", port=free_port()).write(nowhere.runtime_dir)

    assert find("node7:9000", nowhere).source == "address"


def test_a_label_is_found_in_the_name_server(with_ns: Settings) -> None:
    with pyro_broker("a b") as uri:
        register_name("a b", uri, with_ns)

        found = find("a b", with_ns)
        assert (found.location, found.label) == (URI(uri).location, "a b")
        assert found.source == f"name server {with_ns.name_server}"


def test_a_stale_connection_file_does_not_hide_the_name_server(with_ns: Settings) -> None:
    file_of("x", port=free_port()).write(with_ns.runtime_dir)
    with pyro_broker("x") as uri:
        register_name("x", uri, with_ns)

        assert find("x", with_ns).location == URI(uri).location


def test_a_damaged_connection_file_does_not_hide_the_name_server(with_ns: Settings) -> None:
    file_of("x").write(with_ns.runtime_dir).write_bytes(b"")
    with pyro_broker("x") as uri:
        register_name("x", uri, with_ns)

        assert find("x", with_ns).location == URI(uri).location


def test_a_label_that_is_nowhere_says_where_it_was_looked_for_and_what_to_type(nowhere: Settings) -> None:
    with pytest.raises(BrokerNotFound) as missing:
        find("my run", nowhere)

    message = str(missing.value)
    assert str(ConnectionFile.path(nowhere.runtime_dir, "my run")) in message
    assert f"no Pyro name server answers at {nowhere.name_server}" in message
    assert "`pyrotask serve 'my run'`" in message
    assert "`pyrotask list`" in message


def test_a_stale_file_and_a_stale_name_are_told(with_ns: Settings) -> None:
    port = free_port()
    file_of("x", port=port, pid=4711).write(with_ns.runtime_dir)
    register_name("x", f"PYRO:TaskManager.x@127.0.0.1:{port}", with_ns)

    with pytest.raises(
        BrokerNotFound, match=rf"nobody answers at 127.0.0.1:{port}, where process 4711"
    ) as missing:
        find("x", with_ns)
    assert f"nobody answers at 127.0.0.1:{port}, which it names" in str(missing.value)


def test_a_name_server_that_does_not_know_the_label_is_told(with_ns: Settings) -> None:
    with pytest.raises(BrokerNotFound, match="it does not know TaskManager.x"):
        find("x", with_ns)


# ---------------------------------------------------------------- the name server


def test_a_missing_name_server_says_how_to_start_one(nowhere: Settings) -> None:
    with pytest.raises(NameServerNotFound, match="`pyro5-ns`.*--name-server"):
        locate_name_server(nowhere)


def test_a_silent_name_server_is_given_up(nowhere: Settings) -> None:
    with silent_server() as port:
        settings = dataclasses.replace(nowhere, name_server=f"127.0.0.1:{port}")
        with pytest.raises(NameServerNotFound, match="`pyro5-ns`"):
            locate_name_server(settings)


def test_a_pyro_server_that_is_no_name_server_is_told_from_one(nowhere: Settings) -> None:
    with pyro_broker("x") as uri:
        settings = dataclasses.replace(nowhere, name_server=URI(uri).location)
        with pytest.raises(NameServerNotFound, match="unknown object"):
            locate_name_server(settings)


def test_without_a_setting_the_name_server_is_where_pyro_looks(
    with_ns: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert with_ns.name_server is not None
    host, _, port = with_ns.name_server.rpartition(":")
    monkeypatch.setattr(Pyro5.config, "NS_HOST", host)
    monkeypatch.setattr(Pyro5.config, "NS_PORT", int(port))

    with locate_name_server(dataclasses.replace(with_ns, name_server=None)) as names:
        assert names.count() == 1


def test_a_registered_label_can_be_looked_up_by_us_and_by_plain_pyro(with_ns: Settings) -> None:
    uri = f"PYRO:{object_name(OLD_SCRIPT_LABEL)}@127.0.0.1:5000"
    register_name(OLD_SCRIPT_LABEL, URI(uri), with_ns)

    assert lookup_name(OLD_SCRIPT_LABEL, with_ns) == uri
    assert str(Pyro5.core.resolve(f"PYRONAME:TaskManager.{OLD_SCRIPT_LABEL}@{with_ns.name_server}")) == uri


def test_all_labels_of_the_name_server_are_listed(with_ns: Settings) -> None:
    for label in nasty_labels:
        register_name(label, f"PYRO:{object_name(label)}@127.0.0.1:5000", with_ns)

    assert set(list_names(with_ns)) == set(nasty_labels)


def test_registering_again_changes_nothing(with_ns: Settings) -> None:
    with pyro_broker("x") as uri:
        register_name("x", uri, with_ns)
        register_name("x", uri, with_ns)

        assert lookup_name("x", with_ns) == uri


def test_a_name_where_nobody_answers_is_replaced(with_ns: Settings) -> None:
    register_name("x", f"PYRO:TaskManager.x@127.0.0.1:{free_port()}", with_ns)
    new = "PYRO:TaskManager.x@127.0.0.1:5000"
    register_name("x", new, with_ns)

    assert lookup_name("x", with_ns) == new


def test_a_name_whose_port_another_pyro_server_has_got_is_replaced(with_ns: Settings) -> None:
    with pyro_broker("another") as other:
        register_name("x", f"PYRO:TaskManager.x@{URI(other).location}", with_ns)
        new = "PYRO:TaskManager.x@127.0.0.1:5000"
        register_name("x", new, with_ns)

    assert lookup_name("x", with_ns) == new


def test_a_name_whose_port_another_program_has_got_is_replaced(with_ns: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet_two() -> None:  # the look whether somebody is there, and Pyro's handshake
            for _ in range(2):
                with contextlib.suppress(OSError), server.accept()[0] as peer:
                    peer.sendall(b"220 mail.example ESMTP: what speaks first is no Pyro server\r\n")
                    peer.recv(4096)

        thread = threading.Thread(target=greet_two)
        thread.start()
        register_name("x", f"PYRO:TaskManager.x@127.0.0.1:{server.getsockname()[1]}", with_ns)
        new = "PYRO:TaskManager.x@127.0.0.1:5000"
        register_name("x", new, with_ns)
        thread.join()

    assert lookup_name("x", with_ns) == new


def test_a_live_brokers_label_is_held_and_the_error_says_by_whom(with_ns: Settings) -> None:
    with pyro_broker("x") as uri:
        register_name("x", uri, with_ns)

        with pytest.raises(LabelHeld, match="Use another label") as held:
            register_name("x", "PYRO:TaskManager.x@127.0.0.1:5000", with_ns)
        assert f"at {URI(uri).location}" in str(held.value)
        assert lookup_name("x", with_ns) == uri


def test_a_broker_that_asks_for_a_key_holds_its_label(with_ns: Settings) -> None:
    with pyro_broker("x", KeyedDaemon) as uri:
        register_name("x", uri, with_ns)

        with pytest.raises(LabelHeld):
            register_name("x", "PYRO:TaskManager.x@127.0.0.1:5000", with_ns)


def test_a_broker_that_is_stopped_for_a_while_holds_its_label(with_ns: Settings) -> None:
    hurried = dataclasses.replace(
        with_ns, lookup_timeout_s=2
    )  # ample for the name server, which is not silent
    with silent_server() as port:
        register_name("x", f"PYRO:TaskManager.x@127.0.0.1:{port}", with_ns)

        with pytest.raises(LabelHeld):
            register_name("x", "PYRO:TaskManager.x@127.0.0.1:5000", hurried)


def test_a_broker_takes_its_name_back_once(with_ns: Settings) -> None:
    uri = "PYRO:TaskManager.x@127.0.0.1:5000"
    register_name("x", uri, with_ns)

    assert unregister_name("x", uri, with_ns) is True
    assert lookup_name("x", with_ns) is None
    assert unregister_name("x", uri, with_ns) is False


def test_a_broker_leaves_its_successors_name(with_ns: Settings) -> None:
    register_name("x", "PYRO:TaskManager.x@127.0.0.1:5001", with_ns)

    assert unregister_name("x", "PYRO:TaskManager.x@127.0.0.1:5000", with_ns) is False
    assert lookup_name("x", with_ns) == "PYRO:TaskManager.x@127.0.0.1:5001"


def test_unregistering_from_a_name_server_that_is_gone_warns_and_goes_on(
    nowhere: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert unregister_name("x", "PYRO:TaskManager.x@127.0.0.1:5000", nowhere) is False
    assert "TaskManager.x stays in the name server" in caplog.text


def test_a_killed_name_server_is_reported_and_its_return_is_enough() -> None:
    uri = "PYRO:TaskManager.x@127.0.0.1:5000"
    with name_server_process() as (port, process):
        settings = Settings.load(name_server=f"127.0.0.1:{port}", lookup_timeout_s=30)
        register_name("x", uri, settings)
        process.kill()
        process.wait()

        with pytest.raises(NameServerNotFound):
            list_names(settings)
    with name_server_process() as (port, _):
        again = Settings.load(name_server=f"127.0.0.1:{port}", lookup_timeout_s=30)
        register_name("x", uri, again)
        assert list_names(again) == {"x": uri}


def test_every_call_of_the_name_server_is_bounded(with_ns: Settings) -> None:
    with locate_name_server(with_ns) as names:
        assert names._pyroTimeout == with_ns.lookup_timeout_s


def test_a_name_server_that_stops_between_two_calls_costs_one_timeout_not_a_hang() -> None:
    with name_server_process() as (port, process):
        settings = Settings.load(name_server=f"127.0.0.1:{port}", lookup_timeout_s=2)

        def count_while_it_stops() -> None:
            with _name_server(settings) as names:
                process.send_signal(signal.SIGSTOP)
                names.count()

        with pytest.raises(NameServerNotFound, match="stopped answering"):
            count_while_it_stops()
