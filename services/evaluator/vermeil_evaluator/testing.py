"""A registry in memory, for tests: the names are those that finished jobs have registered."""

from vermeil_errors import NotFound
from vermeil_jobs import MemoryJobs, NewModelVersion
from vermeil_jobs.names import split_version, version_name

from vermeil_evaluator.clients import Version


class MemoryNames:
    """Names out of the rows of MemoryJobs."""

    def __init__(self, jobs: MemoryJobs) -> None:
        self._jobs = jobs

    def dataset_version(self, name: str) -> Version:
        """ "datasets/x" or "datasets/x/versions/3"."""
        return self._find("datasets", name)

    def model_version(self, name: str) -> Version:
        """ "models/x" or "models/x/versions/3"."""
        return self._find("models", name)

    def _find(self, collection: str, name: str) -> Version:
        line, number = split_version(collection, name, "name")
        versions = self._jobs.rows.versions
        if number is None:
            number = sum(each.startswith(f"{line}/versions/") for each in versions)
        full_name = version_name(line, number)
        if full_name not in versions:
            raise NotFound(f"{name} does not exist")
        found, _ = versions[full_name]
        if isinstance(found, NewModelVersion):
            return Version(full_name, found.artifact, datasets=found.datasets)
        splits = found.card.get("splits", {})
        return Version(full_name, found.artifact, splits=tuple(splits) if isinstance(splits, dict) else ())
