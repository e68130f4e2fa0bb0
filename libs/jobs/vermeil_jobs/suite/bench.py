"""Bench: what a test of a JobClient holds in its hands."""

import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue
from vermeil_artifacts import ArtifactRef

from vermeil_jobs.client import JobClient
from vermeil_jobs.doorbell import RecordingDoorbell
from vermeil_jobs.job import Failure, Job, JobError, Lease, NewJob, Spec
from vermeil_jobs.ledger import Ledger
from vermeil_jobs.memory import ManualClock

LEASE = timedelta(seconds=10)
KIND = "vermeil.tester.v1.test"
QUEUE = "tester"


@dataclass
class Bench:
    """A JobClient with its clock, its doorbell and the ledger behind it under the test's control."""

    jobs: JobClient
    clock: ManualClock
    doorbell: RecordingDoorbell
    ledger: Ledger
    _requests: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def sweep(self) -> int:
        """One look of the sweeper."""
        return self.ledger.sweep()

    def create(self, **changes: Any) -> Job:
        """A new job, as plain as can be."""
        return self.jobs.create(self.new(**changes))

    def new(self, **changes: Any) -> NewJob:
        """The request for a plain job, under a fresh request id."""
        values: dict[str, Any] = {
            "kind": KIND,
            "queue": QUEUE,
            "spec": Spec.pack(StringValue(value="test")),
            "request_id": f"request-{next(self._requests)}",
            **changes,
        }
        return NewJob(**values)

    def claim(self, job: Job, worker: str = "worker-1") -> Lease:
        """The lease of a job that is to be had."""
        claimed = self.jobs.claim(job.name, worker=worker, lease=LEASE)
        assert claimed.lease is not None, claimed.job
        return claimed.lease

    def is_claimable(self, job: Job) -> bool:
        """Whether a claim succeeds; it takes the lease if so."""
        return self.jobs.claim(job.name, worker="worker-2", lease=LEASE).lease is not None


def artifact(number: int = 1, kind: str = "model") -> ArtifactRef:
    """A reference as good as any."""
    return ArtifactRef(f"sha256:{number:064x}", kind, 100 + number)


def failure(message: str = "the sea was rough", *, retryable: bool = True) -> Failure:
    """An outcome that is no good."""
    return Failure(JobError("UNAVAILABLE" if retryable else "INVALID_INPUT", message), retryable)
