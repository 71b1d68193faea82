"""Existing scripts: plain Pyro proxies and the reference API, a call for each step."""

from __future__ import annotations

from benchmarks.peers import BrokerPeer
from benchmarks.stage import Stage, wait_for_line
from benchmarks.workloads import Trial, at_most

CLIENTS = "benchmarks.plain_clients"
PROCESSES = 4
SLAVES = 4


def by_plain_proxies(trial: Trial) -> None:
    peer = trial.peer
    assert isinstance(peer, BrokerPeer)
    peer.start_broker()
    for _ in range(SLAVES):
        wait_for_line(trial.stage.start_python(CLIENTS, peer.plain_address(), "slave"), b"ready")
    seconds = 0.3 if trial.quick else 1.5
    for masters, processes in ((1, 1), (16, PROCESSES)):
        name = f"{masters} master" + "s" * (masters > 1)
        with at_most(30):
            trial.report(
                name, rate(trial.stage, peer.plain_address(), masters // processes, processes, seconds)
            )


def rate(stage: Stage, address: str, threads: int, processes: int, seconds: float) -> float:
    """Answers a second of so many processes with so many masters each."""
    running = [stage.start_python(CLIENTS, address, "master", threads, seconds) for _ in range(processes)]
    for each in running:
        wait_for_line(each, b"ready")
    for each in running:
        assert each.stdin is not None
        each.stdin.write(b"\n")
        each.stdin.flush()
    return sum(int(wait_for_line(each, b"answers").split()[1]) for each in running) / seconds
