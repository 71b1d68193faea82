"""A master that uses nothing but Pyro5: which start below a million has the longest Collatz chain?

It talks to a broker through a plain ``Pyro5.api.Proxy``; pyrotask need not be installed where
this runs. Tasks and results are plain Python values.

Run a broker, ``pyrotask serve collatz``; some slaves, ``python slave.py``; and this,
``python master.py [URI [LIMIT]]``. The URI is ``PYRONAME:TaskManager.collatz`` by default, which
needs a name server (``pyro5-ns``, before the broker). Without one, use
``PYRO:TaskManager.collatz@HOST:PORT``, with host and port as ``pyrotask serve`` prints them.

It prints the start, and the length of its chain.
"""

import sys

import Pyro5.api

PART = 20_000


def main():
    uri = sys.argv[1] if len(sys.argv) > 1 else "PYRONAME:TaskManager.collatz"
    limit = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    with Pyro5.api.Proxy(uri) as tasks:
        me = tasks.registerProcess(info="a plain master")
        wanted = {
            tasks.addTaskRequest("longest", [first, min(first + PART, limit)], me)
            for first in range(1, limit, PART)
        }
        best = [0, 0]
        while wanted:
            task_id, (length, start) = tasks.getResultWithTag("longest")
            wanted.remove(task_id)
            best = max(best, [length, start])
        tasks.terminate()
        tasks.unregisterProcess(me)
    print(f"{best[1]} has the longest chain below {limit}: {best[0]} numbers")


if __name__ == "__main__":
    main()
