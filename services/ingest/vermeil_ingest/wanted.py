"""Whether a shard is still wanted: the job that looks at it stops when its ingestion is over without it.

The registry knows that an ingestion comes after its shards, not that they are there for it alone. So the
job of a shard finds the ingestion that waits for it, and looks now and then how that stands.
"""

import time

from vermeil_errors import DeadlineExceeded, Unavailable
from vermeil_jobs import Job, JobClient, JobContext, JobState

SECONDS = 2.0
"""Between two looks."""
_PAGES = 10
_OVER = (JobState.CANCELLED, JobState.FAILED)


class Wanted:
    """Cancels a job once the one that waits for it is cancelled or has failed."""

    def __init__(self, context: JobContext, jobs: JobClient, kind: str, *, seconds: float = SECONDS) -> None:
        self._context, self._jobs, self._kind, self._seconds = context, jobs, kind, seconds
        self._next = 0.0
        self._name = ""

    def check(self) -> None:
        """Raise if the work is to stop."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._seconds
            waiting = self._look()
            if waiting and waiting.state in _OVER:
                self._context.log(
                    f"{waiting.name}, which it is part of, is over: {waiting.state.name.lower()}"
                )
                self._jobs.cancel(self._context.job.name)
                self._context.request_cancel()
        self._context.check()

    def _look(self) -> Job | None:
        """A registry that is away for a moment is no reason to stop."""
        try:
            return self._waiting()
        except (Unavailable, DeadlineExceeded):
            return None

    def _waiting(self) -> Job | None:
        """The job that comes after this one; None while it is not created, or long ago."""
        if self._name:
            return self._jobs.get(self._name)
        token = ""
        for _ in range(_PAGES):
            page = self._jobs.list_jobs(page_size=100, page_token=token, kind=self._kind)
            for job in page.jobs:
                if self._context.job.name in job.after:
                    self._name = job.name
                    return job
            token = page.next_page_token
            if not token:
                break
        return None
