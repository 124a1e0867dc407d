"""Pure: a command as a shell reads it -> its simple commands, in their pipelines."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_HERE = re.compile(r"(?<!<)<<-?(?!<)[ \t]*(['\"]?)(\w+)\1")
_OPERATOR = re.compile(r"\(\(|&>>|&>|>>|>\||>&|<<<|<>|<&|<|>|\|\||&&|\|&|[;&|()\n]")
_COMMENT = re.compile(r"(?:^|(?<=[\s;&|(]))#[^\n]*", re.MULTILINE)
_DESCRIPTOR = re.compile(r"(?<![^\s;&|()])\d+(?=[<>])")  # of `2> err.txt`
_LONGEST = 16 << 10  # characters that are read; a longer command is a program by itself
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_LEADING = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "{"})
_ALONE = frozenset({"fi", "done", "esac", "}", "for", "case", "select", "function"})
_CONDITIONS = frozenset({"if", "while", "until", "case", "test", "[", "[["})
_ENDING = frozenset({"exit", "return"})


@dataclass
class Simple:
    """One program and its words; what is redirected stands apart."""

    words: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)  # after <
    writes: list[str] = field(default_factory=list)  # after >
    is_conditional: bool = False  # it, or what follows it, may not run, or it may fail
    depth: int = 0  # how many `(` are open, whose `cd` ends with them


def pipelines(command: str) -> Sequence[Sequence[Simple]]:
    """The simple commands, in the order in which they run; those of a pipeline run at the same time.

    None where that is not clear.
    """
    if len(command) > _LONGEST:
        return ()
    try:
        tokens = list(_tokens(command))
    except ValueError:  # a quote is not closed
        return ()
    found: list[list[Simple]] = [[Simple()]]
    target: list[str] | None = None
    is_conditional, depth, alternatives = False, 0, list[int]()
    for word, operator in tokens:
        current = found[-1][-1]
        if not operator:
            (current.words if target is None else target).append(word)
        elif "<" in operator or ">" in operator:
            target = _target(current, operator)
            continue
        elif operator in {"|", "|&"}:
            found[-1].append(Simple(depth=depth))
        else:
            is_conditional |= operator == "((" or any(_is_condition(each) for each in found[-1])
            depth += operator.count("(") - operator.count(")")
            if operator == "||":
                alternatives.append(len(found))
            found.append([Simple(is_conditional=is_conditional or operator == "||", depth=depth)])
        target = None
    stripped = [[_stripped(each) for each in pipeline] for pipeline in found]
    for place in alternatives:
        _doubt(stripped[place - 1], stripped[place][0])
    return [pipeline for pipeline in stripped if any(each.words or each.reads for each in pipeline)]


def _doubt(before: Sequence[Simple], alternative: Simple) -> None:
    """What stands before a `||` may fail, unless the command ends then."""
    if not _ENDING.intersection(alternative.words[:1]):
        for simple in before:
            simple.is_conditional = True


def _tokens(command: str) -> Iterator[tuple[str, str]]:
    """The words, and the operators between them; of each pair one is empty, and the second tells which."""
    text = _without_here(command.replace("\r\n", "\n").replace("\\\n", " "))
    text = _DESCRIPTOR.sub("", _COMMENT.sub("", text))
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|<>()\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    for token in lexer:
        if token and not token.strip(";&|<>()\n"):
            yield from (("", each) for each in _OPERATOR.findall(token))
        else:
            yield token, ""


def _without_here(text: str) -> str:
    """Without here documents: the lines after `<< EOF` up to `EOF`."""
    kept, ends = [], list[str]()
    for line in text.split("\n"):
        if ends:
            ends = ends[1:] if line.strip() == ends[0] else ends
        else:
            ends = [each[2] for each in _HERE.finditer(line)]
            kept.append(_HERE.sub(" ", line))
    return "\n".join(kept)


def _target(current: Simple, operator: str) -> list[str] | None:
    if operator in {"<", "<>"}:
        return current.reads
    return [] if operator in {"<<<", "<&"} else current.writes


def _is_condition(simple: Simple) -> bool:
    """Whether what follows depends on it."""
    return bool(simple.words) and simple.words[0] in _CONDITIONS


def _stripped(simple: Simple) -> Simple:
    """Without the words of the shell itself, and assignments before the program."""
    words = simple.words
    while words and (words[0] in _LEADING or _ASSIGNMENT.match(words[0])):
        simple.is_conditional |= words[0] in {"else", "elif"}
        words = words[1:]
    simple.words = [] if words and words[0] in _ALONE else words
    simple.is_conditional |= _is_condition(simple)
    return simple
