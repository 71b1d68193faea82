"""Which function runs which tag."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrotask.errors import HandlerError
from pyrotask.worker.handlers import Handlers, handler, working_directory_first


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, where modules can be written; what is imported is forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)
    working_directory_first()
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_decorated_function_handles_the_tag_of_its_name() -> None:
    @handler
    def sqrt(x: float) -> float:
        return math.sqrt(x)

    assert Handlers.of_namespace({"sqrt": sqrt})["sqrt"] is sqrt


def test_a_decorated_function_can_handle_any_tags() -> None:
    @handler("square root", "root")
    def sqrt(x: float) -> float:
        return math.sqrt(x)

    assert set(Handlers.of_namespace({"sqrt": sqrt})) == {"square root", "root"}


def test_a_decorated_function_can_be_called_as_before() -> None:
    @handler
    def sqrt(x: float) -> float:
        return math.sqrt(x)

    assert sqrt(9.0) == 3.0


def test_a_function_called_do_something_handles_something() -> None:
    def do_sqrt(x: float) -> float:
        return math.sqrt(x)

    assert Handlers.of_namespace({"do_sqrt": do_sqrt})["sqrt"] is do_sqrt


def test_a_function_that_is_both_has_one_tag() -> None:
    @handler
    def do_sqrt(x: float) -> float:
        return math.sqrt(x)

    assert list(Handlers.of_namespace({"do_sqrt": do_sqrt})) == ["sqrt"]


def test_other_names_are_no_handlers() -> None:
    def do_sqrt() -> None: ...
    def helper() -> None: ...

    names = {"do_sqrt": do_sqrt, "helper": helper, "do_": helper, "do_this": "a text"}
    assert list(Handlers.of_namespace(names)) == ["sqrt"]


def test_one_function_under_two_names_is_one_handler() -> None:
    @handler("root")
    def sqrt() -> None: ...

    assert list(Handlers.of_namespace({"sqrt": sqrt, "alias": sqrt})) == ["root"]


def test_without_handlers_the_error_tells_the_ways_to_write_one() -> None:
    with pytest.raises(HandlerError, match=r"@handler.*@handler\('square root'\).*do_sqrt"):
        Handlers.of_namespace({"helper": len}, "my_tasks.py")


def test_two_handlers_of_a_tag_are_refused_by_name() -> None:
    def do_sqrt() -> None: ...

    @handler("sqrt")
    def root() -> None: ...

    with pytest.raises(HandlerError, match="tag 'sqrt' has two handlers"):
        Handlers.of_namespace({"do_sqrt": do_sqrt, "root": root})


@pytest.mark.parametrize("tag", ["", 7, None])
def test_what_is_no_tag_is_refused(tag: object) -> None:
    with pytest.raises(TypeError, match="a tag must be a text"):
        handler(tag)  # type: ignore[call-overload]


def test_a_built_in_function_cannot_be_marked_and_the_error_says_what_to_do() -> None:
    with pytest.raises(TypeError, match="define a function of your own that calls it"):
        handler("length")(len)


def test_a_module_is_found_in_the_working_directory(folder: Path) -> None:
    (folder / "tasks_here.py").write_text("def do_sqrt(x): return x ** 0.5\n")
    assert Handlers.of_module("tasks_here")["sqrt"](9.0) == 3.0


def test_a_module_can_be_named_by_its_file(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "tasks_there.py").write_text("def do_sqrt(x): return x ** 0.5\n")
    function = Handlers.of_module("deep/tasks_there.py")["sqrt"]
    assert function.__module__ == "tasks_there"


def test_several_modules_give_their_handlers_together(folder: Path) -> None:
    (folder / "tasks_a.py").write_text("def do_a(): ...\n")
    (folder / "tasks_b.py").write_text("def do_b(): ...\n")
    assert set(Handlers.of_modules(["tasks_a", "tasks_b"])) == {"a", "b"}


def test_two_modules_with_the_same_tag_are_refused(folder: Path) -> None:
    (folder / "tasks_a.py").write_text("def do_x(): ...\n")
    (folder / "tasks_b.py").write_text("def do_x(): ...\n")
    with pytest.raises(HandlerError, match=r"tasks_a\.do_x and tasks_b\.do_x"):
        Handlers.of_modules(["tasks_a", "tasks_b"])


def test_a_missing_module_is_named_with_where_it_was_looked_for(folder: Path) -> None:
    with pytest.raises(HandlerError, match=f"'nowhere' was not found. Looked in {folder}.*--module"):
        Handlers.of_module("nowhere")


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(HandlerError, match=f"there is no file {folder / 'nowhere.py'}"):
        Handlers.of_module("nowhere.py")


def test_a_module_that_a_module_needs_is_named_with_the_command_to_install_it(folder: Path) -> None:
    (folder / "tasks_needy.py").write_text("import no_such_library\n")
    with pytest.raises(HandlerError, match="it needs 'no_such_library'.*pip install no_such_library"):
        Handlers.of_module("tasks_needy")


def test_an_error_in_a_module_is_told(folder: Path) -> None:
    (folder / "tasks_broken.py").write_text("1 / 0\n")
    with pytest.raises(HandlerError, match="ZeroDivisionError: division by zero"):
        Handlers.of_module("tasks_broken")


def test_a_script_that_ends_while_it_is_imported_is_told_how_not_to(folder: Path) -> None:
    (folder / "tasks_script.py").write_text("raise SystemExit(2)\n")
    with pytest.raises(HandlerError, match="if __name__ == '__main__'"):
        Handlers.of_module("tasks_script")


def test_a_file_that_another_module_hides_is_refused(folder: Path) -> None:
    (folder / "json.py").write_text("def do_x(): ...\n")
    with pytest.raises(HandlerError, match="rename yours"):
        Handlers.of_module("json.py")
