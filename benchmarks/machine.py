"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

SYNCS = 50
BUSY_LOAD = 0.5


def described(folder: Path) -> dict[str, str]:
    """The machine, by name; ``folder`` is where journals will be written."""
    load = os.getloadavg()[0]
    about = {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "a sync of its disk": f"{sync_us(folder):.0f} µs",
        "load before": f"{load:.1f}" + (", so it was busy with other work" if load > BUSY_LOAD else ""),
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return {name: value for name, value in about.items() if value}


def processor() -> str:
    """Its name as the system tells it, or the architecture."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def sync_us(folder: Path) -> float:
    """The median time of a small write in place and its sync."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))
        for _ in range(SYNCS):
            began = time.perf_counter()
            os.pwrite(file.fileno(), bytes(100), 0)
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6
