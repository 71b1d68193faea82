"""A `TaskManager` in a stock Pyro daemon, in a process of its own. Prints its URI."""

import Pyro5.api

from pyrotask.taskmanager import TaskManager

daemon = Pyro5.api.Daemon(host="127.0.0.1")
print(daemon.register(TaskManager()), flush=True)
daemon.requestLoop()
