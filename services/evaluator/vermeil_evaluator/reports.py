"""Reports of finished evaluations, by the name of their job."""

from dataclasses import dataclass

from vermeil_artifacts import ArtifactStore, used_within
from vermeil_errors import Conflict
from vermeil_jobs import JobClient, JobState

from vermeil_evaluator.compare import Compared, compare
from vermeil_evaluator.page import page
from vermeil_evaluator.report import Findings, read_report


@dataclass(frozen=True)
class Reports:
    """Where reports are found."""

    jobs: JobClient
    store: ArtifactStore

    def read(self, name: str) -> Findings:
        """The report of "jobs/{job}"."""
        job = self.jobs.get(name)
        ref = job.outputs.get("report")
        if ref is None:
            state = job.state.name.lower()
            fix = (
                "wait for its end" if job.state in (JobState.PENDING, JobState.RUNNING) else "evaluate again"
            )
            raise Conflict(f"{name} has no report: it is {state}", field="name", value=name, fix=fix)
        return read_report(self.store.fetch(ref))

    def page(self, name: str) -> tuple[Findings, str]:
        """A report, and its page drawn as this version draws it."""
        with used_within():
            found = self.read(name)
            return found, page(found)

    def compare(self, first: str, second: str, seed: int) -> Compared:
        """Two models, item by item."""
        with used_within():
            return compare(self.read(first), self.read(second), seed=seed)
