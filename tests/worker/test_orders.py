"""What a supervisor tells its child."""

from __future__ import annotations

import subprocess
import sys

from pyrotask.config import Settings
from pyrotask.worker.orders import Orders, inheritable

PRINT_IT = (
    "import sys; from pyrotask.worker.orders import read_inherited; print(read_inherited(int(sys.argv[1])))"
)


def test_orders_arrive_as_they_were_given() -> None:
    orders = Orders(
        where="pi", modules=("some_tasks", "päth/more.py"), settings=Settings.load(max_crashes=7),
        period_s=5.0, info="node 7", parent_pid=1, slate=3, tray=(4, 5), rope=6, bell=7,
    )  # fmt: skip
    with inheritable(orders.to_json()) as letter:
        read = subprocess.run(
            [sys.executable, "-c", PRINT_IT, str(letter)],
            pass_fds=[letter],
            stdout=subprocess.PIPE,
            check=True,
        )
    assert Orders.from_json(read.stdout.decode()) == orders
