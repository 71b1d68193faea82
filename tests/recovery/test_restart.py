"""A broker with a journal ends, in whatever way, and another one goes on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from Pyro5.api import Proxy
from Pyro5.errors import CommunicationError

from pyrotask import Server, Settings, TaskManager, TaskManagerTermination
from pyrotask.cli import main
from pyrotask.errors import AddressInUse, BrokerBroken, QueueFull
from pyrotask.journal import JournalHeld, Policy
from pyrotask.journal.folder import Folder
from pyrotask.journal.recovery import fold
from tests.cli import commands
from tests.recovery.houses import LABEL, PATIENCE_S, Broker, manager, working
from tests.remote.serving import in_thread, plain_proxy


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


# --- in one process -------------------------------------------------------------------------------


def test_the_next_task_manager_goes_on_with_what_is_in_the_journal(journal: Path) -> None:
    with TaskManager(journal=journal) as first:
        process = first.registerProcess()
        task = first.addTaskRequest("sqrt", (2.0,))
        first.storeData(scale=3)
    with TaskManager(journal=journal) as second:
        assert second.getAnyTask(timeout=0) == (task, "sqrt", (2.0,))
        assert second.retrieveData("scale") == 3
        assert second.activeProcesses() == [process]


def test_the_number_of_a_task_that_is_gone_is_not_used_again(journal: Path) -> None:
    with TaskManager(journal=journal) as first:
        before = first.addTaskRequest("a", ())
        first.storeResult(first.getAnyTask()[0], 1)
        first.getAnyResult()
    with TaskManager(journal=journal) as second:
        assert second.addTaskRequest("a", ()) != before


def test_a_termination_is_for_good(journal: Path) -> None:
    with TaskManager(journal=journal) as first:
        first.terminate()
    with TaskManager(journal=journal) as second, pytest.raises(TaskManagerTermination):
        second.addTaskRequest("a", ())


def test_core_time_goes_on_where_it_was(journal: Path) -> None:
    with TaskManager(journal=journal) as first:
        before = first.broker.engine.now()
    with TaskManager(journal=journal) as second:
        assert second.broker.engine.now() > before


def test_the_settings_say_how_the_journal_is_kept(journal: Path) -> None:
    with TaskManager(Settings(journal_policy="interval"), journal=journal) as tm:
        assert getattr(tm.broker.engine.journal, "policy", None) is Policy.INTERVAL


def test_two_cannot_have_one_journal(journal: Path) -> None:
    with TaskManager(journal=journal), pytest.raises(JournalHeld, match=f"process {os.getpid()} on "):
        TaskManager(journal=journal)


def test_a_server_that_cannot_start_lets_go_of_its_journal(journal: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(AddressInUse):
        Server(label=LABEL, port=other.getsockname()[1], journal=journal, name_server="off").start()
    TaskManager(journal=journal).close()


def test_a_journal_for_a_task_manager_that_has_its_own_is_refused(journal: Path) -> None:
    with TaskManager() as tm, pytest.raises(ValueError, match="one of the two"):
        Server(tm, LABEL, journal=journal)


# --- a disk that is almost full ----------------------------------------------------------------------


def test_without_room_on_the_disk_only_new_tasks_are_refused(journal: Path) -> None:
    with TaskManager(journal=journal) as first:
        task = first.addTaskRequest("a", ())
    with TaskManager(Settings(journal_reserve_bytes=1 << 40), journal=journal) as tm:
        with pytest.raises(QueueFull, match="disk of the journal"):
            tm.addTaskRequest("a", ())
        assert tm.getAnyTask(timeout=0)[0] == task
        tm.storeResult(task, 1)
        assert tm.getAnyResult(timeout=0) == (task, "a", 1)


# --- what is sent is durable ------------------------------------------------------------------------


@pytest.mark.slow
def test_an_answer_is_collected_on_disk_when_it_is_sent(journal: Path) -> None:
    settings = Settings()
    with (
        Server(
            label=LABEL, settings=settings, journal=journal, name_server="off", connection_file=False
        ) as server,
        plain_proxy(server) as proxy,
    ):
        for number in range(50):
            task = proxy.addTaskRequest("a", [number])
            proxy.getAnyTask()
            proxy.storeResult(task, number)
            assert proxy.getAnyResult() == (task, "a", number)
            assert fold(Folder(journal)).state.tasks == {}


# --- as processes ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_broker_has_lost_nothing(journal: Path) -> None:
    with Broker(journal) as first:
        asked = [manager().addTaskRequest("double", (number, 0)) for number in range(3)]
        first.kill()
    with Broker(journal):
        assert [manager().getAnyTask(timeout=0)[0] for _ in asked] == asked


@pytest.mark.slow
def test_sigterm_sends_nobody_home(journal: Path, tmp_path: Path) -> None:
    with Broker(journal) as first, working(tmp_path, 1):
        first.tell_to_end()
        with Broker(journal):
            manager().addTaskRequest("double", (21, 0.0))
            assert manager().getAnyResult(timeout=PATIENCE_S)[2] == 42


def test_who_waits_at_a_broker_that_is_told_to_end_sees_a_broken_connection(journal: Path) -> None:
    with Broker(journal) as first:
        waiting = manager()
        assert waiting.numberOfActiveProcesses() == 0

        def collect() -> Any:
            waiting._pyroClaimOwnership()
            return waiting.getAnyResult()

        outcome = in_thread(collect)
        first.tell_to_end()
        assert isinstance(outcome(), CommunicationError)


@pytest.mark.parametrize("place", ["the same port", "another port"])
@pytest.mark.slow
def test_a_worker_keeps_what_it_has_begun_and_who_it_is(place: str, journal: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as meeting_place, Broker(journal) as first:
        meeting_place.settimeout(PATIENCE_S)
        with working(tmp_path, 1):
            task = manager().addTaskRequest("meet", (meeting_place.getsockname()[1],))
            meeting, _ = meeting_place.accept()
            before = manager().activeProcesses()
            first.kill()
            with meeting, Broker(journal, port=first.port if place == "the same port" else 0):
                meeting.sendall(b"!")
                assert manager().getAnyResult(timeout=PATIENCE_S) == (task, "meet", "met")
                assert manager().activeProcesses() == before
    folded = fold(Folder(journal))
    assert folded.state.late_answers == 0  # nobody else had it, so it was handed in once


@pytest.mark.slow
def test_a_plain_proxy_reconnects_to_the_same_port(journal: Path) -> None:
    with Broker(journal) as first:
        proxy = Proxy(first.uri)
        proxy.addTaskRequest("double", (1, 0))
        first.kill()
        with Broker(journal, port=first.port):
            with pytest.raises(CommunicationError):
                proxy.numberOfTasks()
            proxy._pyroReconnect(tries=10)
            assert proxy.numberOfTasks()[0] == {"double": 1}
            proxy._pyroRelease()


@pytest.mark.slow
def test_a_broker_whose_journal_cannot_be_written_stops_and_has_lost_nothing(journal: Path) -> None:
    stored = 0
    with Broker(journal, largest_file=4 << 20) as first:
        proxy = manager()
        with contextlib.suppress(BrokerBroken, CommunicationError):
            while True:
                proxy.storeData(**{f"v{stored}": "x" * 100_000})
                stored += 1
        ended = first.command.end()
    assert ended.code == 1
    assert "cannot be written any more" in ended.err
    assert "Traceback" not in ended.err.splitlines()[-1]
    assert stored > 10
    with Broker(journal):
        proxy = manager()
        for number in range(stored):
            assert len(proxy.retrieveData(f"v{number}")) == 100_000


# --- what the commands say ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_serve_names_the_holder_of_a_held_journal(journal: Path) -> None:
    with Broker(journal) as first:
        refused = commands.run("serve", "another", "--journal", str(journal), "--name-server", "off")
        assert refused.code == 1
        assert f"process {first.command.process.pid} on {socket.gethostname()}" in refused.err


@pytest.mark.slow
def test_serve_says_what_it_goes_on_with(journal: Path) -> None:
    with TaskManager(journal=journal) as tm:
        tm.addTaskRequest("a", ())
    with commands.Running("serve", "pi", "--journal", str(journal), "--name-server", "off") as broker:
        assert "(always); what can be lost: nothing" in broker.line(containing="its journal is")
        assert "1 task waits, 0 run" in broker.line(containing="it goes on")


@pytest.mark.slow
def test_serve_says_that_its_journal_was_terminated(journal: Path) -> None:
    with TaskManager(journal=journal) as tm:
        tm.terminate()
    said = commands.run("serve", "pi", "--journal", str(journal), "--name-server", "off")
    assert said.code == 0
    assert "it was terminated, for good" in said.err


@pytest.mark.slow
def test_the_environment_can_name_the_journal(journal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYROTASK_JOURNAL", str(journal))
    monkeypatch.setenv("PYROTASK_JOURNAL_POLICY", "never")
    with commands.Running("serve", "pi", "--name-server", "off", "--json") as broker:
        told = broker.event("serving")["journal"]
        assert (told["path"], told["policy"]) == (str(journal), "never")


def test_status_tells_of_the_journal(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Server(label="pi", journal=journal, name_server="off"):
        main(["status", "pi"])
        assert f"journal {journal}: " in (said := capsys.readouterr().out)
        assert "policy always, what can be lost: nothing" in said
        main(["status", "pi", "--json"])
        assert json.loads(capsys.readouterr().out)["journal"]["has_room"] is True
