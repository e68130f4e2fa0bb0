"""Long work: the row is the truth, the message is a doorbell, the fence keeps effects single."""

from vermeil_jobs.app import JobsApp, make_app
from vermeil_jobs.bookkeeper import Policy
from vermeil_jobs.client import Claimed, JobClient, JobPage, LogPage, Pulse
from vermeil_jobs.context import Draining, JobContext, LeaseLost
from vermeil_jobs.doorbell import CeleryDoorbell, Doorbell, RecordingDoorbell
from vermeil_jobs.drain import Drain
from vermeil_jobs.job import (
    Cancellation,
    Failure,
    Job,
    JobError,
    JobOutcome,
    JobState,
    Lease,
    LogLine,
    NewDatasetVersion,
    NewJob,
    NewModelVersion,
    Outcome,
    Priority,
    Progress,
    Spec,
)
from vermeil_jobs.kind import JobKind
from vermeil_jobs.ledger import Ledger
from vermeil_jobs.limits import Limits, Quota
from vermeil_jobs.memory import ManualClock, MemoryJobs
from vermeil_jobs.register import register
from vermeil_jobs.registry import Registry, registry_answers, registry_at
from vermeil_jobs.remote import GrpcJobs
from vermeil_jobs.runner import Runner
from vermeil_jobs.versions import MemoryNames, Names, RegistryNames, Version
from vermeil_jobs.worker import run_worker

__all__ = [
    "Cancellation",
    "CeleryDoorbell",
    "Claimed",
    "Doorbell",
    "Drain",
    "Draining",
    "Failure",
    "GrpcJobs",
    "Job",
    "JobClient",
    "JobContext",
    "JobError",
    "JobKind",
    "JobOutcome",
    "JobPage",
    "JobState",
    "JobsApp",
    "Lease",
    "LeaseLost",
    "Ledger",
    "Limits",
    "LogLine",
    "LogPage",
    "ManualClock",
    "MemoryJobs",
    "MemoryNames",
    "Names",
    "NewDatasetVersion",
    "NewJob",
    "NewModelVersion",
    "Outcome",
    "Policy",
    "Priority",
    "Progress",
    "Pulse",
    "Quota",
    "RecordingDoorbell",
    "Registry",
    "RegistryNames",
    "Runner",
    "Spec",
    "Version",
    "make_app",
    "register",
    "registry_answers",
    "registry_at",
    "run_worker",
]
