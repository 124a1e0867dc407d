"""Where a setting's value comes from, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import platformdirs
import pytest

from rescalefs.config import SETTINGS, Places, load_settings, profile_path
from rescalefs.config.values import connections, path, seconds, size, truth
from rescalefs.errors import BadFlags, BadSettings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_flags_win_over_environment_over_file_over_defaults(file: Path) -> None:
    file.write_text('cache_size = "1G"\nverify = "off"\nconnections = 4\nread_only = true\n')
    environ = {"RESCALEFS_CACHE_SIZE": "2G", "RESCALEFS_VERIFY": "strict"}
    settings = load_settings({"cache_size": "3G", "verify": None}, environ, file)
    assert settings.cache_size == 3 << 30
    assert settings.verify == "strict"
    assert settings.connections == 4
    assert settings.read_only is True
    assert settings.settle_time == 2.0
    assert settings.origins["cache_size"] == "flag --cache-size"
    assert settings.origins["verify"] == "variable RESCALEFS_VERIFY"
    assert settings.origins["connections"] == str(file)
    assert settings.origins["settle_time"] == "default"


def test_without_anything_the_defaults_hold(file: Path) -> None:
    settings = load_settings({}, {}, file)
    assert set(settings.origins) == {setting.name for setting in SETTINGS}
    assert set(settings.origins.values()) == {"default"}
    assert not settings.profile_was_chosen
    assert settings.cache_dir.is_absolute()


def test_all_wrong_values_are_named_at_once_with_their_source_and_a_right_one(file: Path) -> None:
    file.write_text('cache_sise = "1G"\nverify = "sometimes"\n')
    with pytest.raises(BadSettings) as failure:
        load_settings({"connections": "many"}, {"RESCALEFS_PATIENCE": "-1"}, file)
    text = str(failure.value)
    for part in (
        "no setting 'cache_sise'",
        f"verify = 'sometimes' ({file}) needs one of eof, strict, off",
        "connections = 'many' (flag --connections) needs auto, or a number from 1 to 128",
        "patience = '-1' (variable RESCALEFS_PATIENCE) needs a number of seconds above 0",
    ):
        assert part in text


def test_a_variable_that_sets_nothing_is_warned_about_with_the_one_that_was_meant(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"RESCALEFS_CACHE_SIZ": "3G", "RESCALEFS_DROP": "a job of ours has this one", "RESCALE_X": "1"}
    assert load_settings({}, environ, file).cache_size == 20 << 30
    assert [record.getMessage() for record in caplog.records] == [
        "RESCALEFS_CACHE_SIZ sets nothing; did you mean RESCALEFS_CACHE_SIZE?"
    ]


@pytest.mark.parametrize("content", [b"cache_size = ", b"\xff\xfe", b"[[["])
def test_a_file_that_is_not_toml_is_an_error_that_names_it(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(BadSettings, match=r"config\.toml cannot be read"):
        load_settings({}, {}, file)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("100", 100),
        ("1K", 1024),
        ("1.5k", 1536),
        ("20G", 20 << 30),
        ("2 GiB", 2 << 30),
        ("1tb", 1 << 40),
    ],
)
def test_sizes_are_in_powers_of_1024(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "G", "-1", "1X", "1e9", "20 G G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="500M"):
        size(text)


@pytest.mark.parametrize("text", ["nan", "inf", "0", "", "soon"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="seconds"):
        seconds(text)


def test_truth_connections_and_paths_are_read_as_people_write_them() -> None:
    assert (truth("Yes"), truth("0")) == (True, False)
    assert (connections("AUTO"), connections("16")) == ("auto", 16)
    assert path("~/x") == Path.home() / "x"
    for parse, text in ((truth, "maybe"), (connections, "0"), (path, " ")):
        with pytest.raises(ValueError, match="needs"):
            parse(text)
    with pytest.raises(ValueError, match="the whole path"):
        path("~nobody-has-this-name/x")


def test_a_command_may_be_off(file: Path) -> None:
    assert load_settings({}, {}, file).on_finished == ""
    assert (
        load_settings({}, {"RESCALEFS_ON_FINISHED": "mail -s done me"}, file).on_finished == "mail -s done me"
    )
    with pytest.raises(BadSettings, match="on_finished = '' "):
        load_settings({}, {"RESCALEFS_ON_FINISHED": ""}, file)


def test_flags_alone_that_are_wrong_are_told_apart(file: Path) -> None:
    with pytest.raises(BadFlags):
        load_settings({"connections": "many", "verify": "maybe"}, {}, file)
    with pytest.raises(BadSettings) as failure:
        load_settings({"connections": "many"}, {"RESCALEFS_VERIFY": "maybe"}, file)
    assert not isinstance(failure.value, BadFlags)
    file.write_text("nonsense")
    with pytest.raises(BadSettings) as failure:
        load_settings({"connections": "many"}, {}, file)
    assert not isinstance(failure.value, BadFlags)


def test_without_a_home_it_is_said_what_to_set(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for look in (profile_path, lambda: load_settings({}, {}, file), lambda: Places.of("me", file)):
        monkeypatch.setattr(platformdirs, "user_cache_path", homeless)
        monkeypatch.setattr(platformdirs, "user_data_path", homeless)
        with pytest.raises(BadSettings, match="Set HOME"):
            look()


def test_a_relative_path_in_the_file_begins_at_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text('cache_dir = "cache"')
    monkeypatch.chdir("/")
    assert load_settings({}, {}, file).cache_dir == tmp_path / "cache"
    file.write_text('cache_dir = "~/cache"')
    monkeypatch.setenv("HOME", "/home/me")
    assert load_settings({}, {}, file).cache_dir == Path("/home/me/cache")
    assert load_settings({"cache_dir": "x"}, {}, file).cache_dir == Path("/x")
