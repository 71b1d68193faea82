"""Every defect that the original had, and where the test is that it cannot come back."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent

OWN = "taskmanager/test_original_defects.py"
CONNECTIONS = "taskmanager/test_connections.py"
MASTER = "masterslave/test_master.py"
SLAVE = "masterslave/test_slave.py"
JOBS = "masterslave/test_jobs.py"
COMMAND = "masterslave/test_task_manager.py"

DEFECTS = {
    "a returned task was first in one of two indexes only": [
        (OWN, "test_return_to_the_front_in_one_of_two_indexes_only"),
    ],
    "a list was shortened while it was iterated, when a process left": [
        (OWN, "test_a_list_shortened_while_it_is_iterated_in_unregister"),
    ],
    "a late, repeated or unknown result blocked for ever": [
        (OWN, "test_a_late_repeated_or_unknown_result_blocks_for_ever"),
    ],
    "an error between acquire and release left the lock held": [
        (OWN, "test_an_error_between_acquire_and_release_leaves_the_lock_held"),
    ],
    "the thread of a killed idle slave took the next task with it": [
        (CONNECTIONS, "test_a_killed_client_that_waited_never_gets_a_task"),
        (CONNECTIONS, "test_the_next_in_line_gets_the_task_that_a_killed_client_would_have_got"),
        ("remote/test_server.py", "test_no_task_goes_to_a_client_that_has_just_died"),
    ],
    "process 0 was no process": [(OWN, "test_process_0_is_no_process")],
    "the info about a process went by its position": [(OWN, "test_process_info_by_position")],
    "the watchdog slept 60 s, read a dict outside its lock, and took the ping of a dead process": [
        (OWN, "test_a_watchdog_that_sleeps_60_s"),
        (OWN, "test_a_watchdog_that_reads_a_dict_outside_its_lock"),
        (OWN, "test_a_watchdog_that_accepts_the_ping_of_a_dead_process"),
    ],
    "every global state had the number 1": [(MASTER, "test_global_states_are_numbered_from_one")],
    "a shutdown waited for ever for a dead slave": [
        (SLAVE, "test_a_shutdown_does_not_wait_for_a_slave_that_was_killed"),
    ],
    "a script without a shutdown never ended": [
        (JOBS, "test_a_script_that_never_shuts_down_ends_when_its_tasks_are_done"),
        (JOBS, "test_a_script_that_does_nothing_ends"),
    ],
    "a conflict of names hung without a word": [
        (JOBS, "test_a_label_that_a_live_master_holds_is_a_plain_error"),
        (JOBS, "test_a_stale_label_is_taken_over"),
    ],
    "a task that nobody had a handler for was taken and returned in a hot loop": [
        (SLAVE, "test_a_slave_never_takes_a_task_it_has_no_handler_for"),
    ],
    "a result or exception that cannot be pickled killed the slave, then the next one": [
        (OWN, "test_an_unpicklable_result_or_exception_kills_the_slave_and_then_the_next_one"),
        (SLAVE, "test_whatever_a_task_raises_the_slave_lives_on"),
    ],
    "SystemExit in a task killed the slave": [(SLAVE, "test_whatever_a_task_raises_the_slave_lives_on")],
    "the ping thread died at the first connection error": [
        (SLAVE, "test_a_slave_keeps_its_task_when_its_connections_break"),
        (SLAVE, "test_a_slave_whose_companion_was_killed_works_on_and_gets_another"),
    ],
    "a slave could not be started by its master's host without a name server": [
        (COMMAND, "test_a_slave_is_started_without_any_name_server"),
    ],
    "everybody was woken for every task": [(OWN, "test_everybody_is_woken_on_every_add")],
    "every take searched the whole list": [(OWN, "test_every_take_searches_the_whole_list")],
    "tags were never forgotten": [(OWN, "test_tags_are_never_forgotten")],
    "children were never reaped": [(JOBS, "test_a_launched_slave_that_dies_leaves_no_zombie")],
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_there_is_a_test_for_each_defect(defect: str) -> None:
    for file, name in DEFECTS[defect]:
        module = ast.parse((HERE / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(module) if isinstance(node, ast.FunctionDef)}
