"""Pure: what is known of a file or a job, in words: the extended attributes.

Of a file they are the columns of files.tsv. What is not known is left out.
"""

from __future__ import annotations

from collections.abc import Mapping

from rescalefs.model import Job, RemoteFile
from rescalefs.tree.jobfolder import JobFolder
from rescalefs.tree.nodes import Node, RemoteNode
from rescalefs.tree.outputs import Verification
from rescalefs.tree.tables import iso, type_word

FILE_FACTS = ("size", "type", "sha512", "verified", "id", "uploaded", "original")
JOB_FACTS = ("id", "name", "status", "outcome", "owner", "project", "inserted")


def facts(node: Node, verification: Verification) -> Mapping[str, str]:
    """What there is to say about ``node``; nothing for what is neither a remote file nor a job's folder."""
    if isinstance(node, RemoteNode):
        values = _of_file(node.file, verification)
    elif isinstance(node, JobFolder):
        values = _of_job(node.job)
    else:
        return {}
    return {name: value for name, value in values.items() if value}


def _of_file(file: RemoteFile, verification: Verification) -> Mapping[str, str]:
    values = (
        "" if file.size is None else str(file.size),
        "" if file.type_id is None else type_word(file.type_id),
        file.sha512 or "",
        verification(file),
        file.id,
        iso(file.uploaded) if file.uploaded else "",
        file.path or file.name,
    )
    return dict(zip(FILE_FACTS, values, strict=True))


def _of_job(job: Job) -> Mapping[str, str]:
    inserted = iso(job.inserted) if job.inserted else ""
    outcome = job.outcome.result.value if job.outcome is not None else ""
    values = (job.id, job.name, job.status, outcome, job.owner, job.project_id or "", inserted)
    return dict(zip(JOB_FACTS, values, strict=True))
