"""What a user gets: a wheel with everything in it, and commands that start."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import pyrotask

ROOT = Path(__file__).parents[1]


def output_of(*command: str | Path, folder: Path | None = None) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that `pip install .` makes and installs."""
    folder = tmp_path_factory.mktemp("wheel")
    output_of(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=ROOT)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_version_is_the_packages() -> None:
    assert metadata.version("pyrotask") == pyrotask.__version__


@pytest.mark.parametrize("name", ["pyrotask", "task_manager"])
def test_a_console_script_is_installed_and_starts(name: str) -> None:
    script = Path(sysconfig.get_path("scripts")) / name

    assert f"usage: {name}" in output_of(script, "--help")


def test_python_m_pyrotask_is_the_command() -> None:
    assert pyrotask.__version__ in output_of(sys.executable, "-m", "pyrotask", "--version")


def test_type_checkers_believe_the_installed_package() -> None:
    assert Path(pyrotask.__file__).with_name("py.typed").is_file()


def test_the_wheel_has_every_module_and_the_mark_for_type_checkers(wheel: zipfile.ZipFile) -> None:
    source = ROOT / "src"
    wanted = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}

    assert wanted | {"pyrotask/py.typed"} <= set(wheel.namelist())


def test_the_wheel_has_nothing_but_the_package(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}

    assert tops == {"pyrotask", f"pyrotask-{pyrotask.__version__}.dist-info"}
