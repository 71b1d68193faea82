"""A real Jupyter kernel, driven as a notebook drives it."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

T = TypeVar("T")

_V4: Any = nbformat.v4

CELL_S = 60
"""How long a cell may take before the test is a failure."""


class Kernel:
    """Runs cells, one after the other; can be interrupted and restarted. Made by `kernel_running`."""

    def __init__(self, client: NotebookClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client: Any = client  # its attributes are typed as "any of many, or None"
        self._loop = loop

    def run(self, source: str) -> str:
        """Run a cell; returns what the reader sees below it, as text. Raises CellExecutionError."""
        return self._await(self._run(self._new_cell(source)))

    def run_and_interrupt(self, source: str, when_printed: str) -> str:
        """Run a cell, press its stop button once it has printed a text; returns the name of its exception."""

        async def both() -> str:
            cell = self._new_cell(source)
            running = asyncio.ensure_future(self._run(cell))
            while when_printed not in _seen(cell) and not running.done():  # noqa: ASYNC110 - a cell has no event
                await asyncio.sleep(0.02)
            await self._client.km.interrupt_kernel()
            try:
                await running
            except CellExecutionError as error:
                return str(error.ename)
            return ""

        return self._await(both())

    def restart(self, *, now: bool = False) -> None:
        """As the menu does it; ``now``: killed, without a word."""

        async def restart() -> None:
            await self._client.km.restart_kernel(now=now)
            self._client.kc.stop_channels()
            self._client.kc = None
            await self._client.async_start_new_kernel_client()

        self._await(restart())

    @property
    def process(self) -> psutil.Process:
        """The process of the kernel."""
        return psutil.Process(self._client.km.provisioner.pid)

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def _new_cell(self, source: str) -> Any:
        cell = _V4.new_code_cell(source)
        self._client.nb.cells.append(cell)
        return cell

    async def _run(self, cell: Any) -> str:
        await self._client.async_execute_cell(cell, self._client.nb.cells.index(cell))
        return _seen(cell)


def _seen(cell: Any) -> str:
    """All text below a cell."""
    parts = [
        output["text"] if output["output_type"] == "stream" else output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    ]
    return "".join(parts)


@contextmanager
def kernel_running() -> Iterator[Kernel]:
    """A new kernel, until the end of the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of Jupyter's own libraries
        client = NotebookClient(_V4.new_notebook(), timeout=CELL_S, kernel_name="python3")
        loop = asyncio.new_event_loop()
        try:
            client.create_kernel_manager()
            manager: Any = client.km
            manager.shutdown_wait_time = CELL_S  # it is killed when it takes longer than that to end
            loop.run_until_complete(client.async_start_new_kernel())
            loop.run_until_complete(client.async_start_new_kernel_client())
            try:
                yield Kernel(client, loop)
            finally:
                loop.run_until_complete(client._async_cleanup_kernel())
        finally:
            loop.close()
