"""Pure: what is known of the programs that commands start, and how they are told what to read and write."""

from __future__ import annotations

import enum
import posixpath
import re


class Kind(enum.Enum):
    """How a program takes the words after it."""

    OWN = "it lies in the job's folder"
    INTERPRETER = "runs a script"
    SHELL = "runs a shell script"
    JAVA = "runs a jar, or a class that no file is called after"
    SOURCE = "reads a shell script"
    FOLDER = "changes the folder"
    READER = "reads the files it is given, and makes none"
    UNPACKER = "reads the files it is given, and makes what is in them"
    COPIER = "reads all but the last"
    TAR = "packs or unpacks"
    MAKER = "makes or removes the files it is given"
    BRINGER = "brings files, scripts among them"
    HARMLESS = "makes no files, and its words need not be files"
    OTHER = "of which nothing is known"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_INTERPRETER = re.compile(
    r"python[\d.]*|ipython3?|pypy3?|pvpython|pvbatch|Rscript|perl|ruby|julia|octave(?:-cli)?|node|tclsh|lua|gnuplot"
)
_KINDS = {
    Kind.SHELL: "sh bash dash ksh zsh csh tcsh",
    Kind.JAVA: "java",
    Kind.SOURCE: "source .",
    Kind.FOLDER: "cd pushd popd",
    Kind.READER: "cat chmod head tail wc sort cut paste dos2unix md5sum sha256sum sha512sum",
    Kind.UNPACKER: "unzip gunzip bunzip2 unxz gzip bzip2 xz 7z 7za unrar",
    Kind.COPIER: "cp mv ln",
    Kind.TAR: "tar",
    Kind.MAKER: "touch mkdir tee zip rm rmdir",
    Kind.BRINGER: "git svn hg wget curl aws gsutil az azcopy rclone rsync scp sftp make cmake ninja find "
    "xargs eval docker split csplit install snakemake scons waf",
    Kind.HARMLESS: "echo printf export set unset module ml ulimit umask date hostname nproc lscpu free df du "
    "ls pwd sleep true false : test [ [[ which type conda mamba micromamba pip pip3 alias "
    "nvidia-smi whoami id uname wait exit return trap shopt grep awk sed kill ssh ping ps top "
    "basename dirname",
}
_BY_NAME = {name: kind for kind, names in _KINDS.items() for name in names.split()}
_WRAPPERS = _words(
    "mpirun mpiexec mpiexec.hydra orterun srun time nice nohup exec env timeout stdbuf numactl "
    "taskset xvfb-run command sudo"
)

INPUT_OPTIONS = _words(
    "i in inp input inputfile input-file input_file infile in-file deck config conf cfg case "
    "casefile mesh geometry geom macro script batch journal jou param params parameters "
    "material materials"
)
"""Names of options, and of words before a `=`, whose value is read: `-i case.dat`, `input=wing.inp`."""

MORE_FOLLOW = INPUT_OPTIONS - _words("i in inp input inputfile input-file input_file infile in-file")
"""Those of them after which a file that stands by itself is still most likely read."""

OUTPUT_OPTIONS = _words(
    "o oo out output outfile out-file outputfile output-file output_file log logfile log-file "
    "dest destination save to report result results export plot"
)
"""Names of options, and of words before a `=`, whose value is written: `-o result.csv`."""

_RESULTS = _words(
    "png jpg jpeg gif svg pdf ps eps mp4 avi webm log out err html odb rst rth frd sta msg o so rout "
    "pvd tmp lock pid"
)
_OUTPUT_NAME = re.compile(
    r"(?:^|[^a-z])(?:out|output|res|results?|report|log|plot|fig|figure|summary|final|solution|sol|post|stats)"
    r"(?:[^a-z]|$)"
)
_MAKER_NAME = re.compile(r"(?:make|mk|gen|generate|create|write|build|download|fetch|export)(?:[^a-z]|$)")
_TWO_VALUES = _words("-mca --mca -gmca --gmca -genv -env --env")  # options of `mpirun`
_ELSEWHERE = _words("-wdir --wdir -wd --wd -workdir --workdir --chdir -C")
_DURATION = re.compile(r"[\d.]+[smhd]?")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def kind_of(program: str) -> Kind:
    """What is known of it; ``program`` is as the command has it, with its path."""
    name = posixpath.basename(program)
    if not name:
        return Kind.HARMLESS
    if "/" in program and not posixpath.isabs(program):
        return Kind.OWN
    return _BY_NAME.get(name) or (Kind.INTERPRETER if _INTERPRETER.fullmatch(name) else Kind.OTHER)


def unwrapped(words: list[str]) -> list[str]:
    """From the program on that `mpirun` and its like start."""
    while words and posixpath.basename(words[0]) in _WRAPPERS:
        place = 1
        while place < len(words) and not _is_program(words[place], words[place - 1]):
            place += 3 if words[place] in _TWO_VALUES else 1
        words = words[place:]
    return words


def _is_program(word: str, before: str) -> bool:
    """Whether a word of `mpirun` is the program, and no option or value of one."""
    if word.startswith("-") or _DURATION.fullmatch(word) or _ASSIGNMENT.match(word):
        return False
    is_known = kind_of(word) in {Kind.OWN, Kind.SHELL, Kind.INTERPRETER}
    return is_known or not before.startswith("-") or "=" in before


def starts_elsewhere(words: list[str]) -> bool:
    """Whether `mpirun` or its like is told a folder to start the program in."""
    return posixpath.basename(words[0]) in _WRAPPERS and not _ELSEWHERE.isdisjoint(words)


def makes_arguments(program: str) -> bool:
    """Whether a program or script of this name most likely writes the file that it is given first."""
    return bool(_MAKER_NAME.match(posixpath.basename(program).lower()))


def is_result(path: str) -> bool:
    """Whether a file of this name is most likely written and not read."""
    stem, extension = posixpath.splitext(posixpath.basename(path).lower())
    return extension[1:] in _RESULTS or bool(_OUTPUT_NAME.search(stem))
