"""The slave of ``c_name_server.py``, which starts it with the master's label as argument."""

import sys

from pyrotask.masterslave import SlaveProcess


class Slave(SlaveProcess):
    def do_temperature(self, trajectory, first, last):
        """The kinetic temperature in a block of frames, in reduced units (mass and k_B are 1)."""
        velocities = trajectory.velocities[first:last]
        degrees_of_freedom = 3 * velocities.shape[1] - 3  # the centre of mass rests
        energy = 0.5 * (velocities**2).sum() / len(velocities)
        return int(first), 2 * energy / degrees_of_freedom


Slave(sys.argv[1]).start()
