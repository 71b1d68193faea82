"""The life of a broker with a journal: one process after the other is killed, or told to end."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.recovery.houses import Broker

POLICIES = ("always", "always", "interval", "never")


class Deaths:
    """See the module's text. Made with the first broker alive; `start` begins the dying.

    Args:
        journal: the folder that they hand on.
        dice: when, and how.
        pauses_s: how long they live, between two bounds.
        logs: where their stderr goes, a file for each; None: nowhere.
        returned: called with each that is there, the first one too, in any thread.
    """

    def __init__(
        self,
        journal: Path,
        dice: random.Random,
        *,
        pauses_s: tuple[float, float] = (0.2, 1.5),
        logs: Path | None = None,
        returned: Callable[[Broker], object] = lambda _broker: None,
    ) -> None:
        self._journal = journal
        self._dice = dice
        self._pauses_s = pauses_s
        self._logs = logs
        self._returned = returned
        self.broker = Broker(journal).__enter__()
        returned(self.broker)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deaths")
        self.number = 0
        self.error: BaseException | None = None
        self.back_at: float | None = None
        """When the broker had come back; None once work was seen to go on."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The broker that lives now may go on."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def check(self) -> None:
        """Raise, if there will be no more brokers."""
        if self.error is not None:
            raise AssertionError("a broker could not be ended, or not be started") from self.error

    def bury(self) -> None:
        self.broker.__exit__()
        self._keep_log(self.broker)

    def _run(self) -> None:
        try:
            while not self._over.wait(self._dice.uniform(*self._pauses_s)):
                self._die()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error

    def _die(self) -> None:
        dead = self.broker
        if self._dice.random() < 0.25:
            dead.tell_to_end()
        else:
            dead.kill()
        dead.__exit__()
        self._keep_log(dead)
        self.number += 1
        port = dead.port if self._dice.random() < 0.5 else 0
        policy = self._dice.choice(POLICIES)
        try:
            self.broker = Broker(self._journal, port=port, policy=policy).__enter__()
        except AssertionError as error:
            if "another program listens" not in str(error):
                raise
            # The system has given the port to somebody else by now.
            self.broker = Broker(self._journal, policy=policy).__enter__()
        self.back_at = time.monotonic()
        self._returned(self.broker)

    def _keep_log(self, broker: Broker) -> None:
        if self._logs is not None:
            file = self._logs / f"broker-{self.number}-{broker.command.process.pid}.err"
            file.write_text(broker.command.told(), encoding="utf-8")
