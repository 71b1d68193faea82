"""The slave of ``e_ports.py``, which starts it with ``host:port`` as argument."""

import collections
import sys

from pyrotask.masterslave import startSlaveProcess


def do_count(path, first, last):
    """Count the words of the lines that begin at bytes ``first`` to ``last`` of the file."""
    counts = collections.Counter()
    with open(path, encoding="ascii") as file:
        if first > 0:
            file.seek(first - 1)
            file.readline()  # the rest of a line that began before
        while file.tell() < last:
            counts.update(file.readline().split())
    return counts


startSlaveProcess(master_host=sys.argv[1])
