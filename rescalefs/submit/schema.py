"""The published JSON Schema of job.json: what an editor can know without the account and the folder.

It takes whatever `spec` takes; a test holds the two to each other.
"""

from __future__ import annotations

from importlib.resources import files


def schema_text() -> str:
    """The schema, as `rescalefs schema` prints it."""
    return files("rescalefs.submit").joinpath("job.schema.json").read_text(encoding="utf-8")
