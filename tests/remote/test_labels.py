"""Labels in names and in file names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from Pyro5.core import URI

from pyrotask.remote.connection_file import ConnectionFile
from pyrotask.remote.labels import file_stem, object_name, quote_label, unquote_label
from tests.remote.naming import LABELS, NASTY_LABELS, OLD_SCRIPT_LABEL


@given(LABELS)
@example(OLD_SCRIPT_LABEL)
def test_a_label_comes_back_from_its_quoted_form(label: str) -> None:
    assert unquote_label(quote_label(label)) == label
    assert unquote_label(object_name(label).removeprefix("TaskManager.")) == label


@pytest.mark.parametrize("label", [*NASTY_LABELS, OLD_SCRIPT_LABEL])
def test_pyro_takes_the_object_name_of_every_label(label: str) -> None:
    uri = URI(f"PYRO:{object_name(label)}@127.0.0.1:5000")

    assert (uri.object, uri.location) == (object_name(label), "127.0.0.1:5000")


def test_a_label_without_blanks_and_at_signs_is_in_the_name_server_as_it_is_written() -> None:
    assert object_name(OLD_SCRIPT_LABEL) == f"TaskManager.{OLD_SCRIPT_LABEL}"


@given(LABELS)
@example("..")
@example(".")
@example(OLD_SCRIPT_LABEL)
def test_a_quoted_label_is_one_plain_file_name(label: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_~%-][A-Za-z0-9_.~%-]*", quote_label(label))


@given(LABELS)
@example("x" * 5000)
@example("ß" * 5000)
def test_a_file_name_is_never_too_long(label: str) -> None:
    assert len(ConnectionFile.path(Path(), label).name) <= 255


def test_long_labels_that_begin_alike_have_files_of_their_own() -> None:
    assert file_stem("x" * 1000) != file_stem("x" * 1001)


def test_a_label_that_looks_like_a_shortened_one_has_a_file_of_its_own() -> None:
    assert file_stem(file_stem("x" * 1000)) != file_stem("x" * 1000)


@pytest.mark.parametrize(("label", "error"), [("", ValueError), (None, TypeError), (3, TypeError)])
def test_what_is_no_label_is_refused(label: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="label"):
        quote_label(label)
