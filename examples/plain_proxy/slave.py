"""A slave that uses nothing but Pyro5: it computes the lengths of Collatz chains.

See ``master.py``. Run it with ``python slave.py [URI]``, as often as you like, before or after the
master; it ends when the master says that no more tasks will come.

This is the whole of the protocol: register; get a task, do it, hand in its result, again and
again; unregister. An exception is handed in as well. When a slave dies, its task is handed to
another one half a minute later, or after its watchdog period, if it has promised to ping.
"""

import sys
import traceback

import Pyro5.api


def longest(first, last):
    """The longest chain of those that start from ``first`` to ``last``: its length and its start."""
    lengths = {1: 1}
    best = (0, 0)
    for start in range(first, last):
        chain, number = [], start
        while number not in lengths:
            chain.append(number)
            number = number // 2 if number % 2 == 0 else 3 * number + 1
        known = lengths[number]
        for steps, passed in enumerate(reversed(chain), start=1):
            lengths[passed] = known + steps
        best = max(best, (lengths[start], start))
    return best


def main():
    uri = sys.argv[1] if len(sys.argv) > 1 else "PYRONAME:TaskManager.collatz"
    with Pyro5.api.Proxy(uri) as tasks:
        me = tasks.registerProcess(info="a plain slave")
        while True:
            try:
                task_id, (first, last) = tasks.getTaskWithTag("longest", me)
            except RuntimeError as error:
                # The broker's own errors arrive as built-in ones, with their name beside.
                if getattr(error, "remote_type", "") != "TaskManagerTermination":
                    raise
                break
            try:
                tasks.storeResult(task_id, longest(first, last))
            except Exception as error:
                tasks.storeException(task_id, error, traceback.format_exc())
        tasks.unregisterProcess(me)


if __name__ == "__main__":
    main()
