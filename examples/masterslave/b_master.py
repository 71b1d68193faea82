"""A master and its slaves in two files: a product of two matrices, block by block.

``b_slave.py`` has the functions that the slaves run. This file names it when it makes the
master, so that slaves can get it from there, and starts two of them.

Run it with ``python b_master.py``; ``task_manager slave "matrix product"`` adds slaves. It
prints how far the product is from NumPy's own.
"""

import numpy as np

from pyrotask.masterslave import initializeMasterProcess

SIZE, BLOCK = 240, 80

master = initializeMasterProcess("matrix product", slave_script="b_slave.py")
master.launchSlaveJobs(2)

rng = np.random.default_rng(7)
a, b = rng.normal(size=(SIZE, SIZE)), rng.normal(size=(SIZE, SIZE))
starts = range(0, SIZE, BLOCK)
where = {}
for row in starts:
    for column in starts:
        task_id = master.requestTask("multiply", a[row : row + BLOCK], b[:, column : column + BLOCK])
        where[task_id] = row, column

product = np.empty((SIZE, SIZE))
while where:
    task_id, _tag, block = master.retrieveResult("multiply")
    row, column = where.pop(task_id)
    product[row : row + BLOCK, column : column + BLOCK] = block
master.shutdown()

print(f"{len(starts) ** 2} blocks, largest deviation {np.abs(product - a @ b).max():.1e}")
