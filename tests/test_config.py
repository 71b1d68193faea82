from __future__ import annotations

import dataclasses
import json
import math
import re
import warnings
from pathlib import Path

import platformdirs
import pytest

from pyrotask.config import Settings, split_host_port
from pyrotask.core.model import Limits


def config_file(text: str) -> Path:
    path = platformdirs.user_config_path("pyrotask", appauthor=False) / "pyrotask.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


# ---- where a value comes from


def test_without_any_source_the_defaults_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYROTASK_RUNTIME_DIR")  # every test has this one

    assert Settings.load() == Settings()


def test_the_file_counts_more_than_the_default() -> None:
    config_file("max_crashes = 5")

    assert Settings.load().max_crashes == 5


def test_the_environment_counts_more_than_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    config_file("max_crashes = 5")
    monkeypatch.setenv("PYROTASK_MAX_CRASHES", "6")

    assert Settings.load().max_crashes == 6


def test_an_argument_counts_most(monkeypatch: pytest.MonkeyPatch) -> None:
    config_file("max_crashes = 5")
    monkeypatch.setenv("PYROTASK_MAX_CRASHES", "6")

    assert Settings.load(max_crashes=7).max_crashes == 7


def test_an_argument_of_none_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYROTASK_NAME_SERVER", "ns.example:9090")

    assert Settings.load(name_server=None).name_server == "ns.example:9090"


def test_an_empty_variable_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYROTASK_MAX_CRASHES", "")

    assert Settings.load().max_crashes == 3


def test_the_file_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config_file("max_losses = 1")
    (tmp_path / "mine.toml").write_text("max_losses = 20")
    monkeypatch.setenv("PYROTASK_CONFIG", str(tmp_path / "mine.toml"))

    assert Settings.load().max_losses == 20


def test_a_file_that_is_named_and_missing_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYROTASK_CONFIG", str(tmp_path / "mine.toml"))

    with pytest.raises(FileNotFoundError, match=r"mine\.toml.*unset PYROTASK_CONFIG"):
        Settings.load()


def test_a_file_that_is_no_toml_is_named() -> None:
    path = config_file("max_losses == 1")

    with pytest.raises(ValueError, match=re.escape(str(path))):
        Settings.load()


def test_every_setting_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        name: str(value)
        for name, value in dataclasses.asdict(
            Settings(name_server="ns.example:9090", journal=Path("jobs"))
        ).items()
    }
    for name, text in texts.items():
        monkeypatch.setenv(f"PYROTASK_{name.upper()}", text)

    assert Settings.load() == Settings(name_server="ns.example:9090", journal=Path("jobs"))


# ---- what is refused


def test_an_error_names_the_setting_its_value_its_source_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYROTASK_MAX_CRASHES", "many")

    with pytest.raises(ValueError, match="PYROTASK_MAX_CRASHES") as refused:
        Settings.load()
    assert str(refused.value) == (
        "setting max_crashes = 'many' (environment variable PYROTASK_MAX_CRASHES) cannot be: "
        "allowed is a whole number from 1 to 1000000"
    )


def test_an_error_in_the_file_names_the_file() -> None:
    path = config_file("plain_grace_s = -1")

    with pytest.raises(ValueError, match=rf"plain_grace_s = -1 \({re.escape(str(path))}\)"):
        Settings.load()


def test_a_wrong_value_is_told_even_where_a_better_source_hides_it() -> None:
    config_file("max_crashes = 0")

    with pytest.raises(ValueError, match="max_crashes = 0"):
        Settings.load(max_crashes=5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_crashes": 0},
        {"max_crashes": True},
        {"max_crashes": 2.0},
        {"max_message_bytes": 4 << 30},
        {"disconnected_factor": 0.5},
        {"plain_grace_s": math.nan},
        {"plain_grace_s": math.inf},
        {"plain_grace_s": "30"},
        {"key_file": ""},
        {"key_file": 3},
        {"name_server": "a:b:c"},
        {"name_server": "ns.example:0"},
        {"name_server": 9090},
    ],
    ids=str,
)
def test_a_value_that_cannot_be_is_refused_as_an_argument(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"setting {name} = .*\(argument\).*allowed is"):
        Settings.load(**wrong)


def test_settings_are_checked_without_load_too() -> None:
    with pytest.raises(ValueError, match=r"max_losses = 0 \(argument\)"):
        Settings(max_losses=0)


@pytest.mark.parametrize("source", ["argument", "environment", "file"])
def test_a_mistyped_setting_is_refused_with_the_near_miss(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = {"max_crash": 3} if source == "argument" else {}
    if source == "environment":
        monkeypatch.setenv("PYROTASK_MAX_CRASH", "3")
    if source == "file":
        config_file("max_crash = 3")

    with pytest.raises(ValueError, match=r"no setting max_crash \(.*did you mean max_crashes\?"):
        Settings.load(**arguments)


def test_a_setting_that_resembles_none_lists_all() -> None:
    with pytest.raises(ValueError, match="there are: .*max_crashes.*runtime_dir"):
        Settings.load(zzz=1)


# ---- what the values become


def test_the_limits_of_the_core_follow_from_the_settings() -> None:
    settings = Settings(
        liveness_factor=5, disconnected_factor=2, plain_grace_s=1.5, reconnect_grace_s=0.25,
        max_crashes=1, max_losses=2, max_waiting=3, max_result_bytes=2**20, max_keyed=4, max_sessions=5,
        session_retention_s=6, max_unconfirmed=7, max_reply_bytes=8192, keep_failed_s=0.5,
        max_kept_failures=9,
    )  # fmt: skip

    assert settings.limits() == Limits(
        liveness_factor=5, disconnected_factor=2.0, plain_grace_ns=1_500_000_000,
        reconnect_grace_ns=250_000_000, max_crashes=1, max_losses=2, max_waiting=3,
        max_result_bytes=2**20, max_keyed=4, max_sessions=5, session_retention_ns=6_000_000_000,
        max_unconfirmed=7, max_reply_bytes=8192, keep_failed_ns=500_000_000, max_kept_failures=9,
    )  # fmt: skip


def test_every_limit_of_the_core_but_one_has_a_setting() -> None:
    settings = {name.removesuffix("_s") for name in vars_of(Settings)}
    limits = {name.removesuffix("_ns") for name in vars_of(Limits)}

    assert limits - settings == {"recovery_grace"}  # a promise to workers, not a matter of taste


def vars_of(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "node-7.cluster"])
def test_an_address_to_listen_on_is_taken(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYROTASK_HOST", host)

    assert Settings.load().host == host


@pytest.mark.parametrize("wrong", ["", "a host", "node:9090", "[::1]", 7])
def test_what_is_no_address_to_listen_on_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="a host's name or address, without a port"):
        Settings(host=wrong)  # type: ignore[arg-type]


def test_the_default_settings_are_the_cores_default_limits() -> None:
    assert Settings().limits() == Limits()


def test_a_path_is_absolute_and_knows_the_home_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert Settings.load(key_file="~/my.key").key_file == tmp_path / "my.key"
    assert Settings.load(key_file=Path("my.key")).key_file == Path.cwd() / "my.key"


def test_the_runtime_directory_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYROTASK_RUNTIME_DIR")

    assert Settings.load().runtime_dir == platformdirs.user_runtime_path("pyrotask", appauthor=False)


def test_a_system_without_a_runtime_directory_is_served_without_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYROTASK_RUNTIME_DIR")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert Settings.load().runtime_dir.name == "pyrotask"


def test_loading_creates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYROTASK_RUNTIME_DIR")
    settings = Settings.load()

    assert not settings.runtime_dir.exists()
    assert not settings.key_file.parent.exists()


def test_settings_can_be_handed_on_as_a_document(tmp_path: Path) -> None:
    settings = Settings.load(max_crashes=7, journal=tmp_path, shutdown_timeout_s=math.inf)

    assert Settings(**json.loads(json.dumps(settings.to_plain()))) == settings


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().max_crashes = 4  # type: ignore[misc]


def test_a_shutdown_waits_for_the_work_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().shutdown_timeout_s == math.inf
    monkeypatch.setenv("PYROTASK_SHUTDOWN_TIMEOUT_S", "90")
    assert Settings.load().shutdown_timeout_s == 90


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("ns.example", "ns.example", None),
        ("ns.example:9090", "ns.example", 9090),
        ("my_broker:1", "my_broker", 1),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
        ("[::1]:9090", "::1", 9090),
        ("[fe80::1%eth0]", "fe80::1%eth0", None),
    ],
)
def test_host_and_port_are_parted(text: str, host: str, port: int | None) -> None:
    assert split_host_port(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", ":9090", "a:", "a:0", "a:65536", "a:b", "::1", "[::1", "[nonsense]:1", "a b:1", "-a:1"]
)
def test_what_is_no_host_and_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        split_host_port(text)
