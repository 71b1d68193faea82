"""The part of ``d_script.py`` that makes the master, when it is imported.

Each trajectory becomes a global state of its own, for three tasks of different tags.
"""

from pyrotask.masterslave import GlobalStateValue, initializeMasterProcess

TAGS = ("diffusion", "pressure", "temperature")

master = initializeMasterProcess("properties of liquids", slave_module="d_handlers")
master.launchSlaveJobs(2)

_names = {}  # of the trajectories, by the ids of their tasks


def add(name, trajectory):
    """Have the properties of a trajectory computed."""
    state = master.setGlobalState(trajectory=trajectory)
    for tag in TAGS:
        task_id = master.requestTask(tag, GlobalStateValue(state, "trajectory"))
        _names[task_id] = name


def results():
    """Wait for all that is being computed, and return it: the properties of each trajectory."""
    found = {}
    while _names:
        task_id, tag, value = master.retrieveResult()
        found.setdefault(_names.pop(task_id), {})[tag] = value
    return found
