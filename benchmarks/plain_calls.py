"""Calls per second of plain Pyro clients: our server beside a stock Pyro5 daemon.

    python -m benchmarks.plain_calls [--seconds 2] [--proxies 1 2 16] [--profile]

Both serve the same `TaskManager`, each in a process of its own. The clients are one process:
each sends a call as soon as it has the answer to its last one, as a Pyro proxy does, with
messages that were encoded before. So what is measured is the server. What counts is the ratio
within one run, and the server's CPU time a call, which noise of the machine changes least.
"life" is a task's life in four calls, by one ordinary proxy.
"""

from __future__ import annotations

import argparse
import cProfile
import multiprocessing
import pstats
import selectors
import socket
import statistics
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import Pyro5.api
from Pyro5 import config, protocol
from Pyro5.serializers import serializers

from pyrotask.remote.server import Server
from pyrotask.taskmanager import TaskManager

HEADER_BYTES = 40


def serve_by_loop(pipe: Connection) -> None:
    with Server(label="benchmark", name_server="off", connection_file=False) as server:
        pipe.send(server.uri)
        report_cpu(pipe)


def report_cpu(pipe: Connection) -> None:
    """Tell the CPU time spent so far whenever asked, until told to stop."""
    while pipe.recv() != "stop":
        pipe.send(time.process_time())


def serve_profiled(pipe: Connection) -> None:
    """The same, under the profiler, which slows it down: read the proportions."""
    profile = cProfile.Profile()
    with Server(label="benchmark", name_server="off", connection_file=False) as server:
        hub = server._hub  # noqa: SLF001 - no user needs it
        assert hub is not None
        hub.post(profile.enable)  # in the loop's thread, which is the one to look at
        pipe.send(server.uri)
        report_cpu(pipe)
        hub.post(profile.disable)
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def serve_by_stock_daemon(pipe: Connection) -> None:
    config.SOCK_NODELAY = True
    with Pyro5.api.Daemon() as daemon:
        uri = daemon.register(TaskManager(), "TaskManager.benchmark")
        threading.Thread(target=daemon.requestLoop, daemon=True).start()
        pipe.send(str(uri))
        report_cpu(pipe)


def in_process(
    serve: Callable[[Connection], None], measure: Callable[[str], tuple[int, float]]
) -> tuple[float, float]:
    """What is done per second, and the server's CPU time for each in microseconds."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,))
    process.start()
    try:
        uri = ours.recv()
        ours.send("cpu")
        before = ours.recv()
        done, seconds = measure(uri)
        ours.send("cpu")
        return done / seconds, (ours.recv() - before) / done * 1e6
    finally:
        ours.send("stop")
        process.join()


def connected(uri: str) -> tuple[Pyro5.api.Proxy, socket.socket]:
    proxy = Pyro5.api.Proxy(uri)
    proxy._pyroBind()  # noqa: SLF001 - Pyro's public names look like this
    return proxy, proxy._pyroConnection.sock  # noqa: SLF001


def request(uri: str, method: str, args: tuple[Any, ...], serializer: str) -> bytes:
    used = serializers[serializer]
    data = used.dumpsCall(Pyro5.api.URI(uri).object, method, args, {})
    message = protocol.SendingMessage(protocol.MSG_INVOKE, 0, 1, used.serializer_id, data)
    return bytes(message.data)


def call(uri: str, proxies: int, seconds: float, message: bytes) -> tuple[int, float]:
    """How many calls were answered, in how many seconds."""
    selector = selectors.DefaultSelector()
    clients = [connected(uri) for _ in range(proxies)]
    for _, sock in clients:
        selector.register(sock, selectors.EVENT_READ)
        sock.sendall(message)
    done, began = 0, time.perf_counter()
    until = began + seconds
    while time.perf_counter() < until:
        for key, _ in selector.select():
            client: Any = key.fileobj
            answer = client.recv(65536)
            assert len(answer) > HEADER_BYTES
            done += 1
            client.sendall(message)
    elapsed = time.perf_counter() - began
    for proxy, _ in clients:
        proxy._pyroRelease()  # noqa: SLF001
    return done, elapsed


def live(uri: str, seconds: float) -> tuple[int, float]:
    """How many tasks lived, in how many seconds."""
    with Pyro5.api.Proxy(uri) as proxy:
        done, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            proxy.addTaskRequest("sqrt", (2.0,))
            number, _, _ = proxy.getAnyTask()
            proxy.storeResult(number, 1.4)
            proxy.getAnyResult()
            done += 1
        return done, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure")
    parser.add_argument("--proxies", type=int, nargs="+", default=[1, 2, 16])
    parser.add_argument("--profile", action="store_true", help="profile our server instead")
    chosen = parser.parse_args()
    if chosen.profile:
        in_process(
            serve_profiled,
            lambda uri: call(uri, 4, chosen.seconds, request(uri, "ping", (0,), "serpent")),
        )
        return
    print(f"{'':26} {'ours/s':>10} {'stock/s':>10} {'ratio':>6} {'ours us':>10} {'stock us':>10}")

    def row(name: str, measure: Callable[[str], tuple[int, float]]) -> None:
        runs = [
            (in_process(serve_by_loop, measure), in_process(serve_by_stock_daemon, measure)) for _ in range(3)
        ]
        ours, stock = (statistics.median(run[k][0] for run in runs) for k in (0, 1))
        ours_us, stock_us = (statistics.median(run[k][1] for run in runs) for k in (0, 1))
        ratio = ours / stock
        print(
            f"{name:26} {ours:>10,.0f} {stock:>10,.0f} {ratio:>6.2f} {ours_us:>10.1f} {stock_us:>10.1f}",
            flush=True,
        )

    for serializer in ("serpent", "msgpack"):
        for proxies in chosen.proxies:
            row(
                f"ping, {serializer}, {proxies} proxies",
                lambda uri, n=proxies, s=serializer: call(  # type: ignore[misc]
                    uri, n, chosen.seconds, request(uri, "ping", (0,), s)
                ),
            )
    row("life, serpent, 1 proxy", lambda uri: live(uri, chosen.seconds))


if __name__ == "__main__":
    main()
