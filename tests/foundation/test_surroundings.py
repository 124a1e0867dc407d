"""What we start gets no key, and what we are comes from no folder that a user happens to be in."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rescalefs
from rescalefs import surroundings

_STARTS = {"run", "Popen", "call", "check_call", "check_output"}


def _starts_a_program(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "subprocess"
        and node.func.attr in _STARTS
    )


def _calls_of_subprocess() -> list[tuple[str, ast.Call]]:
    return [
        (f"{path.name}:{node.lineno}", node)
        for path in Path(rescalefs.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _starts_a_program(node)
    ]


def test_every_program_that_we_start_is_given_an_environment_of_our_choice() -> None:
    calls = _calls_of_subprocess()
    assert len(calls) >= 6
    without = [where for where, call in calls if "env" not in {each.arg for each in call.keywords}]
    assert without == []


def test_a_child_is_given_all_but_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESCALE_API_KEY", "k" * 40)
    monkeypatch.setenv("OTHER", "kept")
    environment = surroundings.for_children({"MORE": "x"})
    assert environment["OTHER"] == "kept"
    assert environment["MORE"] == "x"
    assert "k" * 40 not in environment.values()


def test_we_start_ourselves_without_a_look_into_the_current_folder(tmp_path: Path) -> None:
    for name in ("random", "click", "rescalefs", "logging"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('ran a file of the current folder')")
    command = surroundings.ourselves("--version")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("rescalefs ")


def test_the_way_in_for_older_pythons_does_not_look_there_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    test_we_start_ourselves_without_a_look_into_the_current_folder(tmp_path)


def test_what_is_relative_means_the_same_after_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = {
        "PATH": f"bin{os.pathsep}{os.pathsep}/usr/bin{os.pathsep}.",
        "PYTHONPATH": f"src{os.pathsep}{os.pathsep}/lib/x",
        "XDG_STATE_HOME": "state",
        "RESCALEFS_CACHE_DIR": "~/cache",
        "REQUESTS_CA_BUNDLE": "ca.pem",
        "TMPDIR": "/tmp",
        "OTHER": "a/b",
    }
    assert surroundings.without_the_folder(before) == {
        "PATH": "/usr/bin",
        "PYTHONPATH": f"{tmp_path}/src{os.pathsep}/lib/x",
        "XDG_STATE_HOME": f"{tmp_path}/state",
        "RESCALEFS_CACHE_DIR": "~/cache",
        "REQUESTS_CA_BUNDLE": f"{tmp_path}/ca.pem",
        "TMPDIR": "/tmp",
        "OTHER": "a/b",
    }


def test_a_program_in_the_current_folder_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "fusermount3"
    tool.symlink_to("/bin/true")  # a script of ours could not be run where the folder is mounted noexec
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f".{os.pathsep}{os.pathsep}relative")
    assert surroundings.program("fusermount3") is None
    monkeypatch.setenv("PATH", f".{os.pathsep}{tmp_path}")
    assert surroundings.program("fusermount3") == str(tool)


def test_the_folder_with_our_own_command_is_known() -> None:
    own = surroundings.own_programs()
    assert own is not None
    assert (own / "rescalefs").is_file()


def test_a_checkout_that_is_not_installed_is_found_by_the_daemon(tmp_path: Path) -> None:
    """`python -m rescalefs` in a checkout imports the package from the current folder alone."""
    (tmp_path / "rescalefs").symlink_to(Path(rescalefs.__file__).parent)
    own = str(Path(rescalefs.__file__).parents[1])
    script = (
        f"import sys; sys.path = [p for p in sys.path if p != {own!r}]; sys.path[0] = {str(tmp_path)!r}\n"
        "from rescalefs import surroundings\n"
        "print(surroundings.without_the_folder({}).get('PYTHONPATH'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == str(tmp_path)
