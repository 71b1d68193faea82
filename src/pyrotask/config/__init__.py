"""The settings: every bound and period of a broker, a worker or a client, with its reason.

A value comes from the first of these that has it:

1. an argument: ``Settings.load(max_crashes=5)``, or the command line's ``--max-crashes``;
2. the environment: ``PYROTASK_MAX_CRASHES=5`` (empty counts as absent);
3. a TOML file with a line ``max_crashes = 5``: the one that ``PYROTASK_CONFIG`` names, else
   ``pyrotask.toml`` in the user's configuration directory, if there is one;
4. its default.

To add a setting, add a field to `settings` with its default, its bounds and its reason: reading,
checking and the error messages follow from that.
"""

from __future__ import annotations

from pyrotask.config.kinds import split_host_port
from pyrotask.config.settings import DAY_S, GIB, KIB, MIB, Settings

__all__ = ["DAY_S", "GIB", "KIB", "MIB", "Settings", "split_host_port"]
