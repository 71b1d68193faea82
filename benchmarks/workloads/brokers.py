"""W4 and W6: what waits, and who waits."""

from __future__ import annotations

import contextlib
import resource
import statistics
import sys
import time

import psutil

from benchmarks.peers import BrokerPeer
from benchmarks.workloads import WORKERS, TimeUp, Trial, at_most, no_ops, suitable_count

MOST_WAITING = 1_000_000
SUBMIT_S = 12.0
SETTLE_S = 0.5
DRAIN_S = 1.5
WAKES = 60
IDLE = (2, 100, 500, 2_000, 10_000)
SPARE_FILES = 500
IDLE_PILOT = 100
IDLE_TASKS = 10_000
IDLE_TARGET_S = 1.0


def waiting(trial: Trial) -> None:
    peer = trial.peer
    assert isinstance(peer, BrokerPeer)
    peer.start_broker()
    before = memory(peer)
    values, count, piece = [], 0, 500
    began = time.perf_counter()
    with at_most(30):
        while count < (2_000 if trial.quick else MOST_WAITING) and time.perf_counter() < began + SUBMIT_S:
            values.append(peer.submit("noop", [(number,) for number in range(count, count + piece)]))
            count += piece
            piece = min(2 * piece, 10_000)
    time.sleep(SETTLE_S)
    trial.report("waiting", count)
    trial.report("bytes", (memory(peer) - before) / count)
    peer.add_workers(WORKERS)
    drained, first, last = 0, 0.0, 0.0
    with contextlib.suppress(TimeUp), at_most(20):
        for some in values:
            for _ in some:
                last = time.perf_counter()
                first = first or last
                drained += 1
                if last - first > DRAIN_S:
                    raise TimeUp
    assert drained > 1, "nothing came"
    trial.report("drain", (drained - 1) / (last - first))


def idle_workers(trial: Trial) -> None:
    sizes = (2, 20) if trial.quick else IDLE
    for size in sizes:
        if size <= min(trial.peer.largest_swarm, most_connections()):
            measure_idle(trial, size)


def most_connections() -> int:
    """How many a broker can have here: each is an open file."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if most == resource.RLIM_INFINITY else most - SPARE_FILES


def measure_idle(trial: Trial, size: int) -> None:
    peer = trial.peer
    assert isinstance(peer, BrokerPeer)
    with trial.stage:
        peer.start_broker()
        before = memory(peer)
        with at_most(40):
            peer.add_swarm(size)
            time.sleep(SETTLE_S)
            trial.report(f"memory@{size}", (memory(peer) - before) / size / 1e3)
            trial.report(f"threads@{size}", psutil.Process(peer.broker_pid()).num_threads())
            no_ops(trial, 20)
            trial.report(f"wake@{size}", wake_us(peer, 10 if trial.quick else WAKES))
            pilot = no_ops(trial, IDLE_PILOT)
            count = 200 if trial.quick else suitable_count(pilot, IDLE_PILOT, IDLE_TARGET_S, IDLE_TASKS)
            taken = no_ops(trial, count)
            trial.report(f"rate@{size}", count / taken)
        peer.stop()


def wake_us(peer: BrokerPeer, times: int) -> float:
    """From the submit of a lone task to its answer."""
    taken = []
    for number in range(times):
        began = time.perf_counter()
        peer.call("noop", (number,))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6


def memory(peer: BrokerPeer) -> int:
    """Bytes of the broker's process."""
    return int(psutil.Process(peer.broker_pid()).memory_info().rss)
