"""Rows of the jobs table to records and back, field by field.

A row may be of a newer version, which runs beside this one or did: what cannot be read is said by name.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import RowMapping, Text, type_coerce
from vermeil_artifacts import ArtifactRef
from vermeil_errors import DataCorrupted, VermeilError, Violation
from vermeil_jobs.job import JobError, JobState, NewJob, Priority, Progress, Spec
from vermeil_jobs.states import Standing
from vermeil_jobs.storage import Record

from vermeil_registry.tables import JOBS, Json

_STANDING = tuple(field.name for field in fields(Standing) if field.name not in ("state", "error"))
_JSON = frozenset(column.name for column in JOBS.c if isinstance(column.type, Json))
COLUMNS = tuple(
    type_coerce(column, Text).label(column.name) if column.name in _JSON else column for column in JOBS.c
)
"""What to select for `to_record`: JSON as its text, so that a broken one does not spoil a whole page."""


def fixed_values(record: Record) -> dict[str, Any]:
    """What never changes of a job, by column."""
    new = record.new
    return {
        "name": record.name,
        "owner": new.owner,
        "request_id": new.request_id,
        "kind": new.kind,
        "queue": new.queue,
        "spec_type": new.spec.type_url,
        "spec_value": new.spec.value,
        "after": new.after,
        "inputs": _artifacts_to_json(new.inputs),
        "traceparent": new.traceparent,
        "create_time": record.create_time,
        "priority": new.priority.value,
        "turn": record.turn,
    }


def changing_values(record: Record) -> dict[str, Any]:
    """What may change of a job, by column."""
    standing = record.standing
    return {
        **{name: getattr(standing, name) for name in _STANDING},
        "state": standing.state.value,
        "error": None if standing.error is None else asdict(standing.error),
        "progress": asdict(record.progress),
        "outputs": _artifacts_to_json(record.outputs),
        "result": record.result,
        "ring_time": record.ring_time,
        "num_rings": record.num_rings,
    }


def to_record(row: RowMapping) -> Record:
    """The record of a row with `COLUMNS`.

    Raises:
        DataCorrupted: It says what this version does not know, such as a new state.
    """
    try:
        return _read(
            {
                name: json.loads(value) if name in _JSON and value is not None else value
                for name, value in row.items()
            }
        )
    except (ValueError, TypeError, KeyError, AttributeError, VermeilError) as error:
        raise DataCorrupted(
            f"{row['name']} cannot be read by this version of Vermeil: {type(error).__name__}: {error}",
            fix="use the version that wrote it",
        ) from error


def _read(row: Mapping[str, Any]) -> Record:
    new = NewJob(
        kind=row["kind"],
        queue=row["queue"],
        spec=Spec(row["spec_type"], row["spec_value"]),
        request_id=row["request_id"],
        after=tuple(row["after"]),
        inputs=_artifacts_from_json(row["inputs"]),
        max_attempts=row["max_attempts"],
        priority=Priority(row["priority"]),
        owner=row["owner"],
        traceparent=row["traceparent"],
    )
    standing = {name: row[name] for name in _STANDING}
    return Record(
        name=row["name"],
        new=new,
        create_time=row["create_time"],
        standing=Standing(state=JobState(row["state"]), error=_error_from_json(row["error"]), **standing),
        progress=Progress(**row["progress"]),
        outputs=_artifacts_from_json(row["outputs"]),
        result=row["result"],
        ring_time=row["ring_time"],
        num_rings=row["num_rings"],
        turn=row["turn"],
        number=row["number"],
    )


def _artifacts_to_json(artifacts: Mapping[str, ArtifactRef]) -> dict[str, Any]:
    return {role: asdict(ref) for role, ref in artifacts.items()}


def _artifacts_from_json(content: dict[str, Any]) -> dict[str, ArtifactRef]:
    return {role: ArtifactRef(**ref) for role, ref in content.items()}


def _error_from_json(content: dict[str, Any] | None) -> JobError | None:
    if content is None:
        return None
    violations = tuple(Violation(**each) for each in content["violations"])
    return JobError(content["reason"], content["message"], violations)
