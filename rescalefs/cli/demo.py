"""`rescalefs demo`: the whole main job on a simulator, with ordinary shell commands and their real output."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click

import rescalefs
from rescalefs import signals, surroundings
from rescalefs.errors import RescaleFSError

_ENDING = (*signals.ENDING, signals.HANG_UP)
_UNDOING = 120.0  # [s] for everything to be ended and removed after a signal
_PATIENCE = 50.0  # seconds that any one command may take
_GRACE = 20.0  # [s] for a command to undo what it has begun; `rescalefs mount` waits for its daemon
_FUSE = Path("/dev/fuse")
_TIMED_OUT = 124  # what timeout(1) says when it ended the command, as it is meant to with `tail -f`


class DemoFailed(RescaleFSError):
    """A command of the demo did not do what it should."""


@click.command()
@click.option("--keep", is_flag=True, help="Leave everything mounted and running, to be explored.")
@click.option("--without-fuse", is_flag=True, help="Show it on real files, also where a mount works.")
def demo(keep: bool, without_fuse: bool) -> None:
    """Show the main job on a simulator, in a quarter of a minute.

    Starts a simulator of the Rescale API, mounts it, drops two jobs into submit/, follows them, reads and
    checks their results, unmounts, and removes what it made. Every command is shown before it runs, and runs
    for real. Where there is no FUSE, it is real files that it shows, kept up to date by `rescalefs sync`.
    """
    try:
        with signals.interrupting(_ENDING, _UNDOING, again=False):  # no second signal breaks off the undoing
            _show(keep, without_fuse)
    except signals.Terminated as error:
        sys.exit(128 + error.number)


def _show(keep: bool, without_fuse: bool) -> None:
    with _undone_at_the_end() as undo:
        folder = _folder(undo)
        stage = Stage(folder)
        simulator = stage.start_simulator(undo)
        if without_fuse or not _FUSE.exists():
            ending, following = _play_on_sync(stage, undo, without_fuse), "sync"
        else:
            stage.tell("Your account as a folder")
            undo.callback(stage.unmount)  # first: it may be told to end while it mounts
            stage.run("rescalefs mount Rescale")
            _play(stage)
            ending, following = "rescalefs umount Rescale", "mount"
        if keep:
            undo.pop_all()
            _say_how_to_end(folder, simulator.pid, ending)
            return
        stage.tell("And away again")
        stage.run(ending)
    click.secho(f"\nThat was all of it. Next: rescalefs login, rescalefs {following} ~/Rescale", bold=True)


@contextmanager
def _undone_at_the_end() -> Iterator[ExitStack]:
    """What is pushed onto the stack is done at the end of the block; a signal waits until it is."""
    with ExitStack() as undo:  # and once more, for a signal that comes between the next two lines
        try:
            yield undo
        finally:
            with signals.deferred():
                undo.close()


def _folder(undo: ExitStack) -> Path:
    """A folder for all that the demo makes, gone at the end."""
    with signals.deferred():
        try:
            folder = Path(tempfile.mkdtemp(prefix="rescalefs-demo-"))
        except OSError as error:
            raise DemoFailed(
                f"the demo has no place for its files: {error.strerror}. Set TMPDIR to a folder with room"
            ) from error
        undo.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _play_on_sync(stage: Stage, undo: ExitStack, was_asked_for: bool) -> str:
    """The same round on real files; return the command that ends it."""
    why = "as you asked" if was_asked_for else "there is no /dev/fuse here"
    stage.tell(f"Your account as a folder, without FUSE ({why}): real files, kept up to date")
    syncing = stage.start_sync(undo)
    stage.run("until [ -d Rescale/submit ]; do sleep 0.1; done; ls -l Rescale")
    _drop(stage)
    stage.run(_until("Rescale/submit/heat/status", "Executing"))
    stage.tell("Follow the solver while it runs")
    _follow(stage)
    stage.tell("Read what the small one found")
    stage.run(_until("Rescale/submit/pi/status", "Completed"))
    stage.run(_there("pi"))
    _read_results(stage)
    stage.tell("The solver is done, too")
    stage.run(_until("Rescale/submit/heat/status", "Completed"))
    stage.run(_there("heat"))
    _read_more(stage)
    stage.tell("The outputs of one job alone, over many connections")
    job = "$(basename $(readlink Rescale/submit/pi/job))"
    stage.run(f"rescalefs download {job} '*.res' --to fetched && ls -l fetched")
    return f"kill {syncing.pid}"


def _there(drop: str) -> str:
    """A shell command that waits for the files of a drop's job: sync may bring the last after their list."""
    folder = f"Rescale/submit/{drop}/job/outputs"
    check = f"cd {folder} && [ -s ../SHA512SUMS ] && sha512sum --status -c ../SHA512SUMS"
    return f"until ({check}) 2>/dev/null; do sleep 0.2; done"


def _play(stage: Stage) -> None:
    stage.run("ls -l Rescale")
    _drop(stage)
    stage.run(_until("Rescale/submit/heat/status", "Executing"))
    stage.tell("Follow the solver while it runs")
    _follow(stage)
    stage.tell("Read what the small one found")
    stage.run(_until("Rescale/submit/pi/status", "Completed"))
    _read_results(stage)
    stage.tell("The solver is done, too")
    stage.run(_until("Rescale/submit/heat/status", "Completed"))
    _read_more(stage)
    stage.run("cat Rescale/.rescalefs/status")


def _drop(stage: Stage) -> None:
    examples = shlex.quote(str(examples_folder()))
    stage.tell("Drop two jobs: a solver that runs for a while, and a small one")
    stage.run(f"cp -r {examples}/heat {examples}/pi .")
    stage.run("sed -i -e 's/^seconds *=.*/seconds = 7/' -e 's/^steps *=.*/steps = 70/' heat/heat.inp")
    stage.run("cp -r heat pi Rescale/submit/")
    stage.tell("See what becomes of them")


def _follow(stage: Stage) -> None:
    """The job is executing before its solver has written a line."""
    log = "Rescale/submit/heat/job/live/residuals.log"
    stage.run(f"until [ -s {log} ]; do sleep 0.2; done; ls Rescale/submit/heat/job/live/")
    stage.run(f"timeout 3 tail -n 3 -f {log}", allow=(_TIMED_OUT,))


def _read_results(stage: Stage) -> None:
    stage.run("(cd Rescale/submit/pi/job/ && find . | sort)")
    stage.run("head -n 5 Rescale/submit/pi/job/outputs/process_output.log")
    stage.run("grep -r pi --include='*.res' Rescale/submit/pi/job/outputs/")
    stage.run("(cd Rescale/submit/pi/job/outputs && sha512sum -c ../SHA512SUMS)")
    stage.run("cp -r Rescale/submit/pi/job/outputs results && ls -l results")


def _read_more(stage: Stage) -> None:
    stage.run("cat Rescale/submit/heat/status.log")
    stage.run("(cd Rescale/submit/heat/job/outputs && sha512sum --quiet -c ../SHA512SUMS && du -sh .)")
    stage.run("ls -l Rescale/by-name")


def _until(path: str, word: str) -> str:
    """A shell command that shows how a status changes, up to the line with ``word``."""
    return f"until grep -s {word} {path}; do cat {path} 2>/dev/null; sleep 0.3; done | uniq"


class Stage:
    """Runs shell commands in the demo's folder, showing each one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = _environment(folder)

    def tell(self, what: str) -> None:
        """Say what comes now."""
        click.secho(f"\n# {what}", fg="cyan", bold=True)

    def run(self, command: str, allow: Sequence[int] = ()) -> None:
        """Show a command, run it with its output going where ours goes, and insist that it succeeds."""
        click.secho(f"$ {command}", fg="green")
        sys.stdout.flush()
        try:
            code = self._wait_for(command)
        except subprocess.TimeoutExpired:
            raise DemoFailed(
                f"the demo stopped: this took longer than {_PATIENCE:.0f} s: {command}"
            ) from None
        if code not in (0, *allow):
            raise DemoFailed(f"the demo stopped: exit code {code} from: {command}")

    def _wait_for(self, command: str) -> int:
        """Its exit code. What ends us meanwhile ends all of its processes, too."""
        with ExitStack() as ending:
            with signals.deferred():
                process = subprocess.Popen(
                    ["bash", "-o", "pipefail", "-c", command],
                    cwd=self._folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
                ending.callback(_end_all, process)
            return process.wait(_PATIENCE)

    def start_simulator(self, undo: ExitStack) -> subprocess.Popen[str]:
        """Start the server, and let the commands that follow know where it is and by which key."""
        self.tell(
            "So that you wait less than usual: look for news, and take what was dropped, after a second"
        )
        haste = {"RESCALEFS_POLL_EVERY": "1", "RESCALEFS_SETTLE_TIME": "1"}
        click.secho(f"$ export {' '.join(f'{name}={value}' for name, value in haste.items())}", fg="green")
        self._environment |= haste
        self.tell("A Rescale of our own, on this machine")
        click.secho("$ rescalefs simulator --port 0 --data server &", fg="green")
        with signals.deferred(), (self._folder / "simulator.log").open("wb") as log:
            process = subprocess.Popen(
                surroundings.ourselves("simulator", "--port", "0", "--data", "server"),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                text=True,
            )
            undo.callback(_end, process)  # before anything is printed: who reads it may have gone
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            words = (self._folder / "simulator.log").read_text(errors="replace").strip()
            raise DemoFailed(f"the simulator ended with exit code {process.wait(_PATIENCE)}: {words}")
        click.echo(url)
        (self._folder / "url").write_text(url)
        self._environment["RESCALE_API_URL"] = url
        self._environment["RESCALE_API_KEY"] = (self._folder / "server" / "api_key").read_text().strip()
        return process

    def start_sync(self, undo: ExitStack) -> subprocess.Popen[str]:
        """Keep `Rescale` up to date with real files, in the background."""
        click.secho("$ rescalefs sync Rescale --live &", fg="green")
        with signals.deferred(), (self._folder / "sync.log").open("wb") as log:
            process = subprocess.Popen(
                surroundings.ourselves("sync", "Rescale", "--live"),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                text=True,
            )
            undo.callback(_end, process)
        return process

    def unmount(self) -> None:
        """Leave no mount behind, whatever went wrong."""
        mountpoint = self._folder / "Rescale"
        if mountpoint.is_mount():
            command = surroundings.ourselves("umount", str(mountpoint))
            subprocess.run(command, cwd="/", env=self._environment, check=False, timeout=_UNDOING)


def _environment(folder: Path) -> dict[str, str]:
    """Ours, but with settings, cache and drops of the demo's own, and `rescalefs` on the PATH."""
    usual = surroundings.without_the_folder()
    environment = {name: value for name, value in usual.items() if not name.startswith("RESCALE")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
        environment[f"XDG_{kind}_HOME"] = str(folder / ".local" / kind.lower())
    return environment


def examples_folder() -> Path:
    """The example jobs: beside the package in a checkout, within it when installed."""
    package = Path(rescalefs.__file__).parent
    for folder in (package / "examples", package.parent / "examples"):
        if (folder / "pi" / "job.json").is_file():
            return folder
    raise DemoFailed(f"the example jobs are neither in {package} nor beside it. Install rescalefs anew")


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """End a command that is not over, with all that it has started in its session.

    First by SIGTERM: `rescalefs mount` then ends its daemon, which has a session of its own.
    """
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_PATIENCE)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_PATIENCE)
        raise DemoFailed(f"{shlex.join(map(str, process.args))} had to be killed") from None  # type: ignore[arg-type]
    finally:
        if process.stdout is not None:
            process.stdout.close()


def _say_how_to_end(folder: Path, simulator: int, ending: str) -> None:
    click.secho(f"\nIt is all still there: look around in {folder}/Rescale", bold=True)
    click.echo("To use the same account from this shell:")
    click.echo(f"  export RESCALE_API_URL=$(cat {folder}/url) RESCALE_API_KEY=$(cat {folder}/server/api_key)")
    click.echo("To end it and remove everything:")
    ending = ending.replace("Rescale", f"{folder}/Rescale")
    click.echo(f"  {ending} && kill {simulator} && rm -r {folder}")
