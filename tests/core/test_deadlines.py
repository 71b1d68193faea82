"""What must be looked at when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyrotask.core.deadlines import Deadlines, Due, Key

KEYS = st.builds(Key, st.sampled_from(Due), st.integers(0, 5))
INSTANTS = st.integers(0, 50)
STEPS = st.one_of(
    st.tuples(st.just("set"), KEYS, INSTANTS),
    st.tuples(st.just("clear"), KEYS),
    st.tuples(st.just("postpone"), st.frozensets(st.sampled_from(Due)), INSTANTS),
    st.tuples(st.just("pop"), INSTANTS),
)


@given(st.lists(STEPS, max_size=80))
def test_the_earliest_instant_is_always_found(story: list[tuple[object, ...]]) -> None:
    deadlines, model = Deadlines(), dict[Key, int]()
    for what, *how in story:
        if what == "set":
            key, at = how
            assert isinstance(key, Key)
            assert isinstance(at, int)
            deadlines.set(key, at)
            model[key] = at
        elif what == "clear":
            deadlines.clear(how[0])  # type: ignore[arg-type]
            model.pop(how[0], None)  # type: ignore[call-overload]
        elif what == "postpone":
            kinds, by = how
            deadlines.postpone(kinds, by)  # type: ignore[arg-type]
            model = {k: at + by * (k.due in kinds) for k, at in model.items()}  # type: ignore[operator]
        else:
            (now,) = how
            key = deadlines.pop_due(now)  # type: ignore[arg-type]
            due = {at for at in model.values() if at <= now}  # type: ignore[operator]
            assert (None if key is None else model.pop(key)) == min(due, default=None)
        assert deadlines.next_at() == min(model.values(), default=None)
        assert deadlines.all() == model
        assert len(deadlines) == len(model)


def test_an_instant_counts_as_come_when_it_is_now() -> None:
    deadlines = Deadlines()
    deadlines.set(Key(Due.TASK, 0), 10)

    assert deadlines.pop_due(9) is None
    assert deadlines.pop_due(10) == Key(Due.TASK, 0)
    assert deadlines.pop_due(10) is None


def test_setting_instants_again_and_again_takes_no_more_room() -> None:
    deadlines = Deadlines()
    for k in range(10_000):
        deadlines.set(Key(Due.PROCESS, 0), 10_000 - k)
        deadlines.set(Key(Due.PROCESS, 1), k)
        deadlines.clear(Key(Due.PROCESS, 1))

    assert len(deadlines._heap) < 100
    assert deadlines.next_at() == 1


def test_the_next_of_a_kind_are_told_earliest_first() -> None:
    deadlines = Deadlines()
    for number in (5, 3, 8, 1, 9, 2):
        deadlines.set(Key(Due.TASK, number), number)
        deadlines.set(Key(Due.WANT, number), number)
    deadlines.clear(Key(Due.TASK, 2))
    assert list(deadlines.soonest(Due.TASK, 100)) == [(number, number) for number in (1, 3, 5, 8, 9)]
    assert list(deadlines.soonest(Due.TASK, 6)) == [(1, 1), (3, 3)]
    assert list(Deadlines().soonest(Due.TASK, 1)) == []
