"""The door of the command line: what is imported, and what becomes of errors."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from typing import NoReturn

import click
import pytest

from rescalefs.cli.connection import Connection
from rescalefs.cli.main import OVERVIEW, main, rescalefs
from rescalefs.errors import BadFlags, RescaleFSError, Unauthenticated

COMMANDS = [(name, module, line) for section in OVERVIEW.values() for name, (module, line) in section.items()]


def failing(error: BaseException) -> Connection:
    """A connection whose opening raises."""

    def open_client(profile: str | None) -> NoReturn:
        raise error

    return Connection(open_client)


@pytest.mark.parametrize(("name", "module", "line"), COMMANDS)
def test_the_overview_begins_as_the_command_itself_does(name: str, module: str, line: str) -> None:
    command = getattr(importlib.import_module(f"rescalefs.cli.{module}"), name)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert line.endswith(".")
    assert command.get_short_help_str(200).startswith(line[:-1])


def test_help_lists_every_command_and_imports_none() -> None:
    program = (
        "import sys; from rescalefs.cli.main import main; assert main(['--help']) == 0\n"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert all(f"  {name}" in done.stdout and line in done.stdout for name, _, line in COMMANDS)
    imported = set(done.stderr.split())
    assert not imported & {f"rescalefs.cli.{module}" for _, module, _ in COMMANDS}
    assert not imported & {
        "rich",
        "requests",
        "msgspec",
        "sqlalchemy",
        "watchdog",
        "fuse",
        "diskcache",
        "starlette",
    }


def test_a_daemon_keeps_nothing_in_memory_that_only_other_commands_need() -> None:
    program = "import sys, rescalefs.assembly.daemon; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert not imported & {"rich", "prometheus_client", "starlette", "uvicorn", "fsspec", "jsonschema"}


def test_an_error_we_foresaw_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs"], failing(Unauthenticated("two things are wrong:\n  this\n  that\n"))) == 1
    assert capsys.readouterr() == ("", "rescalefs: two things are wrong: this; that\n")


def test_an_error_without_words_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs"], failing(RescaleFSError())) == 1
    assert capsys.readouterr().err == "rescalefs: RescaleFSError\n"


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        main(["jobs"], failing(ZeroDivisionError()))


def test_ctrl_c_is_exit_code_130() -> None:
    assert main(["jobs"], failing(KeyboardInterrupt())) == 130


@pytest.mark.parametrize(
    "arguments", [["--wrong"], ["jobs", "--limit", "0"], ["statuses"], ["completion", "csh"]]
)
def test_wrong_usage_is_exit_code_2_with_a_hint(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Usage: rescalefs")


def test_a_misspelt_command_gets_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["job"]) == 2
    assert "No such command 'job'. Did you mean 'jobs'?" in capsys.readouterr().err


def test_a_reader_that_has_gone_is_met_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(
        [sys.executable, "-m", "rescalefs", "completion", "bash"], stdout=writing, stderr=subprocess.PIPE
    ) as process:
        os.close(writing)
        _, complaint = process.communicate(timeout=60)
    assert (process.returncode, complaint) == (1, b"")


def test_python_m_rescalefs_is_rescalefs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rescalefs", "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.startswith("rescalefs ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_RESCALEFS_COMPLETE" in script
    assert "rescalefs" in script


def test_a_shell_asks_for_names_and_gets_them() -> None:
    environment = {
        **os.environ,
        "_RESCALEFS_COMPLETE": "bash_complete",
        "COMP_WORDS": "rescalefs sta",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "rescalefs"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["plain,status", "plain,statuses"]


def test_a_group_without_arguments_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage: rescalefs" in capsys.readouterr().err
    assert rescalefs.name == "rescalefs"


def test_a_file_that_cannot_be_written_is_named_before_what_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["jobs"], failing(PermissionError(13, "Permission denied", "/home/x/apiconfig"))) == 1
    assert capsys.readouterr().err == "rescalefs: /home/x/apiconfig: Permission denied\n"


def test_flags_alone_that_make_no_sense_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs"], failing(BadFlags("connections = 'x' (flag --connections) needs a number"))) == 2
    assert capsys.readouterr().err.startswith("rescalefs: connections = 'x'")


def test_letters_that_the_locale_lacks_are_written_as_their_numbers() -> None:
    program = (
        "from rescalefs.cli.main import main; from rescalefs.cli.listing import print_json\n"
        "main(['completion', 'bash']); print('größer ☃'); print_json('☃ 📐')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
        timeout=60,
    )
    text, as_json = done.stdout.decode("latin-1").splitlines()[-2:]
    assert text == r"größer \u2603"
    assert json.loads(as_json) == "☃ 📐"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_nothing_is_coloured_for_those_who_want_no_colour(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for variable in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(variable, raising=False)

    def open_client(profile: str | None) -> NoReturn:
        seen.append(click.get_current_context().color)
        raise RescaleFSError

    main(["jobs"], Connection(open_client))
    monkeypatch.setenv(name, value)
    main(["jobs"], Connection(open_client))
    assert seen == [None, False]


@pytest.mark.parametrize(("closed", "code"), [("<&-", 0), (">&-", 1), ("2>&-", 0), ("<&- 2>&-", 0)])
def test_closed_streams_leave_no_number_to_our_files_and_no_success_without_output(
    closed: str, code: int
) -> None:
    program = (
        "import os, sys; from rescalefs.cli.main import main; code = main(['schema']); "
        "sys.exit(code if os.open('/dev/null', os.O_RDONLY) > 2 else 99)"
    )
    shell = ["bash", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, program]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert bool(done.stdout) is (code == 0)
