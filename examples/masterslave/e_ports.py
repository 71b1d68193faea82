"""Without any name server: the slaves are told on which port the master listens.

The master writes a text file, and has two slaves count its words, each task in a part of the
file. Slaves and master see the same file here; on other machines they need a shared file system.

Run it with ``python e_ports.py``. It prints the most frequent words.
"""

import collections
import os
import random
import subprocess
import sys
import tempfile

from pyrotask.masterslave import MasterProcess

PART = 100_000
WORDS = ["the", "the", "the", "to", "to", "task", "task", "slave", "and", "master"]


def write_text(path, words=200_000):
    rng = random.Random(4)
    with open(path, "w", encoding="ascii") as file:
        file.writelines(rng.choice(WORDS) + rng.choice("  \n") for _ in range(words))


def main():
    master = MasterProcess("word count", use_name_server=False)
    address = f"127.0.0.1:{master.pyro_daemon.port}"
    slaves = [subprocess.Popen([sys.executable, "e_slave.py", address]) for _ in range(2)]
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "words.txt")
        write_text(path)
        size = os.path.getsize(path)
        for first in range(0, size, PART):
            master.requestTask("count", path, first, min(size, first + PART))
        total = collections.Counter()
        for _ in range(0, size, PART):
            _task_id, _tag, counts = master.retrieveResult("count")
            total += counts
        master.shutdown()
    for word, count in total.most_common(5):
        print(f"{word:8} {count:6}")
    print(f"{total.total()} words")
    for slave in slaves:
        slave.wait()


if __name__ == "__main__":
    main()
