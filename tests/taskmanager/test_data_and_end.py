"""Labelled data, and termination."""

from __future__ import annotations

from typing import Any

from tests.taskmanager.houses import House, ask, in_background, parked, refusal

# --- data -------------------------------------------------------------------------------------


def test_data_is_stored_retrieved_and_deleted(tm: Any) -> None:
    tm.storeData(a=1, b=[2.5, "x"])
    assert tm.retrieveData("a") == 1
    assert tm.retrieveData("b") == [2.5, "x"]
    tm.deleteData("a")
    with refusal("UnknownLabel", KeyError, "'a'", "storeData"):
        tm.retrieveData("a")
    assert tm.retrieveData("b") == [2.5, "x"]


def test_data_stored_again_is_replaced(tm: Any) -> None:
    tm.storeData(a=1)
    tm.storeData(a=2)
    assert tm.retrieveData("a") == 2


def test_a_missing_label_is_refused_and_not_waited_for(tm: Any) -> None:
    with refusal("UnknownLabel", KeyError, "'missing'"):
        tm.retrieveData("missing")
    with refusal("UnknownLabel", KeyError, "'missing'"):
        tm.deleteData("missing")


def test_all_labels_of_one_call_become_visible_together(house: House) -> None:
    # One event for all of them: nobody can see a part, and no restart can leave one.
    before = int(house.manager.broker.engine.journal.newest)
    house.client().storeData(**{f"label{k}": k for k in range(10)})
    assert int(house.manager.broker.engine.journal.newest) == before + 1
    assert len(ask(house, lambda m, _: m.state.data)) == 10


def test_when_one_value_cannot_be_stored_none_is(local: House) -> None:
    tm = local.client()
    with refusal("PayloadError", ValueError, "generator"):
        tm.storeData(good=1, bad=(k for k in range(3)))
    with refusal("UnknownLabel", KeyError):
        tm.retrieveData("good")


def test_every_name_can_be_a_label(tm: Any) -> None:
    tm.storeData(origin=1, call=2, label=3, kw=4, args=5, process_id=6)
    assert [tm.retrieveData(name) for name in ("origin", "call", "label")] == [1, 2, 3]


# --- termination ------------------------------------------------------------------------------


def test_everybody_who_waits_is_told_of_the_end_at_once(house: House) -> None:
    waiting = [
        in_background(house, "getAnyTask"),
        in_background(house, "getTaskWithTag", "t"),
        in_background(house, "getAnyResult"),
        in_background(house, "getResultWithTag", "t"),
    ]
    house.client().terminate()
    for call in waiting:
        with refusal("TaskManagerTermination", Exception, "terminated"):
            call.result()
    assert parked(house) == 0


def test_after_the_end_no_call_blocks(tm: Any) -> None:
    tm.terminate()
    for get in (tm.getAnyTask, tm.getAnyResult):
        with refusal("TaskManagerTermination", Exception):
            get()
    for get in (tm.getTaskWithTag, tm.getResultWithTag):
        with refusal("TaskManagerTermination", Exception):
            get("t")


def test_after_the_end_no_task_is_taken_on(tm: Any) -> None:
    tm.terminate()
    with refusal("TaskManagerTermination", Exception):
        tm.addTaskRequest("t", None)


def test_after_the_end_what_is_there_is_handed_out_and_collected(tm: Any) -> None:
    for k in range(2):
        tm.addTaskRequest("t", k)
    tm.storeResult(tm.getAnyTask()[0], "before")
    tm.terminate()
    assert tm.getAnyTask()[0] == "t_1"
    assert tm.getAnyResult()[2] == "before"


def test_after_the_end_the_results_of_running_tasks_are_taken(tm: Any) -> None:
    for k in range(2):
        tm.addTaskRequest("t", k)
        tm.getAnyTask()
    tm.terminate()
    tm.storeResult("t_0", "after")
    tm.storeException("t_1", ValueError("after"), "")
    assert tm.getAnyResult()[2] == "after"
    with refusal("TaskRaisedException", Exception):
        tm.getAnyResult()
    with refusal("TaskManagerTermination", Exception):
        tm.getAnyResult()


def test_terminating_twice_is_the_same_as_once(house: House) -> None:
    tm = house.client()
    tm.terminate()
    before = ask(house, lambda m, _: m.state.image())
    tm.terminate()
    assert ask(house, lambda m, _: m.state.image()) == before


def test_after_the_end_data_is_still_there(tm: Any) -> None:
    tm.storeData(a=1)
    tm.terminate()
    assert tm.retrieveData("a") == 1
