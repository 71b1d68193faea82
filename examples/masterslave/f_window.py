"""A window of tasks: there are always some in work, until the answer is good enough.

The volume of a ball in ten dimensions, by random points in a cube. Nobody knows before how many
points it takes; so the master asks for eight tasks, and for one more with each result, until
the statistical error is small. Ctrl-C ends it before, with what there is by then: the handler
shuts the master down, so that what was asked for is finished, and `retrieveResult` then says
that there is no more.

Run it with ``python f_window.py [ERROR]``; the default is 0.05. It prints the volume, its error,
and the exact value.
"""

import math
import signal
import sys

import numpy as np

from pyrotask import TaskManagerTermination
from pyrotask.masterslave import MasterProcess, SlaveProcess, runJob

DIMENSIONS, POINTS, WINDOW = 10, 50_000, 8


class Master(MasterProcess):
    def run(self):
        signal.signal(signal.SIGINT, lambda *_: self.shutdown())
        wanted = float(sys.argv[1]) if len(sys.argv) > 1 else 0.05
        for seed in range(WINDOW):
            self.requestTask("count", seed)
        print("asked for", WINDOW, flush=True)
        inside, points, seed = 0, 0, WINDOW
        while True:
            task_id, _tag, found = self.retrieveResult("count")
            if task_id is None:
                print("interrupted")
                break
            inside, points = inside + found, points + POINTS
            if points >= WINDOW * POINTS and error_of(inside, points) < wanted:
                break
            try:
                self.requestTask("count", seed)
            except TaskManagerTermination:
                pass  # Ctrl-C came in between: what is in work is still collected
            seed += 1
        if points:
            report(inside, points)


class Slave(SlaveProcess):
    def do_count(self, seed):
        """How many of the random points are inside the ball."""
        points = np.random.default_rng(seed).uniform(-1, 1, size=(POINTS, DIMENSIONS))
        return int(((points**2).sum(axis=1) <= 1).sum())


def error_of(inside, points):
    share = max(inside, 1) / points
    return 2**DIMENSIONS * math.sqrt(share * (1 - share) / points)


def report(inside, points):
    exact = math.pi ** (DIMENSIONS / 2) / math.gamma(DIMENSIONS / 2 + 1)
    volume = 2**DIMENSIONS * inside / points
    print(f"volume {volume:.3f} +- {error_of(inside, points):.3f} from {points} points; it is {exact:.3f}")


if __name__ == "__main__":
    runJob("volume of a ball", Master, Slave, launch_slaves=2)
