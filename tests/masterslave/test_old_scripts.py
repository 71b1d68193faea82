"""Two programs as they were written for the original, with another import line and no Python 2 syntax.

Nothing else in them knows of this package: their style is that of their time.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.masterslave.running import script, task_manager, write

CLASSES = """
from pyrotask.masterslave import MasterProcess, SlaveProcess, \\
                                 TaskRaisedException, GlobalStateValue, runJob
import numpy as N
import sys, os

class Master(MasterProcess):

    def __init__(self, label):
        MasterProcess.__init__(self, label)
        self.failed = []
        self.sums = {}

    def run(self):
        matrix = N.reshape(N.arange(12.), (4, 3))
        state_id = self.setGlobalState(matrix=matrix, factor=2.)
        for i in range(5):
            # There is no row 4: this one raises an exception
            self.requestTask("rowsum", GlobalStateValue(state_id, 'matrix'),
                             GlobalStateValue(1, 'factor'), i)
        for i in range(5):
            try:
                task_id, tag, result = self.retrieveResult("rowsum")
                row, value = result
                self.sums[row] = value
            except TaskRaisedException as e:
                self.failed.append((e.task_id, e.tag, e.exception.__class__.__name__,
                                    'IndexError' in e.traceback))
        self.deleteGlobalState(state_id)
        waiting, running, finished = self.task_manager.numberOfTasks()
        print(sorted(self.sums.items()), self.failed, waiting, running, finished)
        sys.stdout.flush()

class Slave(SlaveProcess):

    def do_rowsum(self, matrix, factor, row):
        return row, float(factor*N.add.reduce(matrix[row]))

runJob("rows of %s" % os.path.basename(sys.argv[0]), Master, Slave, launch_slaves=2)
"""

MASTER = """
from pyrotask.masterslave import initializeMasterProcess, TaskRaisedException
import sys, time, atexit

master = initializeMasterProcess("energies %s" % sys.argv[1], slave_script="energy_slave.py",
                                 use_name_server=False)
atexit.register(master.shutdown)
print(master.pyro_daemon.port)
sys.stdout.flush()

energies = []
window = 3
todo = [i*0.5 for i in range(10)]
pending = 0
try:
    while todo or pending:
        while todo and pending < window:
            master.requestTask("energy", todo.pop(0))
            pending += 1
        task_id, tag, result = master.retrieveResult()
        if task_id is None:
            break
        pending -= 1
        energies.append(result)
finally:
    master.shutdown()

energies.sort()
print(["%.2f %.2f" % e for e in energies][:3], len(energies))
print(master.retrieveResult())
"""

SLAVE = """
from pyrotask.masterslave import startSlaveProcess
from math import *

def do_energy(x):
    return x, 0.5*pow(x, 2)

def do_unused(x):
    return None

startSlaveProcess()
"""


@pytest.mark.slow
def test_a_program_with_two_classes(tmp_path: Path) -> None:
    with script(tmp_path, "rows.py", CLASSES) as running:
        assert running.end() == 0
    sums = [(0, 6.0), (1, 24.0), (2, 42.0), (3, 60.0)]
    assert running.output == f"{sums} [('rowsum_4', 'rowsum', 'IndexError', True)] {{}} {{}} {{}}\n"


@pytest.mark.slow
def test_a_program_with_two_files(tmp_path: Path) -> None:
    write(tmp_path, "energy_slave.py", SLAVE)
    label = "energies of today 10:41:09"
    with script(tmp_path, "energy.py", MASTER, "of today 10:41:09") as running:
        port = running.wait_for("\n").strip()
        with task_manager(tmp_path, "-m", f"localhost:{port}", "slave", label) as slave:
            assert running.end() == 0
            assert slave.end() == 0
    assert running.lines[1:] == ["['0.00 0.00', '0.50 0.12', '1.00 0.50'] 10\n", "(None, None, None)\n"]


@pytest.mark.slow
def test_the_program_on_the_page_for_users_of_the_original_runs(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "from-scientificpython.md"
    programs = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    (program,) = (text for text in programs if "\nrunJob(" in text)
    with script(tmp_path, "squares.py", program) as running:
        assert running.end() == 0
    results = [f"square_{i} {i * i}\n" for i in range(5)]
    assert sorted(running.lines) == results
