"""Masters and slaves: the second module of ScientificPython's distributed computing.

A *master* asks for tasks and collects their results; *slaves* run them, in methods or
functions named ``do_<tag>``. The master's process is also the task manager, so there is
nothing to set up. Names and arguments are the original's: an old script runs when its import
line and its Python 2 syntax are changed.

    runJob                   one file with both roles
    initializeMasterProcess  a master without a class; its slaves have a script or module of their own
    startSlaveProcess        the last line of that script
    MasterProcess            the class of masters: override `run`
    RemoteMasterProcess      the class of masters whose manager is a running broker (`pyrotask serve`)
    SlaveProcess             the class of slaves: add ``do_<tag>`` methods
    GlobalStateValue         a parameter that travels to each slave once
    TaskRaisedException      raised where the result of a failed task is asked for

Slaves get the master's code and working directory from the manager, and run it: whoever may
talk to a manager can have code run on its slaves. That is what this module is for, and why
managers listen on this machine only, unless there is a key.

The rooms: `master`, with `serving`, `ending`, `telling` and `launching`; `remote_master`; `slave`,
with `link`, `finding`, `interrupts` and `companion` (which runs `companion_main`); `jobs` with
`role`, `code` and `slave_main`, for who is what; and `states`, for both.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from pyrotask.errors import TaskRaisedException

if TYPE_CHECKING:
    from pyrotask.masterslave.jobs import initializeMasterProcess, runJob, startSlaveProcess
    from pyrotask.masterslave.master import MasterProcess
    from pyrotask.masterslave.remote_master import RemoteMasterProcess
    from pyrotask.masterslave.slave import SlaveProcess
    from pyrotask.masterslave.states import GlobalStateValue

__all__ = [
    "GlobalStateValue",
    "MasterProcess",
    "RemoteMasterProcess",
    "SlaveProcess",
    "TaskRaisedException",
    "initializeMasterProcess",
    "runJob",
    "startSlaveProcess",
]

# Loaded at first use: the companion of a slave needs neither masters nor servers.
_HOMES = {
    "GlobalStateValue": "pyrotask.masterslave.states",
    "MasterProcess": "pyrotask.masterslave.master",
    "RemoteMasterProcess": "pyrotask.masterslave.remote_master",
    "SlaveProcess": "pyrotask.masterslave.slave",
    "initializeMasterProcess": "pyrotask.masterslave.jobs",
    "runJob": "pyrotask.masterslave.jobs",
    "startSlaveProcess": "pyrotask.masterslave.jobs",
}


def __getattr__(name: str) -> object:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)
