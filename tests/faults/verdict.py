"""What a deployment looks like after a ride, by the back doors: rows of its database, files of its store."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deployment import Deployment
from ride import NAME, Ride
from talk import Talk
from vermeil_artifacts import ArtifactRef
from vermeil_errors import VermeilError

_VERSIONS = f"SELECT count(*) FROM versions WHERE entry IN ('models/{NAME}', 'datasets/{NAME}')"


@dataclass(frozen=True)
class Before:
    """How far the database was when the ride began."""

    last_job: int
    last_artifact: int
    num_versions: int

    @classmethod
    def of(cls, house: Deployment) -> "Before":
        """As it is now."""
        number = "SELECT coalesce(max(number), 0) FROM"
        return cls(
            int(house.sql(f"{number} jobs")[0]),
            int(house.sql(f"{number} artifacts")[0]),
            int(house.sql(_VERSIONS)[0]),
        )


def wrongs_of_jobs(house: Deployment, before: Before, ride: Ride) -> list[str]:
    """Every job is over, told as it is, and took effect once."""
    rows = house.sql(f"SELECT name, kind, state, attempt FROM jobs WHERE number > {before.last_job}")
    standing = {name: (kind, state) for name, kind, state, _ in (row.split("|") for row in rows)}
    wrong = [f"{name} ({kind}) is {state}" for name, (kind, state) in standing.items() if _is_open(state)]
    for job in ride.jobs:
        if job.name not in standing:
            wrong.append(f"{job.name} was acknowledged and is lost")
        elif standing[job.name][1] != job.state:
            wrong.append(f"{job.name} was told as {job.state} and is {standing[job.name][1]}")
    asked_for = [row for row in rows if "encoder" not in row]
    if len(asked_for) != len(ride.jobs):
        wrong.append(f"{len(ride.jobs)} jobs were asked for and there are {len(asked_for)}")
    num_made = int(house.sql(_VERSIONS)[0]) - before.num_versions
    if "serve" in ride.steps and num_made != 2:
        wrong.append(f"a dataset and a model were made, and there are {num_made} new versions")
    return wrong


def num_running(house: Deployment, before: Before) -> int:
    """Jobs of the ride that a worker has now."""
    own = f"number > {before.last_job} AND state = 'RUNNING'"
    return int(house.sql(f"SELECT count(*) FROM jobs WHERE {own}")[0])


def attempts(house: Deployment, before: Before) -> list[int]:
    """How often each job was taken up."""
    rows = house.sql(f"SELECT attempt FROM jobs WHERE number > {before.last_job} ORDER BY number")
    return [int(row) for row in rows]


def wrongs_of_artifacts(house: Deployment, before: Before) -> tuple[int, list[str]]:
    """How many artifacts were made, and those that are not what their digest says."""
    columns = "digest, kind, num_bytes"
    rows = house.sql(f"SELECT {columns} FROM artifacts WHERE number > {before.last_artifact}")
    wrong = []
    cache = house.folder / "fresh"
    store = house.open_store(cache)
    for digest, kind, num_bytes in (row.split("|") for row in rows):
        try:
            fetched = store.fetch(ArtifactRef(digest, kind, int(num_bytes)))
            held = sum(path.stat().st_size for path in Path(fetched).rglob("*") if path.is_file())
            if held != int(num_bytes):
                wrong.append(f"{digest} ({kind}) holds {held} bytes in place of {num_bytes}")
        except VermeilError as error:
            wrong.append(f"{digest} ({kind}): {error}")
    shutil.rmtree(cache, ignore_errors=True)
    return len(rows), wrong


def wrongs_of_talks(talks: Sequence[Talk]) -> list[str]:
    """Answers that were neither whole nor an error that may be retried."""
    return [wrong for talk in talks for wrong in talk.wrong[:3]]


def _is_open(state: str) -> bool:
    return state in ("PENDING", "RUNNING")
