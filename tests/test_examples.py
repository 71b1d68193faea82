"""Every example, run as its docstring says, in real processes; what it prints is checked."""

from __future__ import annotations

import math
import re
import signal
import socket
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest

from pyrotask import Server, TaskManager
from tests.masterslave.running import Running, started
from tests.ports import free_port
from tests.waiting import until

EXAMPLES = Path(__file__).parent.parent / "examples"
MASTERSLAVE = EXAMPLES / "masterslave"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not here")


def example(path: str, *args: object, **env: str) -> AbstractContextManager[Running]:
    """Start an example in its own folder."""
    file = EXAMPLES / path
    return started([sys.executable, file.name, *args], file.parent, **env)


def output_of(path: str, *args: object, **env: str) -> str:
    with example(path, *args, **env) as running:
        assert running.end() == 0, running.output
    return running.output


@pytest.mark.slow
def test_one_file_with_both_roles() -> None:
    output = output_of("masterslave/a_one_file.py")
    (coefficient,) = re.findall(r"diffusion coefficient ([\d.]+)", output)
    assert 0.05 < float(coefficient) < 0.5  # a liquid, and neither a solid nor a gas


@pytest.mark.slow
def test_a_master_and_a_slave_file() -> None:
    output = output_of("masterslave/b_master.py")
    (deviation,) = re.findall(r"9 blocks, largest deviation (\S+)", output)
    assert float(deviation) < 1e-9
    assert sum(map(int, re.findall(r"this slave has multiplied (\d+) blocks", output))) == 9


@pytest.mark.slow
def test_a_program_that_starts_its_own_name_server() -> None:
    port = str(free_port())
    output = output_of("masterslave/c_name_server.py", PYRO_NS_PORT=port, PYRO_NS_HOST="127.0.0.1")
    assert len(re.findall(r"from frame +\d+ on: temperature", output)) == 6
    (mean,) = re.findall(r"mean temperature ([\d.]+)", output)
    assert 0.5 < float(mean) < 2.0
    with pytest.raises(ConnectionRefusedError):  # the name server has ended with it
        socket.create_connection(("127.0.0.1", int(port))).close()


@pytest.mark.slow
def test_a_master_that_an_import_makes_and_nobody_shuts_down() -> None:
    output = output_of("masterslave/d_script.py")
    found = re.findall(r"(diffusion|pressure|temperature) +(-?[\d.]+)", output)
    assert [tag for tag, _ in found] == ["diffusion", "pressure", "temperature"] * 2
    thin, dense = float(found[0][1]), float(found[3][1])
    assert thin > dense > 0  # atoms go further where there are fewer


@pytest.mark.slow
def test_slaves_that_are_told_a_port() -> None:
    output = output_of("masterslave/e_ports.py")
    # A slave that comes when all is done says so, behind the results.
    assert re.search(r"^200000 words$", output, re.MULTILINE)
    assert re.search(r"^the +\d+$", output, re.MULTILINE)


@pytest.mark.slow
def test_a_window_of_tasks() -> None:
    output = output_of("masterslave/f_window.py")
    (volume, error) = re.findall(r"volume ([\d.]+) \+- ([\d.]+)", output)[0]
    assert float(error) <= 0.05
    assert math.isclose(float(volume), 2.550, abs_tol=0.3)


@pytest.mark.slow
def test_a_window_of_tasks_ended_by_ctrl_c() -> None:
    with example("masterslave/f_window.py", "0.000001") as running:
        running.wait_for("asked for 8")
        until(lambda: len(psutil.Process(running.pid).children(recursive=True)) == 4)  # slaves are at work
        running.send(signal.SIGINT)
        assert running.end() == 0
    assert "interrupted" in running.output
    assert "volume" in running.output


@pytest.mark.slow
def test_masters_and_slaves_that_are_plain_proxies() -> None:
    with TaskManager() as tasks, Server(tasks, "collatz", name_server="off") as server:
        slaves = [example("plain_proxy/slave.py", server.uri) for _ in range(2)]
        with slaves[0] as one, slaves[1] as two:
            output = output_of("plain_proxy/master.py", server.uri, 100_000)
            assert (one.end(), two.end()) == (0, 0)
    assert output == "77031 has the longest chain below 100000: 351 numbers\n"


def test_the_plain_examples_use_nothing_but_pyro5() -> None:
    for file in (EXAMPLES / "plain_proxy").glob("*.py"):
        imported = re.findall(r"^(?:import|from) (\w+)", file.read_text("utf-8"), re.MULTILINE)
        assert set(imported) <= {"sys", "traceback", "Pyro5"}


@pytest.mark.slow
def test_the_parameter_study(tmp_path: Path) -> None:
    picture = tmp_path / "digits.png"
    output = output_of("parameter_study/study.py", picture, MPLCONFIGDIR=str(tmp_path))
    (best,) = re.findall(r"best: C = \S+, gamma = \S+, accuracy ([\d.]+)", output)
    assert float(best) > 0.9
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("file", sorted(EXAMPLES.rglob("*.py")), ids=lambda file: file.name)
def test_every_example_says_what_it_is(file: Path) -> None:
    assert file.read_text("utf-8").startswith('"""')
