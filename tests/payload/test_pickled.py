"""Pickles: arrays beside them, code by value, and what cannot be written or read."""

from __future__ import annotations

import importlib
import os
import pickle
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pyrotask.core.model import PICKLE, Payload
from pyrotask.errors import PayloadError
from pyrotask.payload import (
    decode,
    encode,
    encode_pickle,
)
from tests.payload.troubles import Bad, Bomb, Silent
from tests.payload.values import nested

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("dtype", ["f8", "c16", "i2"])
def test_a_large_array_travels_beside_the_pickle(dtype: str) -> None:
    array = np.arange(100_000).astype(dtype).reshape(100, 1000)
    encoded = encode({"a": array, "b": (array[:50],)})
    assert [len(buffer) for buffer in encoded.buffers[1:]] == [array.nbytes, array.nbytes // 2]
    assert len(encoded.buffers[0]) < 1000
    np.testing.assert_array_equal(decode(encoded)["a"], array)
    np.testing.assert_array_equal(decode(encoded)["b"][0], array[:50])


@pytest.mark.parametrize("array", [np.arange(10), np.arange(100_000)[::2]], ids=["small", "not contiguous"])
def test_other_arrays_travel_in_the_pickle(array: Any) -> None:
    encoded = encode(array)
    assert len(encoded.buffers) == 1
    np.testing.assert_array_equal(decode(encoded), array)


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_array_is_a_copy_that_can_be_changed(size: int) -> None:
    array = np.zeros(size)
    encoded = encode(array)
    array[:] = 1
    first, second = decode(encoded), decode(encoded)
    first[:] = 2
    assert second.sum() == 0


def test_a_read_only_array_arrives_read_only() -> None:
    array = np.zeros(100_000)
    array.flags.writeable = False
    assert not decode(encode(array)).flags.writeable


def test_a_writable_buffer_is_used_without_copying_it() -> None:
    encoded = encode(np.zeros(100_000))
    received = bytearray(encoded.read()[1])
    array = decode(Payload(PICKLE, (encoded.buffers[0], received)))  # type: ignore[arg-type]
    array[0] = 1
    assert received[:8] == struct.pack("d", 1)


def test_a_lambda_and_a_closure_travel_by_value() -> None:
    offset = 10
    add, square = decode(encode((lambda x: x + offset, lambda x: x * x)))
    assert (add(1), square(3)) == (11, 9)


def test_a_class_of_the_main_script_travels_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("class Body:\n    def __init__(self, mass): self.mass = mass\n", namespace)
    with monkeypatch.context() as script:
        script.setattr(sys.modules["__main__"], "Body", namespace["Body"], raising=False)
        assert b"Body" in pickle.dumps(namespace["Body"](3))  # by name: it works here, nowhere else
        encoded = encode(namespace["Body"](3))
    assert decode(encoded).mass == 3


def test_a_function_of_an_importable_module_travels_by_name() -> None:
    assert decode(encode(os.path.join)) is os.path.join
    assert b"cloudpickle" not in encode(os.path.join).read()[0]


UNPICKLABLE: dict[str, Callable[[], Any]] = {
    "_thread.lock": threading.Lock,
    "generator": lambda: (i for i in [1]),
    "list": lambda: nested(100_000, lambda v: [v]),
    "Bad ValueError": lambda: Bad(ValueError("no")),
    "Bad RecursionError": lambda: Bad(RecursionError()),
    "Bad SystemExit": lambda: Bad(SystemExit(1)),
    "Bad GeneratorExit": lambda: Bad(GeneratorExit()),
    "Bad and silent": lambda: Bad(Silent()),
}


@pytest.mark.parametrize("name", UNPICKLABLE)
def test_what_cannot_be_pickled_is_a_payload_error_that_names_the_type(name: str) -> None:
    with pytest.raises(PayloadError, match=rf"type \S*{name.partition(' ')[0]} cannot be pickled: \w+"):
        encode(UNPICKLABLE[name]())


def test_an_interrupt_while_pickling_is_the_users() -> None:
    with pytest.raises(KeyboardInterrupt):
        encode(Bad(KeyboardInterrupt()))


def test_a_module_that_is_missing_here_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orbit_code.py").write_text("class Orbit: pass\n")
    with monkeypatch.context() as there:
        there.syspath_prepend(tmp_path)
        encoded = encode(importlib.import_module("orbit_code").Orbit())
        there.delitem(sys.modules, "orbit_code")
    monkeypatch.delitem(sys.modules, "orbit_code", raising=False)
    with pytest.raises(
        PayloadError, match=r"module 'orbit_code'.*Each worker and client.*-c 'import orbit_code'"
    ):
        decode(encoded)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), RecursionError()], ids=repr)
def test_what_cannot_be_unpickled_is_a_payload_error_with_the_reason(error: BaseException) -> None:
    with pytest.raises(PayloadError, match=f"cannot be unpickled: {type(error).__name__}"):
        decode(encode_pickle(Bomb(error)))


@pytest.mark.parametrize("buffers", [(), (b"",), (b"\x80\x05garbage",), (b"\x80\x05\x97.",)], ids=repr)
def test_a_damaged_pickle_is_a_payload_error(buffers: tuple[bytes, ...]) -> None:
    with pytest.raises(PayloadError, match="cannot be unpickled"):
        decode(Payload(PICKLE, buffers))


def test_a_format_of_a_newer_version_is_named() -> None:
    with pytest.raises(PayloadError, match="format 'arrow' is unknown .* pip install -U pyrotask"):
        decode(Payload("arrow", (b"",)))
