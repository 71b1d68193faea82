"""Which role this process plays: the code of a job is the same for its master and its slaves.

A process that was started as a slave, by ``task_manager slave`` or `launchSlaveJobs`, says so
in its ``__main__`` module, which it made for the job's code. Any other is a master, or a slave
by its own word (`startSlaveProcess` in a script of its own).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

_NAME = "__pyrotask_slave__"


@dataclass(slots=True)
class SlaveRole:
    """This process is a slave of the job with that label.

    Attributes:
        label: the label of the master.
        master_host: where it is, None: to be found by its label.
        job: which `runJob` call of the code it is, from 1 on; None: not known. A label that
            is made of the time is another one in the slave, so this tells it too.
        rope: a descriptor that ends when the master does; None: the slave may outlive it.
        calls: how many calls of `runJob` there have been.
        played: whether a slave has been started.
    """

    label: str
    master_host: str | None = None
    job: int | None = None
    rope: int | None = None
    calls: int = 0
    played: bool = False

    def is_for(self, label: str) -> bool:
        """Count a call of `runJob`, and tell whether it is the one that this process is for."""
        self.calls += 1
        return label == self.label or self.calls == self.job


def take(role: SlaveRole) -> None:
    """Play that role from now on."""
    setattr(sys.modules["__main__"], _NAME, role)


def current() -> SlaveRole | None:
    """The role of this process; None: it was started by itself."""
    role = getattr(sys.modules.get("__main__"), _NAME, None)
    return role if isinstance(role, SlaveRole) else None
