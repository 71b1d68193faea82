"""A program that cares for itself: it starts a name server if none answers, and its own slaves.

Its label is made of the time, with blanks and colons in it, so that several can run at once;
it is given to the slaves as an argument. The trajectory of a small liquid is the first (and
only) global state, so its number is 1. `shutdown` is called at the end, and once more at exit.

Run it with ``python c_name_server.py``. It prints the kinetic temperature of each block of
frames, and their mean.
"""

import atexit
import subprocess
import sys
import time

import numpy as np
import Pyro5.api
import Pyro5.errors
from lennard_jones import simulate

from pyrotask.masterslave import GlobalStateValue, MasterProcess

BLOCKS = 6


def name_server_answers():
    try:
        Pyro5.api.locate_ns(Pyro5.config.NS_HOST).ping()
    except Pyro5.errors.PyroError:
        return False
    return True


def start_name_server():
    server = subprocess.Popen([sys.executable, "-m", "Pyro5.nameserver"], stdout=subprocess.DEVNULL)
    atexit.register(server.wait)
    atexit.register(server.terminate)
    while not name_server_answers():
        if server.poll() is not None:
            sys.exit("the name server did not start")
        time.sleep(0.1)


def main():
    if not name_server_answers():
        start_name_server()
    label = f"temperature, {time.ctime()}"
    master = MasterProcess(label)
    atexit.register(master.shutdown)
    slaves = [subprocess.Popen([sys.executable, "c_slave.py", label]) for _ in range(2)]

    trajectory = simulate(frames=60)
    master.setGlobalState(trajectory=trajectory)
    for frames in np.array_split(np.arange(len(trajectory.velocities)), BLOCKS):
        master.requestTask("temperature", GlobalStateValue(1, "trajectory"), frames[0], frames[-1] + 1)
    temperatures = {}
    for _ in range(BLOCKS):
        _task_id, _tag, (first, temperature) = master.retrieveResult("temperature")
        temperatures[first] = temperature
    master.shutdown()

    for first in sorted(temperatures):
        print(f"from frame {first:2d} on: temperature {temperatures[first]:.3f}")
    print(f"mean temperature {np.mean(list(temperatures.values())):.3f}")
    for slave in slaves:
        slave.wait()


if __name__ == "__main__":
    main()
