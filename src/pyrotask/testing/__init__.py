"""For tests of programs that use pyrotask: a broker in memory, and workers in the test's own process.

    Farm         the broker, and worker threads, or a worker that the test itself drives
    plugin       the pytest fixture `pyrotask_farm`, for ``pytest_plugins = ["pyrotask.testing.plugin"]``
    worker       what runs the tasks

Nothing is simulated but the workers' processes: what the program under test says goes over a real
connection to a real broker. pytest is needed for the plugin only.
"""

from pyrotask.testing.farm import Farm

__all__ = ["Farm"]
