"""The slaves' file of ``b_master.py``: functions ``do_<tag>``, and `startSlaveProcess` at the end.

It is run by ``task_manager slave "matrix product"``, or by the master itself.
"""

from pyrotask.masterslave import startSlaveProcess

done = 0  # globals are kept from task to task


def do_multiply(rows, columns):
    global done  # noqa: PLW0603 - that is what is shown
    done += 1
    return rows @ columns


startSlaveProcess()
print(f"this slave has multiplied {done} blocks")
