"""Sessions: what clients of our own do, so that it happens once, and reaches them once.

    calls        a client numbers its calls. The reply to each is remembered until the client says
                 that it has it, so a repeated call is answered again, and not done again
    deliveries   each answer that is handed out in a session has a number. The client says up to
                 which one it has taken them over; the others come again when it asks for them
    contact      a session ends by `end`, or when there was no contact for too long; a later
                 call in it is `SessionExpired`, and nothing is done

These are commands, as those of `machine`. What is remembered is in the durable state, so a
restart changes nothing; only the time of the last contact begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import TYPE_CHECKING

from pyrotask.core import events as e
from pyrotask.core.deadlines import Due, Key
from pyrotask.core.endings import answer_of, size_of
from pyrotask.core.model import UNFINISHED, ConnectionId, Delivered, Nanoseconds, Session, SessionId
from pyrotask.core.recorder import Parked, Step, Steps
from pyrotask.errors import QueueFull, Refused, SessionExpired, TaskManagerTermination

if TYPE_CHECKING:
    from pyrotask.core.deadlines import Deadlines
    from pyrotask.core.endings import Endings
    from pyrotask.core.leases import Leases
    from pyrotask.core.liveness import Liveness
    from pyrotask.core.lookup import Lookup
    from pyrotask.core.matching import Matching
    from pyrotask.core.model import Limits
    from pyrotask.core.recorder import Recorder


class Sessions:
    """The commands of clients that have a session."""

    def __init__(
        self,
        recorder: Recorder,
        deadlines: Deadlines,
        limits: Limits,
        lookup: Lookup,
        liveness: Liveness,
        endings: Endings,
        leases: Leases,
        matching: Matching,
    ) -> None:
        self._recorder = recorder
        self._state = recorder.state
        self._deadlines = deadlines
        self._limits = limits
        self._lookup = lookup
        self._liveness = liveness
        self._endings = endings
        self._leases = leases
        self._matching = matching

    # --- opening and ending ---------------------------------------------------------------

    def open(self, now: Nanoseconds, name: str) -> Step:
        """A new session. The reply is its number. No other open one may have the name."""
        if name in self._state.names:
            raise Refused(f"session {self._state.names[name]} is named {name!r}: choose another name")
        if len(self._state.sessions) >= self._limits.max_sessions:
            raise QueueFull(
                f"{len(self._state.sessions)} sessions are open, and that is the most: close some, "
                "with Session.close() in the programs that opened them"
            )
        number = self._recorder.new_session()
        self._recorder.record(e.SessionOpened(now, number, name))
        self._contact(now, number)
        return self._recorder.step(number)

    def open_named(self, now: Nanoseconds, name: str) -> Step:
        """The open session of that name, or a new one: a second call changes nothing."""
        number = self._state.names.get(name)
        if number is None:
            return self.open(now, name)
        self._contact(now, number)
        return self._recorder.step(number)

    def end(self, now: Nanoseconds, number: SessionId, why: str = "it was closed") -> Step:
        """Its unfinished tasks are cancelled, its answers forgotten, and it has taken all over.

        Tasks with a key stay, for whoever submits the key again. Whoever is parked for answers
        of the session is told.
        """
        self._lookup.named_session(number)
        self._end(now, number, why)
        return self._recorder.step(None)

    def expire(self, now: Nanoseconds, number: SessionId) -> None:
        """Its instant has come. The command is `Machine.tick`."""
        self._end(now, number, "there was no contact for too long")

    def _end(self, now: Nanoseconds, number: SessionId, why: str) -> None:
        self._refuse_parked(now, number, lambda: SessionExpired(f"session {number} has ended: {why}"))
        claims = [self._state.tasks[task] for task in self._state.sessions[number].claims]
        mine = [task for task in claims if task.keyed is None]
        for task in claims:
            if task.keyed is not None:
                self._endings.unsubscribe(task, number)
        for task in mine:
            if task.state in UNFINISHED:
                self._leases.cancel(now, task, f"its session has ended: {why}")
        for task in mine:
            if task.number in self._state.tasks:  # else the last that needed it has taken it along
                self._endings.drop(task)
        self._deadlines.clear(Key(Due.SESSION, number))
        self._recorder.record(e.SessionEnded(number))
        self._matching.settle(now)

    def expect(self, now: Nanoseconds) -> None:
        """After a restart: all have the whole time again to be heard."""
        for number in self._state.sessions:
            self._contact(now, number)

    def contact(self, now: Nanoseconds, number: SessionId) -> Session:
        """A call in the session. Refused when it is not open."""
        session = self._lookup.named_session(number)
        self._contact(now, number)
        return session

    def _contact(self, now: Nanoseconds, number: SessionId) -> None:
        self._deadlines.set(Key(Due.SESSION, number), now + self._limits.session_retention_ns)

    # --- calls ------------------------------------------------------------------------------

    def once(
        self, now: Nanoseconds, number: SessionId, sequence: int, low_water: int, command: Callable[[], Step]
    ) -> Step:
        """Do the command, or give the reply that it got before.

        The client numbers its calls from 1; it has the replies up to ``low_water``. A command
        that refuses has changed nothing, so it is not remembered, and tried again if repeated.
        The reply of the command must be a tuple of whole numbers.
        """
        session = self.contact(now, number)
        if (reply := session.replies.get(sequence)) is not None:
            return self._recorder.step(reply)
        if sequence <= max(session.low_water, low_water):
            raise Refused(
                f"call {sequence} of session {number} was answered before, and its client said to have the "
                f"replies up to {max(session.low_water, low_water)}: nothing was done"
            )
        if len(session.replies) >= self._limits.max_unconfirmed and low_water <= session.low_water:
            raise Refused(
                f"{len(session.replies)} replies to calls of session {number} are remembered, and that is "
                "the most: say with each call up to which number you have them"
            )
        done = command()
        assert isinstance(done.reply, tuple), done
        steps = Steps()
        steps.add(done)
        self._recorder.record(e.CallAnswered(number, sequence, low_water, done.reply))
        return steps.ended_by(self._recorder.step(done.reply))

    # --- deliveries ---------------------------------------------------------------------------

    def collect(
        self,
        now: Nanoseconds,
        number: SessionId,
        *,
        count: int,
        taken_over: int = 0,
        received: int | None = None,
        tags: frozenset[str] | None = None,
        connection: ConnectionId | None = None,
        caller: object = None,
        timeout_at: Nanoseconds | None = None,
    ) -> Step:
        """Take up to ``count`` answers (0: only take over), each with the number of its delivery.

        ``taken_over`` is the last delivery that need not come again, ever. ``received`` is the
        last that the client has, taken over or not; those after it come (again) first. None:
        the same.

        The reply is a list of `Delivered`, of fewer if they are large. When there is none, it is
        empty if ``caller`` is None (a poll), and else `Parked`. Who is parked in the same session
        over an older connection is refused, and who would be while there is one over a newer: a
        client is in one place, and has reconnected.
        """
        session = self.contact(now, number)
        via = self._lookup.way(connection)
        received = taken_over if received is None else received
        newest = max(taken_over, received)
        if newest >= session.next_delivery:
            raise Refused(f"delivery {newest} of session {number} was never handed out")
        if via is not None:
            self._liveness.hear_over(now, via)
        self._take_over(session, taken_over)
        delivered = self._again(session, received, tags, count)
        view = self._state.finished.view(frozenset({number}), tags)
        room = min(count - len(delivered), self._limits.max_unconfirmed - len(session.handed_out))
        sent_bytes = sum(size_of(one.answer) for one in delivered)
        delivered += self._endings.deliver_many(view, room, sent_bytes)
        if delivered or caller is None:
            return self._recorder.step(delivered)
        if self._state.terminated:
            # Returned, not raised: something may have been taken over.
            return self._recorder.step(TaskManagerTermination())
        if self._is_parked_over_newer(number, connection):
            return self._recorder.step(Refused(_COLLECTED_ELSEWHERE))
        self._refuse_parked(now, number, lambda: Refused(_COLLECTED_ELSEWHERE), besides=connection)
        want = self._matching.park(
            self._matching.result_wants, view, caller,
            process=None, via=via, plain_only=False, timeout_at=timeout_at, session=number,
            deliveries=count,
        )  # fmt: skip
        return self._recorder.step(Parked(want))

    def _take_over(self, session: Session, up_to: int) -> None:
        numbers = [task for task, _ in takewhile(lambda one: one[1] <= up_to, session.handed_out.items())]
        self._endings.acknowledge([self._state.claim_of(number, session.id) for number in numbers])

    def _again(
        self, session: Session, received: int, tags: frozenset[str] | None, count: int
    ) -> list[Delivered]:
        """What is handed out, but did not arrive: as much as fits into one reply."""
        delivered: list[Delivered] = []
        if not session.handed_out or next(reversed(session.handed_out.values())) <= received:
            return delivered
        room_bytes = self._limits.max_reply_bytes
        for task, number in session.handed_out.items():
            if len(delivered) >= count or room_bytes <= 0:
                break
            answer = answer_of(self._state.tasks[task])
            if number > received and (tags is None or answer.tag in tags):
                delivered.append(Delivered(number, answer))
                room_bytes -= size_of(answer)
        return delivered

    def _is_parked_over_newer(self, number: SessionId, connection: ConnectionId | None) -> bool:
        others = [want.connection for want in self._matching.result_wants.of_session(number)]
        return connection is not None and any(other is not None and other > connection for other in others)

    def _refuse_parked(
        self,
        now: Nanoseconds,
        number: SessionId,
        error: Callable[[], Exception],
        besides: ConnectionId | None = None,
    ) -> None:
        mine = self._matching.result_wants.of_session(number)
        others = [want.id for want in mine if besides is None or want.connection != besides]
        self._matching.refuse(now, others, error)


_COLLECTED_ELSEWHERE = (
    "the answers of this session are collected over another connection now: a session is for one client "
    "at a time; open another session"
)
