"""Files and directories of one's own: nobody else reads or replaces them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyrotask.remote.private_files import check_private_directory, private_directory, write_private
from tests.remote.ownership import mode_of, names_in, only_root


def test_a_missing_directory_is_made_private(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        made = private_directory(tmp_path / "a" / "b")
    finally:
        os.umask(umask)

    assert (mode_of(made), mode_of(made.parent)) == (0o700, 0o700)


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o722])
def test_a_directory_open_to_others_is_refused_with_the_command_that_repairs_it(
    mode: int, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(mode)

    with pytest.raises(PermissionError, match=f"chmod 700 {tmp_path / 'run'}"):
        private_directory(tmp_path / "run")


@only_root
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(0o700)
    os.chown(tmp_path / "run", 12345, -1)

    with pytest.raises(PermissionError, match="belongs to user 12345"):
        private_directory(tmp_path / "run")


def test_a_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(0o700)
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(PermissionError, match="is no directory"):
        check_private_directory(tmp_path / "run")


def test_a_directory_that_others_could_replace_is_refused(tmp_path: Path) -> None:
    private_directory(tmp_path / "open" / "run")
    (tmp_path / "open").chmod(0o777)

    with pytest.raises(PermissionError, match=f"chmod go-w {tmp_path / 'open'}"):
        check_private_directory(tmp_path / "open" / "run")


def test_a_directory_in_a_sticky_place_like_tmp_is_fine(tmp_path: Path) -> None:
    private_directory(tmp_path / "open" / "run")
    (tmp_path / "open").chmod(0o1777)

    check_private_directory(tmp_path / "open" / "run")


def test_a_private_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_private(tmp_path / "file", b"old")
    write_private(tmp_path / "file", b"new")

    assert (tmp_path / "file").read_bytes() == b"new"
    assert mode_of(tmp_path / "file") == 0o600
    assert names_in(tmp_path) == ["file"]


def test_a_private_file_that_cannot_be_put_in_place_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "file" / "in the way").mkdir(parents=True)

    with pytest.raises(OSError, match="file"):
        write_private(tmp_path / "file", b"new")
    assert names_in(tmp_path) == ["file"]
