"""One file with both roles: the mean-square displacement of the atoms of a liquid.

The master simulates a small Lennard-Jones liquid, cuts its atoms into blocks, and asks for
the mean-square displacement of each block; two slaves compute them. The trajectory is a global
state: it travels to each slave once, not with each task.

Run it with ``python a_one_file.py``. While it runs, ``task_manager slave "msd of a liquid"`` in
other terminals adds slaves. It prints the displacement at some times, and the diffusion
coefficient that follows from it.
"""

import numpy as np
from lennard_jones import simulate

from pyrotask.masterslave import GlobalStateValue, MasterProcess, SlaveProcess, runJob

LABEL = "msd of a liquid"
BLOCK = 8


class Master(MasterProcess):
    def run(self):
        trajectory = simulate()
        atoms = trajectory.positions.shape[1]
        state = self.setGlobalState(trajectory=trajectory)
        for first in range(0, atoms, BLOCK):
            self.requestTask("msd", GlobalStateValue(state, "trajectory"), first, first + BLOCK)
        msd = np.zeros(len(trajectory.positions) // 2)
        for _ in range(0, atoms, BLOCK):
            _task_id, _tag, (size, of_block) = self.retrieveResult("msd")
            msd += of_block * size / atoms
        report(msd, trajectory.frame_time)


class Slave(SlaveProcess):
    def do_msd(self, trajectory, first, last):
        positions = trajectory.positions[:, first:last]
        frames = len(positions) // 2
        msd = np.zeros(frames)
        for lag in range(1, frames):
            moved = positions[lag:] - positions[:-lag]
            msd[lag] = (moved**2).sum(axis=2).mean()
        return last - first, msd


def report(msd, frame_time):
    for lag in range(0, len(msd), 10):
        print(f"time {lag * frame_time:5.2f}   mean-square displacement {msd[lag]:7.4f}")
    half = len(msd) // 2
    slope = np.polyfit(np.arange(half, len(msd)) * frame_time, msd[half:], 1)[0]
    print(f"diffusion coefficient {slope / 6:.3f}")


if __name__ == "__main__":
    runJob(LABEL, Master, Slave, launch_slaves=2)
