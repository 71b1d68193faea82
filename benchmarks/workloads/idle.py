"""What waiting costs: nothing, if all is well."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import TimeoutError as FutureTimeoutError

import psutil

from benchmarks.ours import InMemory
from benchmarks.workloads import WORKERS, Trial, warm_up

QUICK_S = 1.0
MINUTE_S = 60.0


def nothing_to_do(trial: Trial) -> None:
    peer = trial.peer
    assert isinstance(peer, InMemory)
    peer.start(WORKERS)
    warm_up(trial)
    time.sleep(QUICK_S)
    for_s = QUICK_S if trial.quick else MINUTE_S
    supervisor = psutil.Process(peer.supervisor.pid)
    watched = {
        "broker": [psutil.Process(peer.broker_pid())],
        "supervisor and 2 workers": [supervisor, *supervisor.children(recursive=True)],
        "waiting master": [psutil.Process()],
    }
    before = {name: used_ms(processes) for name, processes in watched.items()}
    with contextlib.suppress(FutureTimeoutError):
        peer.never().result(for_s)
    for name, processes in watched.items():
        trial.report(name, (used_ms(processes) - before[name]) * MINUTE_S / for_s)


def used_ms(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes) * 1e3
