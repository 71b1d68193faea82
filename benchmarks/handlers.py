"""The same tasks as handlers of a pyrotask worker: ``pyrotask worker LABEL --module benchmarks.handlers``."""

from __future__ import annotations

from benchmarks import tasks

do_noop = tasks.noop
do_logged = tasks.logged
do_bump = tasks.bump
do_probe = tasks.probe
