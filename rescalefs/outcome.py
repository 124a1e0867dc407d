"""Pure: how a job ended, from its statuses and the end of its console log. The one place that decides.

A command that fails leaves its job `Completed`, as one that works does. So the last status is not enough:

- `Completed` with the reason `Completed successfully` is a success (Rescale's Nextflow plugin of 2025, and
  scripts of its employees), unless the log shows an exit code other than 0.
- `Stopping` with `User Terminated`, or `Force Stop`, is a stop, whatever follows.
- `Stopping` with `A run failed`, or `Completed` with any other reason, is a failure.

`process_output.log` has one form from 2017 to 2023 (logs that Rescale published with its simulation monitor):
each line begins with `[2023-01-31T01:02:03Z]: `; each analysis ends with `Exited with code <N>` and an empty
line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rescalefs.model import JobStatus, Outcome, RemoteFile, Result, is_terminal

CONSOLE_LOG = "process_output.log"  # an output of every job: what its commands print
TAIL_BYTES = 800  # of the log's end: the exit code, and the solver's last lines
TAIL_BYTES_OF_SEVERAL = 64 << 10  # where a job has several analyses: an exit code stands at the end of each

_MOST_LINES = 6
_LONGEST_LINE = 200  # characters
_STAMP = r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\]: ?"
_STAMPED = re.compile(_STAMP)
_EXITED = re.compile(rf"{_STAMP}Exited with code (-?\d{{1,10}})\s*")
_BLANK = re.compile(rf"{_STAMP}\s*")
_LAUNCHING = re.compile(rf"{_STAMP}Launching ")
_SEE = f"(see outputs/{CONSOLE_LOG})"
_BY_USER = ("user terminated", "terminated by user", "by the user", "by a user")
_STOPS = ("force stop", "force stopped", "stopped", "terminated")


@dataclass(frozen=True, slots=True)
class ConsoleEnd:
    """What the end of a console log shows."""

    exit_codes: tuple[int, ...] = ()  # of the analyses that end in it, in their order
    lines: tuple[str, ...] = ()  # the last ones that the last command printed


def console_log(outputs: Sequence[RemoteFile]) -> RemoteFile | None:
    """The console log among a job's outputs; None where there is none, or one for each of several runs."""
    found = [file for file in outputs if (file.path or file.name) == CONSOLE_LOG]
    return found[0] if len(found) == 1 else None


def tail_bytes(analyses: int) -> int:
    """How much of the log's end is worth a request for a job of so many analyses."""
    return TAIL_BYTES if analyses <= 1 else TAIL_BYTES_OF_SEVERAL


def console_end(tail: bytes, *, is_whole: bool = False) -> ConsoleEnd:
    """What the last bytes of a log show; with ``is_whole`` they are all there is, else the first line is cut.

    A command may print `Exited with code 0` itself: such a line counts where the log or a block ends with it.
    """
    text = tail.decode("utf-8", "replace")
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")] if text else []
    if not is_whole:
        lines = lines[1:]
    complete = lines if text.endswith("\n") else lines[:-1]  # the code in a line that goes on may do so, too
    codes = [
        int(match[1])
        for number, line in enumerate(complete)
        if (match := _EXITED.fullmatch(line)) and _is_end_of_block(lines, number + 1)
    ]
    return ConsoleEnd(tuple(codes), _last_words(lines))


def _is_end_of_block(lines: list[str], following: int) -> bool:
    """Whether nothing but blank lines follows, or after them the next analysis."""
    while following < len(lines) and _BLANK.fullmatch(lines[following]):
        following += 1
    return following == len(lines) or _LAUNCHING.match(lines[following]) is not None


def _last_words(lines: list[str]) -> tuple[str, ...]:
    said = list(lines)
    while said and (_BLANK.fullmatch(said[-1]) or _EXITED.fullmatch(said[-1]) or not said[-1].strip()):
        said.pop()
    begun = max((number for number, line in enumerate(said) if _LAUNCHING.match(line)), default=-1)
    return tuple(_shown(line) for line in said[begun + 1 :][-_MOST_LINES:])


def _shown(line: str) -> str:
    text = _STAMPED.sub("", line, count=1) if _STAMPED.match(line) else line
    return text if len(text) <= _LONGEST_LINE else text[:_LONGEST_LINE] + "…"


def judged(statuses: Sequence[JobStatus], console: ConsoleEnd | None = None) -> Outcome | None:
    """How a job with this history, oldest first, ended; None where it has not.

    ``console`` is what the end of its log shows; None where that was not looked at.
    """
    last = next((each for each in reversed(statuses) if is_terminal(each.status)), None)
    if last is None:
        return None
    result, words = _verdict(statuses, last, console)
    codes = console.exit_codes if console is not None and console.exit_codes else None
    return Outcome(result, words, codes, log_seen=console is not None)


def _verdict(
    statuses: Sequence[JobStatus], last: JobStatus, console: ConsoleEnd | None
) -> tuple[Result, str]:
    status, reason = last.status.strip(), (last.reason or "").strip()
    word = _word(status)
    but = f"{status}, but " if word == "completed" else f"{status}: "
    stops = [each for each in statuses if _word(each.status).startswith(("stopping", *_STOPS))]
    said = [(each.reason or "").strip() for each in (*stops, last)]
    codes = console.exit_codes if console is not None else ()
    if _is_by_user(stops, said):
        return Result.STOPPED, f"{but}stopped by a user"
    if any(codes):
        return Result.FAILED, f"{but}{_exits(codes)} {_SEE}"
    if any("run failed" in each.lower() for each in said):
        return Result.FAILED, f"{but}failed: a run failed {_SEE}"
    if word in _STOPS:
        return Result.STOPPED, f"{status}: {_lowered(reason)}" if reason else status
    if word == "failed":
        return Result.FAILED, f"{status}: {_lowered(reason)}" if reason else status
    if reason.lower().startswith("completed successfully"):
        return Result.SUCCEEDED, status
    return _without_success(status, but, next(filter(None, (reason, *said)), ""), console)


def _without_success(status: str, but: str, why: str, console: ConsoleEnd | None) -> tuple[Result, str]:
    """Of a job that is `Completed` and was not said to be so successfully."""
    if why:
        return Result.FAILED, f"{but}failed: {_lowered(why)}"
    if console is None:
        return Result.UNKNOWN, status
    if console.exit_codes:
        return Result.SUCCEEDED, status
    return Result.UNKNOWN, f"{but}whether it worked is not known: neither a reason nor an exit code says so"


def _is_by_user(stops: Sequence[JobStatus], said: Sequence[str]) -> bool:
    if any(mark in each.lower() for each in said for mark in _BY_USER):
        return True
    return any(_word(each.status).startswith("force stop") for each in stops)


def _exits(codes: Sequence[int]) -> str:
    if len(codes) == 1:
        return f"the command ended with exit code {codes[0]}"
    return f"the commands ended with exit codes {', '.join(map(str, codes))}"


def _word(status: str) -> str:
    return " ".join(status.replace("_", " ").lower().split())


def _lowered(reason: str) -> str:
    """``reason`` within a sentence: `Could not …` begins small, `SIGKILL …` does not."""
    return reason[:1].lower() + reason[1:] if reason[1:2].islower() or reason[1:2] == " " else reason
