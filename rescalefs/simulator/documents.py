"""Records as the service shows them: every field of its answers is written here, and nowhere else. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from rescalefs.simulator import life
from rescalefs.simulator.catalogue import CORE_TYPES_BY_CODE
from rescalefs.simulator.records import FileRecord, JobRecord, RunRecord, StatusRecord

USER_ID = "XkpTse"
COMPANY = {"code": "simulator", "name": "Simulator"}
WORKSPACE = "Default workspace"
STORAGE = {"id": "simulator", "storageType": "disk", "encryptionType": "default"}

_LABELS = {life.COMPLETED: "label-success", life.FAILED: "label-danger", life.SAVED: ""}

Find = Callable[[str], FileRecord | None]


def user(email: str, workspace_id: str, max_job_hours: float | None = None) -> dict[str, Any]:
    """`users/me/`."""
    policy = {} if max_job_hours is None else {"maxJobHours": max_job_hours}
    return {
        **policy,
        "email": email,
        "firstName": "Sim",
        "lastName": "Ulator",
        "fullName": "Sim Ulator",
        "company": COMPANY,
        "workspace": {"id": workspace_id, "name": WORKSPACE},
    }


def time(moment: datetime | None) -> str | None:
    """``2016-04-21T17:24:34.898495Z``, always with six digits."""
    if moment is None:
        return None
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def status(record: StatusRecord) -> dict[str, Any]:
    """One entry of `statuses/`, whose dates have an offset, unlike others (a notebook of Rescale's, 2023)."""
    date = record.date.astimezone(timezone.utc).isoformat(timespec="microseconds")
    return {"status": record.status, "statusDate": date, "statusReason": record.reason}


def cluster_status(record: StatusRecord) -> dict[str, Any]:
    """One entry of `cluster_statuses/`."""
    return {"status": record.status, "statusDate": time(record.date), "statusReason": record.reason}


def instances(job: JobRecord) -> list[dict[str, Any]]:
    """`jobs/{id}/instances/`: the machines of a cluster that runs; the first one is the head."""
    if job.cluster_status != life.CLUSTER_STARTED:
        return []
    hardware = job.definition["jobanalyses"][0]["hardware"]
    nodes = CORE_TYPES_BY_CODE[hardware["coreType"]].nodes(hardware["coresPerSlot"])
    return [
        {
            "id": f"{job.id}-{number}",
            "publicIp": "127.0.0.1",
            "sshPort": 22,
            "username": f"uprod_{job.id}",
            "role": "WORKER" if number else "MASTER",
        }
        for number in range(nodes)
    ]


def file(record: FileRecord, owner: str, api: str) -> dict[str, Any]:
    """One file; ``api`` is the address of the API's root, with its slash."""
    path = _storage_path(record)
    folder, _, name = path.rpartition("/")
    document: dict[str, Any] = {
        "id": record.id,
        "name": record.name,
        "typeId": record.type_id,
        "path": path,
        "pathParts": {"container": "simulator", "path": folder, "name": name},
        "storage": STORAGE,
        "decryptedSize": record.size,
        "dateUploaded": time(record.uploaded),
        "downloadUrl": f"{api}files/{record.id}/contents/",
        "encodedEncryptionKey": record.secret,
        "isUploaded": record.is_uploaded,
        "isDeleted": record.is_deleted,
        "owner": owner,
        "sharedWith": [],
        "userTags": list(record.tags),
        "viewInBrowser": False,
        "md5": "",
        "fileChecksums": [],
    }
    if record.sha512 is not None:
        document["fileChecksums"] = [{"hashFunction": "sha512", "fileHash": record.sha512}]
    if record.relative_path is not None:
        document["relativePath"] = record.relative_path
    elif record.job_id is None:
        document["relativePath"] = record.name
    return document


def job_summary(job: JobRecord, storage: int, *, with_reason: bool = False) -> dict[str, Any]:
    """One entry of `jobs/`; ``storage`` is what its outputs take. Version 3 alone tells the reason."""
    newest = job.statuses[-1] if job.statuses else None
    reason = {"statusReason": newest.reason if newest else None} if with_reason else {}
    return {
        "id": job.id,
        "name": job.name,
        "owner": job.owner,
        "dateInserted": time(job.inserted),
        "jobStatus": {
            "content": job.status,
            "labelClass": _LABELS.get(job.status, "label-info"),
            "useLabel": bool(job.status),
            **reason,
        },
        "clusterStatusDisplay": {
            "content": job.cluster_status,
            "labelClass": "",
            "useLabel": False,
        },
        "analysisNames": [each["analysis"]["name"] for each in job.definition["jobanalyses"]],
        "sharedWith": list(job.shared_with),
        "isVisible": True,
        "storage": storage,
        "projectId": job.project_id,
        "tags": job.definition.get("tags") or [],  # (guess): job requests may carry them
    }


def job_detail(job: JobRecord, find: Find, api: str) -> dict[str, Any]:
    """`jobs/{id}/`: what was sent, the defaults, and the input files in full."""
    definition = job.definition
    return {
        "id": job.id,
        "name": job.name,
        "owner": job.owner,
        "dateInserted": time(job.inserted),
        **definition,
        "jobanalyses": [_analysis(each, find, job.owner, api) for each in definition["jobanalyses"]],
        "expectedRuns": _expected_runs(job),
        "projectId": job.project_id,
        "sharedWith": list(job.shared_with),
    }


def run(record: RunRecord, order: int, files: list[FileRecord], *, is_case: bool) -> dict[str, Any]:
    """One entry of `runs/`."""
    return {
        "id": record.id,
        "displayOrder": order,
        "dateStarted": time(record.started),
        "dateCompleted": time(record.completed),
        "outputFileCount": len(files),
        "outputFileSize": sum(each.size for each in files),
        "type": 3 if is_case else 2,
        "parent": None,
        "isOptimal": False,
        "variables": [
            {"name": name, "value": _number(value), "displayValue": value, "isRelative": False}
            for name, value in record.variables.items()
        ],
    }


def _storage_path(record: FileRecord) -> str:
    if record.job_id is None:
        return f"user/user_{USER_ID}/input/{record.id}/{record.name}"
    below = record.relative_path if record.relative_path is not None else record.name
    return f"user/user_{USER_ID}/output/job_{record.job_id}/run{record.run_id}/{below}"


def _analysis(analysis: dict[str, Any], find: Find, owner: str, api: str) -> dict[str, Any]:
    hardware = analysis["hardware"]
    kind = CORE_TYPES_BY_CODE[hardware["coreType"]]
    inputs = [
        {**file(found, owner, api), "decompress": entry["decompress"]}
        for entry in analysis["inputFiles"]
        if (found := find(entry["id"])) is not None
    ]
    cores = hardware["coresPerSlot"]
    summary = {
        "numberOfNodes": kind.nodes(cores),
        "memoryPerNode": kind.memory * cores,
        "storagePerNode": kind.storage * cores,
    }
    return {**analysis, "hardware": {**hardware, "coreSummary": summary}, "inputFiles": inputs}


def _expected_runs(job: JobRecord) -> int | None:
    if job.runs:
        return len(job.runs)
    is_doe = job.definition["jobvariables"] or job.definition["paramFile"] or job.definition["caseFile"]
    return None if is_doe else 1


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
