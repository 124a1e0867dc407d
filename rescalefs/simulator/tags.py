"""Words that people put on jobs and files [Interlink 4.9]. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from starlette.responses import Response

from rescalefs.simulator.call import Call, answer, empty
from rescalefs.simulator.definition import REQUIRED, Invalid


def tag_names(sent: Iterable[Any]) -> list[str]:
    """The words, each once; a request may carry objects with a name as well."""
    names = (each.get("name") if isinstance(each, dict) else each for each in sent)
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))


def tags_changed(call: Call, kept: Sequence[str], keep: Callable[[list[str]], object]) -> Response:
    """Answer a request to a ``tags/``: GET lists them, POST adds ``{"name": …}``, DELETE takes it away."""
    if call.method in ("GET", "HEAD"):
        return answer([_document(name) for name in kept])
    name = call.fields.get("name")
    if not isinstance(name, str) or not name.strip():
        raise Invalid({"name": [REQUIRED]})
    others = [each for each in kept if each != name]
    if call.method == "DELETE":
        keep(others)
        return empty(204)
    keep([*others, name])
    return answer(_document(name), 201)


def _document(name: str) -> dict[str, str]:
    return {"name": name, "normalizedName": name.lower()}
