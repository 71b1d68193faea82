"""The functions that make a script a master, a slave, or both."""

# The original's names, which scripts use:

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Literal, overload

from pyrotask.masterslave import role
from pyrotask.masterslave.code import JobCode
from pyrotask.masterslave.master import MasterProcess
from pyrotask.masterslave.remote_master import RemoteMasterProcess
from pyrotask.masterslave.role import SlaveRole
from pyrotask.masterslave.serving import NameServerUse
from pyrotask.masterslave.slave import SlaveProcess
from pyrotask.masterslave.telling import say

if TYPE_CHECKING:
    from pyrotask.config import Settings

_CALLS = "__pyrotask_jobs__"


def runJob(
    label: str,
    master_class: type[MasterProcess | RemoteMasterProcess],
    slave_class: type[SlaveProcess],
    watchdog_period: float | None = 120.0,
    launch_slaves: int = 0,
) -> None:
    """Run the job of a script that has both classes: as its master, or as one of its slaves.

    A script that was started normally is the master: ``master_class(label)`` is made and
    started, and the script is kept for slaves. One that was started as a slave, by
    ``task_manager slave LABEL`` or by ``launch_slaves``, is a slave until the master ends, and
    then ends itself (`SystemExit`): what follows in the script is for the master only.

    Args:
        label: the name under which slaves find the master.
        master_class: a subclass of `MasterProcess` with a method ``run``; or of `RemoteMasterProcess`,
            for a job of a broker that runs already.
        slave_class: a subclass of `SlaveProcess` with methods ``do_<tag>``.
        watchdog_period: see `SlaveProcess`.
        launch_slaves: so many slaves are started on this machine at once.
    """
    me = role.current()
    if me is None:
        _run_master(label, master_class, launch_slaves)
    elif me.is_for(label):
        slave_class(me.label, me.master_host, watchdog_period).start()
        raise SystemExit(0)


def _run_master(
    label: str, master_class: type[MasterProcess | RemoteMasterProcess], launch_slaves: int
) -> None:
    main = sys.modules["__main__"]
    job = getattr(main, _CALLS, 0) + 1
    setattr(main, _CALLS, job)
    code = JobCode.of_main(job)
    master = master_class(label)
    try:
        if code is None:
            say(f"{label} runs without a script: no slave can get its code. Write it to a file, and run that")
        else:
            code.store(master.task_manager)
        if launch_slaves > 0:
            master.launchSlaveJobs(launch_slaves)
    except BaseException:
        master.shutdown()
        raise
    master.start()


@overload
def initializeMasterProcess(
    label: str,
    slave_script: str | None = None,
    slave_module: str | None = None,
    use_name_server: NameServerUse = True,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    settings: Settings | None = None,
    broker: Literal[False] = False,
) -> MasterProcess: ...


@overload
def initializeMasterProcess(
    label: str,
    slave_script: str | None = None,
    slave_module: str | None = None,
    *,
    settings: Settings | None = None,
    broker: Literal[True] | str,
) -> RemoteMasterProcess: ...


def initializeMasterProcess(
    label: str,
    slave_script: str | None = None,
    slave_module: str | None = None,
    use_name_server: NameServerUse = True,
    *,
    host: str | None = None,
    port: int | None = None,
    settings: Settings | None = None,
    broker: bool | str = False,
) -> MasterProcess | RemoteMasterProcess:
    """Make a master to call `requestTask` and `retrieveResult` of, without a class of its own.

    Args:
        label: the name under which slaves find it.
        slave_script: the file of the script that slaves run; its last line is
            `startSlaveProcess`.
        slave_module: the module whose functions ``do_<tag>`` slaves run, by its dotted name.
            Without both, the script of the slaves has to be started by hand.
        use_name_server: see `MasterProcess`.
        host: the address to listen on; None: the setting ``host``.
        port: the port, None: see `MasterProcess`.
        settings: None: `Settings.load()`.
        broker: True: be a master of the broker with that label, which runs already (`pyrotask serve`):
            see `RemoteMasterProcess`. ``"host:port"``: of the one there. Name server, host and
            port are its own then.

    Raises:
        ValueError: both a script and a module are given.
        OSError: the script cannot be read.
        ConnectError: see `MasterProcess`.
    """
    if slave_script is not None and slave_module is not None:
        raise ValueError("give a slave_script or a slave_module, not both")
    code = None
    if slave_script is not None:
        code = JobCode.of_script(slave_script)
    elif slave_module is not None:
        code = JobCode.of_module(slave_module)
    master: MasterProcess | RemoteMasterProcess
    if broker:
        master = RemoteMasterProcess(label, broker if isinstance(broker, str) else None, settings=settings)
    else:
        master = MasterProcess(label, use_name_server, host=host, port=port, settings=settings)
    if code is not None:
        code.store(master.task_manager)
    return master


def startSlaveProcess(label: str | None = None, master_host: str | None = None) -> None:
    """Be a slave that runs the functions ``do_<tag>`` of this script, until the master ends. Blocks.

    Call it at the end of the script: all handlers must be there.

    Args:
        label: the label of the master. It may be left out by a script that
            ``task_manager slave LABEL`` runs.
        master_host: where the master is, ``"host"`` or ``"host:port"``; None: it is found by its
            label.

    Raises:
        HandlerError: there is no handler.
        ConnectError: there is no such master.
    """
    handlers = _globals_of_caller()
    me = role.current()
    if me is None:
        SlaveProcess(label, master_host).start(handlers)
    elif not me.played:  # not once more, when the script and the module that it imports both call it
        SlaveProcess(me.label, me.master_host).start(handlers)


def start_slave_of_module(module: str) -> None:
    """Be a slave that runs the functions of that module: the code of slaves with a ``slave_module``."""
    handlers = vars(importlib.import_module(module))
    me = role.current() or SlaveRole("")
    if not me.played:
        SlaveProcess(me.label, me.master_host).start(handlers)


def _globals_of_caller() -> dict[str, Any]:
    """The globals of the main module and of the one that called our caller, which goes first."""
    caller = sys._getframe(2).f_globals  # noqa: SLF001 - the only way to know
    return {**vars(sys.modules["__main__"]), **caller}
