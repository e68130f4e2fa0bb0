"""Collection of a house: what its store holds and no row names goes, once it is old enough.

That is what attempts published that died before they could say so, and pictures that were asked for
as URLs. A job publishes before it names, so the young stay whether named or not; the rows are read
first, and what is named later was published, and so made young again, a moment before.
"""

from datetime import timedelta

from vermeil_artifacts import ArtifactStore, Collected
from vermeil_errors import Conflict, InvalidInput

from vermeil_registry.backup import named_artifacts
from vermeil_registry.database import Database
from vermeil_registry.snapshots import Say

DAYS = 7
_MOST_DAYS = 36_500


def collect(database: Database, store: ArtifactStore, days: int, say: Say) -> Collected:
    """Remove from the store what no row names and is older than so many days; beside all that runs.

    Raises:
        InvalidInput: Too few days: what a job has published it may yet name.
        Conflict: The store has nothing of what the rows name, so they are hardly of the same house.
    """
    if not 1 <= days <= _MOST_DAYS:
        problem = "is not from 1 to 36500: what a running job published may not be named yet"
        raise InvalidInput.for_field("older-than", days, problem, f"write a number of days, such as {DAYS}")
    named = database.read(named_artifacts)
    if not named:
        say("no row names an artifact yet: nothing is removed")
        return Collected(0, 0, 0)
    if not any(store.exists(digest) for digest in named):
        raise Conflict(
            f"the rows name {len(named)} artifacts, and the store has none of them: nothing is removed",
            fix="check that VERMEIL_DATABASE_URL and VERMEIL_ARTIFACTS_URL are of one house",
        )
    removed = store.collect(named, older_than=timedelta(days=days))
    say(
        f"{removed.num_manifests} artifacts, {removed.num_blobs} files, {removed.num_bytes:,} bytes removed;"
        f" rows name {len(named)} artifacts, which stay"
    )
    return removed
