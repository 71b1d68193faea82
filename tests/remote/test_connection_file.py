"""The connection file: who may read it, who removes it, and what a damaged one says."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrotask.remote.connection_file import ConnectionFile
from tests.remote.naming import LABELS, OLD_SCRIPT_LABEL, file_of


@given(
    label=LABELS,
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
