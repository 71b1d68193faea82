"""The other systems' environments: a virtual environment for each file of pinned versions.

They are made once, by ``python -m benchmarks.peers --install``, in a folder of the user's cache
(or BENCHMARKS_HOME), and can be removed at any time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "peers" / "requirements"
HOME_VARIABLE = "BENCHMARKS_HOME"
DONE = "complete"
"""A file in an environment: the requirements that it was made for."""

DEBIAN_PACKAGES = ("beanstalkd",)

Say = Callable[[str], object]


class InstallError(Exception):
    """An environment could not be made; the text says why."""


def home() -> Path:
    """Where the environments are. It need not be there."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pyrotask-benchmarks"


def names() -> list[str]:
    return sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))


def python_of(environment: str | None) -> Path:
    """The interpreter of an environment, be it made or not; None: the one that runs now."""
    if environment is None:
        return Path(sys.executable)
    return _folder(environment) / "bin" / "python"


def missing(environment: str | None) -> str | None:
    """Why this environment cannot be used; None: it can."""
    if environment is None:
        return None
    mark = _folder(environment) / DONE
    if not mark.is_file():
        return f"environment {environment!r} is not made: `python -m benchmarks.peers --install`"
    if mark.read_text() != _wanted(environment):
        return f"environment {environment!r} has other versions: `python -m benchmarks.peers --install`"
    return None


def make(environment: str, say: Say) -> None:
    """Make it, if it is not there already.

    Raises:
        InstallError: pip says no.
    """
    if missing(environment) is None:
        say(f"{environment}: is there")
        return
    say(f"{environment}: pip installs what {REQUIREMENTS / environment}.txt names ...")
    folder = _folder(environment)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip = [str(python_of(environment)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "-r", str(REQUIREMENTS / f"{environment}.txt")], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise InstallError(f"{environment}: pip failed:\n{done.stderr.strip()[-1000:]}")
    (folder / DONE).write_text(_wanted(environment))
    say(f"{environment}: made in {folder}")


def _folder(environment: str) -> Path:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return home() / f"{environment}-{version}"


def _wanted(environment: str) -> str:
    return f"# Python {sys.version.split()[0]}\n" + (REQUIREMENTS / f"{environment}.txt").read_text()


# --- programs of Debian ----------------------------------------------------------------------------


def debian_program(name: str) -> str | None:
    """A program that `unpack` has put below our folder."""
    return shutil.which(name, path=str(home() / "debian" / "usr" / "bin"))


def unpack(package: str, say: Say) -> None:
    """Fetch a package of Debian's and unpack it below our folder: nothing is installed or started.

    Raises:
        InstallError: this is no Debian, or the package is not to be had.
    """
    if shutil.which(package) or debian_program(package):
        say(f"{package}: is there")
        return
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise InstallError(f"{package}: no apt-get here; install it as your system does, then it is found")
    folder = home() / "debian"
    folder.mkdir(parents=True, exist_ok=True)
    fetched = subprocess.run(
        ["apt-get", "download", package], cwd=folder, capture_output=True, text=True, check=False
    )
    files = list(folder.glob(f"{package}_*.deb"))
    if fetched.returncode or not files:
        raise InstallError(f"{package}: apt-get download failed:\n{fetched.stderr.strip()[-500:]}")
    subprocess.run(["dpkg", "-x", files[0], folder], check=True)
    say(f"{package}: unpacked in {folder}")
