"""Pure: a job's command -> the files of the folder that it names, and how sure that is.

Sure is what a command runs (`./run.sh`), the script given to an interpreter (`python solve.py`), what it
reads (`< in.txt`, `cat mesh.msh`, `-i case.dat`, `input=wing.inp`), and the first word after a program that
looks like a file (`solver wing.cfg`). What an earlier part of the command may bring or make is not sure. What
a command writes (`> out.log`, `-o result.csv`, `tee x`) is no input.
"""

from __future__ import annotations

import enum
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rescalefs.submit.programs import (
    INPUT_OPTIONS,
    MORE_FOLLOW,
    OUTPUT_OPTIONS,
    Kind,
    is_result,
    kind_of,
    makes_arguments,
    starts_elsewhere,
    unwrapped,
)
from rescalefs.submit.shellwords import Simple, pipelines


class Use(enum.Enum):
    """What the command does with a file."""

    RUN = "runs"  # by itself: it has to be executable
    SHELL = "has a shell run"
    READ = "reads"
    PERHAPS = "may read"


@dataclass(frozen=True, slots=True)
class Named:
    """A file that a command names."""

    path: str  # below the folder
    use: Use
    is_sure: bool  # that it has to be there before the command starts


_UNPLAIN = re.compile(r"[$`*?\[\]{}~\\@:\x00-\x1f]")  # what a shell replaces, and what no plain path holds
_FILE = re.compile(r"(?!-)(?:[^/]*/)*[^/]+\.[A-Za-z][\w+-]{0,9}")  # with an extension
_NUMBER = re.compile(r"[-+\d.]+[eEdDfFlL][-+]?\d*")  # 1.e5
_KEY = re.compile(r"[-+~]{0,2}([A-Za-z][\w.-]*)=(.+)", re.DOTALL)
_CODE_OPTIONS = frozenset({"-c", "-e", "-m", "-E", "--eval", "-eval"})  # the code follows, or a module's name


def named(command: str, made: Iterable[str] = (), is_first: bool = True) -> tuple[Named, ...]:
    """The files that ``command`` names, each once, with the surest use of it.

    ``made`` are files that something else makes before it starts. Of an analysis that is not the first one,
    the analyses before may have made what it reads.
    """
    steps = pipelines(command)
    last = {
        word: number
        for number, step in enumerate(steps)
        for simple in step
        for word in (*simple.words, *simple.reads)
    }
    reading = _Reading(set(made), is_first, last)
    for number, step in enumerate(steps):
        reading.step(step, number)
    found: dict[str, Named] = {}
    for each in reading.found:
        known = found.get(each.path)
        if known is None or (each.is_sure and not known.is_sure):
            found[each.path] = each
    return tuple(found.values())


def sure(found: Iterable[Named]) -> Iterator[Named]:
    """Those that have to be there before the command starts."""
    return (each for each in found if each.is_sure)


def may_execute(command: str) -> bool:
    """Whether the command itself sets permissions."""
    return any(simple.words[:1] == ["chmod"] for step in pipelines(command) for simple in step)


@dataclass(frozen=True, slots=True)
class _Call:
    """One program with the words after it."""

    program: str
    words: list[str]
    own: bool  # whether a program of the folder has to be there
    code: bool  # whether a script that it names has to be there
    data: bool  # whether a file that it reads has to be there
    number: int  # of its pipeline


@dataclass
class _Reading:
    """What is known while a command is read from its first word to its last."""

    made: set[str]
    is_untouched: bool  # no program has run that may have made data
    last: dict[str, int]  # each word of the command -> the number of the last pipeline that has it
    is_unmade: bool = True  # none has run that may have made programs, as compilers and scripts do
    is_unbrought: bool = True  # none has run that may have brought scripts
    where: str | None = ""  # the folder in which it runs, below the drop's; None: not known
    above: list[str | None] = field(default_factory=list)  # where it ran before each `(` that is open
    found: list[Named] = field(default_factory=list)

    def step(self, pipeline: Sequence[Simple], number: int) -> None:
        """Programs that run at the same time."""
        makes = brings = False
        for simple in pipeline:
            self._enter(simple.depth)
            sure = not simple.is_conditional
            for path in simple.reads:
                self._note(path, Use.READ, sure and self.is_untouched)
            call = self._call(simple, sure, number)
            kind = self._program(call)
            makes |= kind in {Kind.OWN, Kind.INTERPRETER, Kind.SHELL, Kind.JAVA, Kind.OTHER}
            brings |= kind in {Kind.BRINGER, Kind.UNPACKER}
            self._make(simple.writes)
        self.is_untouched = self.is_untouched and not (makes or brings)
        self.is_unmade = self.is_unmade and not makes
        self.is_unbrought = self.is_unbrought and not brings

    def _enter(self, depth: int) -> None:
        """Go to where a part of the command runs that stands in so many parentheses."""
        while len(self.above) < depth:
            self.above.append(self.where)
        while len(self.above) > max(depth, 0):
            self.where = self.above.pop()

    def _call(self, simple: Simple, sure: bool, number: int) -> _Call:
        program, *rest = unwrapped(simple.words) or [""]
        sure = sure and not (simple.words and starts_elsewhere(simple.words))
        kind = kind_of(program)
        if "/dev/null" in simple.writes and kind in _MAY_FAIL:  # `cp old.txt new.txt 2> /dev/null`
            sure = False
        code, data = sure and self.is_unbrought, sure and self.is_untouched
        return _Call(program, rest, code and self.is_unmade, code, data, number)

    def _program(self, call: _Call) -> Kind:
        """Note what one program names; return how it has to be taken in what follows."""
        kind = kind_of(call.program)
        if kind is Kind.OWN:
            self._note(call.program, Use.RUN, call.own)
            self._arguments(call.words, call, not makes_arguments(call.program))
        elif kind in {Kind.INTERPRETER, Kind.SHELL, Kind.JAVA}:
            place = _SCRIPTS[kind](call.words)
            if place < len(call.words):
                self._note(call.words[place], Use.SHELL if kind is Kind.SHELL else Use.READ, call.code)
            script = call.words[place] if place < len(call.words) else ""
            self._arguments(call.words[place + 1 :], call, not makes_arguments(script))
        elif kind is Kind.OTHER:
            self._arguments(call.words, call, not makes_arguments(call.program))
        else:
            return self._tool(kind, call)
        return kind

    def _tool(self, kind: Kind, call: _Call) -> Kind:
        """The tools of a shell, of which it is known what they do with their words."""
        words = call.words
        if kind is Kind.FOLDER:
            is_plain = call.program == "cd" and words and not words[0].startswith("-") and call.code
            self.where = self._path(words[0]) if is_plain else None
        elif kind is Kind.SOURCE:
            if words and ("/" in words[0] or _is_file(words[0])):
                self._note(words[0], Use.SHELL, call.own)
        elif kind is Kind.TAR:
            if not _unpacks(words):
                return Kind.MAKER
            self._read(words[1:], call)
            return Kind.UNPACKER
        elif kind is Kind.READER:
            option = words.index("-o") + 1 if "-o" in words else len(words)  # of sort
            self._make(words[option : option + 1])
            self._read(words, call)
        elif kind is Kind.UNPACKER:
            self._read(words, call)
        elif kind is Kind.MAKER:
            self._make(words)
        elif kind is Kind.COPIER:
            return self._copy([each for each in words if not each.startswith("-")], call)
        return kind

    def _copy(self, words: list[str], call: _Call) -> Kind:
        *sources, target = words or [""]
        self._read(sources, call)
        self._make([target, *(f"{target}/{posixpath.basename(each)}" for each in sources)])
        spreads = any(posixpath.basename(each) in {"", "."} for each in sources)  # what is in it, not it
        is_known = all(self._path(each) is not None for each in sources)
        is_known = is_known and not (spreads and self._path(target) == "")
        return Kind.MAKER if is_known else Kind.BRINGER

    def _read(self, words: Iterable[str], call: _Call) -> None:
        for each in words:
            if _is_file(each):
                self._note(each, Use.READ, call.data)

    def _make(self, words: Iterable[str]) -> None:
        self.made.update(path for path in map(self._path, words) if path)

    def _arguments(self, words: Sequence[str], call: _Call, is_first: bool) -> None:
        """What a program is given that may do anything with it; ``is_first``: it reads the first file."""
        option = ""
        for word in words:
            key = _KEY.fullmatch(word)
            if key:
                self._valued(key[1], key[2], call)
            elif word.startswith("-") and not word[1:].isdigit():
                option = word.lstrip("-")
                continue
            elif option:
                self._valued(option, word, call)
                is_first = is_first and (option.lower() in MORE_FOLLOW | OUTPUT_OPTIONS or not _is_file(word))
            elif _is_file(word):
                is_input = is_first and not is_result(word) and self.last[word] == call.number
                self._note(word, Use.READ if is_input else Use.PERHAPS, call.data and is_input)
                is_first = False
            option = ""

    def _valued(self, key: str, value: str, call: _Call) -> None:
        if key.lower() in OUTPUT_OPTIONS:
            self._make([value])
        elif _is_file(value):
            is_input = key.lower() in INPUT_OPTIONS
            self._note(value, Use.READ if is_input else Use.PERHAPS, call.data and is_input)

    def _note(self, word: str, use: Use, is_sure: bool) -> None:
        path = self._path(word)
        if path and self.made.isdisjoint(_above(path)):
            self.found.append(Named(path, use, is_sure))

    def _path(self, word: str) -> str | None:
        """Where it lies below the drop, empty for the drop; None where it does not, or that is not known."""
        if self.where is None or not word or _UNPLAIN.search(word) or posixpath.isabs(word):
            return None
        path = posixpath.normpath(posixpath.join(self.where, word))
        return None if path == ".." or path.startswith("../") else "" if path == "." else path


def _above(path: str) -> Iterator[str]:
    """The path, and each folder above it."""
    while path:
        yield path
        path = posixpath.dirname(path)


def _script(words: Sequence[str]) -> int:
    """The place of an interpreter's script; beyond the end where it is told in another way what to run."""
    for place, word in enumerate(words):
        if word in _CODE_OPTIONS:
            break
        if not word.startswith("-") and _is_file(word):
            return place
    return len(words)


def _shell_script(words: Sequence[str]) -> int:
    is_value = False  # of `-o pipefail`
    for place, word in enumerate(words):
        if not word.startswith(("-", "+")):
            if not is_value:
                return place
            is_value = False
        elif "c" in word and not word.startswith("--"):
            break
        else:
            is_value = word.endswith("o")
    return len(words)


def _jar(words: Sequence[str]) -> int:
    return list(words).index("-jar") + 1 if "-jar" in words else len(words)


_UNPACKING = frozenset({"--extract", "--get", "--list"})
_MAY_FAIL = frozenset({Kind.SOURCE, Kind.READER, Kind.COPIER, Kind.TAR, Kind.UNPACKER})
_SCRIPTS = {Kind.INTERPRETER: _script, Kind.SHELL: _shell_script, Kind.JAVA: _jar}


def _unpacks(words: Sequence[str]) -> bool:
    if not words or not _UNPACKING.isdisjoint(words):
        return bool(words)
    letters = [words[0], *(each for each in words[1:] if each[:1] == "-")]
    return any(each[:2] != "--" and ("x" in each or "t" in each) for each in letters)


def _is_file(word: str) -> bool:
    return bool(_FILE.fullmatch(word)) and not _NUMBER.fullmatch(word)
