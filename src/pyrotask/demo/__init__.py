"""What `pyrotask demo` computes: the measures of every source file of the standard library.

analysis is the worker's half, a module with a handler like any user's; master is the other
half, which asks for the tasks, kills a worker on the way, and collects; report makes the
tables of what came out.
"""
