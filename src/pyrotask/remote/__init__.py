"""Everything that knows of Pyro5 and the network: the server, the proxies, who gets in, and who is where.

Nothing below this room imports Pyro5, save `pyrotask.taskmanager` for its ``expose``.
"""
