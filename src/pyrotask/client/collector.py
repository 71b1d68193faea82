"""The thread that waits for answers, gives them to the futures, and says what was taken over.

It asks for as long as somebody waits, in long polls; else it sleeps, and its connection is there for a
task that comes then (`client.lone`). What it got is acknowledged with the next call: until then it comes
again after a broken connection.
"""

from __future__ import annotations

import logging
import shlex
import time
from typing import TYPE_CHECKING

from pyrotask.client.ledger import deliveries_of, settle
from pyrotask.client.link import Stopped
from pyrotask.core.explain import Reason

if TYPE_CHECKING:
    from pyrotask.client.link import Link
    from pyrotask.client.lone import Lone
    from pyrotask.client.near import NearLink
    from pyrotask.client.state import State
    from pyrotask.client.work import Ask

log = logging.getLogger("pyrotask.client")

POLL_S = 60.0
"""How long one request for answers stays with the broker: the most that it allows."""

UNSURE_S = 0.2
"""The same, while all who wait do so for what is just being submitted. If that is refused, the request is
in vain, and until it is over no lone task goes directly."""

LINGER_S = 1.0
"""How long it asks on when nobody waits: whoever submits one task after the other has it asking already.
Not where tasks that come alone wait for their answers by themselves."""

QUIET_S = 0.05
"""How long nothing happens before it says what was taken over, if there is no other call to say it with."""

LOOK_S = 10.0
"""How long it sleeps at most."""

SHORTEST_S = 0.001

LATE_S = 30.0
"""How much later than that its answer may come before the connection counts as broken."""

AT_ONCE = 2_000
"""Answers in one reply: more would hold up everybody else at the broker."""

UNFINISHED = ["scheduled", "waiting", "running"]


class Collector:
    """Collects until the state says that all is over. `run` is the thread."""

    def __init__(self, state: State, link: Link | NearLink, session: int, lone: Lone) -> None:
        self._state = state
        self._link = link
        self._session = session
        self._lone = lone
        self._explained = False
        """Since the last answer it was said why it waits."""
        self._last_words: frozenset[str] = frozenset()

    def run(self) -> None:
        """Collect, until the state says that all is over."""
        try:
            self._state.wanted.open()
            is_quiet = False
            while self._state.error is None:
                tells = is_quiet or not self._lone.is_possible
                ask = self._state.next_ask(tells=tells, takes_lone=self._lone.prepare())
                if ask is None:
                    is_quiet = self._listen()
                else:
                    self._lone.rest()
                    self._do(ask)
        except Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - the thread's outermost frame: all who wait are told
            self._state.fail(error)
        finally:
            self._lone.end()
            self._link.close()

    def _listen(self) -> bool:
        """Wait until somebody wants something; a lone task that comes meanwhile is seen through.

        Returns whether nothing has happened for a while.
        """
        patience_s = QUIET_S if self._state.has_to_tell else LOOK_S
        before = time.monotonic()
        has_come = self._state.wanted.wait(self._link.fileno(), patience_s)
        is_quiet = time.monotonic() - before >= patience_s
        return not self._lone.see_through(has_come=has_come) and is_quiet

    def _do(self, ask: Ask) -> None:
        if ask.for_futures:
            self._wait_for_answers(ask)
        elif ask.for_readers:
            self._collect_for_readers(ask)
        elif self._lone.is_possible:
            self._collect(ask, 0, 0.0)
        else:
            self._collect(ask, AT_ONCE, LINGER_S)

    def _wait_for_answers(self, ask: Ask) -> None:
        left_s = self._state.settings.explain_after_s - ask.waited_s
        if left_s > 0:
            self._explained = False
        elif not self._explained:
            self._explained = True
            self._explain()
        patience_s = POLL_S if self._explained else max(left_s, SHORTEST_S)
        self._collect(ask, AT_ONCE, patience_s if ask.is_sure else min(patience_s, UNSURE_S))

    def _collect_for_readers(self, ask: Ask) -> None:
        if self._collect(ask, AT_ONCE, 0.0):
            return
        if self._is_anything_unfinished():
            patience_s = POLL_S if self._explained else self._state.settings.explain_after_s
            if not self._collect(ask, AT_ONCE, patience_s) and not self._explained:
                self._explained = True
                self._explain()
        # What finished between these two questions is there now.
        elif not self._collect(ask, AT_ONCE, 0.0):
            self._state.drained()

    def _collect(self, ask: Ask, count: int, wait_s: float) -> int:
        """Ask for answers, and settle what came. Returns how many came."""
        reply = self._link.call(
            "collect", self._session, ask.taken_over, count, wait_s, ask.received, timeout_s=wait_s + LATE_S
        )
        deliveries = deliveries_of(reply)
        if deliveries:
            self._explained = False
        for future, delivery in self._state.arrived(deliveries):
            settle(future, delivery)
        return len(deliveries)

    def _is_anything_unfinished(self) -> bool:
        after = None
        while True:
            which = {"session": self._session, "states": UNFINISHED}
            page = self._link.call("tasks", which, 1, after)
            if page["tasks"]:
                return True
            after = page["next"]
            if after is None:
                return False

    def _explain(self) -> None:
        """Say why it takes so long, if that is not simply because the workers are at work."""
        status = self._link.call("status")
        sentences = status["explanations"]
        # Brokers of version 1 may give no reasons.
        words = dict(zip(sentences, status.get("reasons", sentences), strict=True))
        # A broker of our own has no label, and its workers are on their way.
        usual = f"pyrotask worker {shlex.quote(status['label'])}" if status["label"] else None
        command = self._state.worker_command or usual
        hint = f": `{command}` starts one" if command else ""
        for sentence in sorted(words.keys() - self._last_words):
            reason = words[sentence]
            helps = hint if reason == Reason.NO_WORKER.value else ""
            log.log(logging.INFO if reason == Reason.BUSY.value else logging.WARNING, "%s%s", sentence, helps)
        self._last_words = frozenset(words)
