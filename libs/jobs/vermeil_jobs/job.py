"""What a job is, as plain values: the inside twin of vermeil.job.v1.

Knows nothing of wire, database or Celery. Everything is frozen; a changed job is a new value.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeAlias, Union

from google.protobuf.message import Message
from vermeil_artifacts import ArtifactRef
from vermeil_errors import InvalidInput, Violation
from vermeil_rpc.behalf import current_owner

from vermeil_jobs.names import (
    DEFAULT_OWNER,
    check_kind,
    check_line,
    check_owner,
    check_queue,
    check_request_id,
    job_id,
    split_version,
)

JsonValue: TypeAlias = Union[bool, int, float, str, Sequence["JsonValue"], Mapping[str, "JsonValue"], None]  # noqa: UP007
JsonObject: TypeAlias = Mapping[str, JsonValue]

MAX_LINE_BYTES = 4096
_LEVELS = ("debug", "info", "warning", "error")


def utc_now() -> datetime:
    """The clock of everything about jobs."""
    return datetime.now(UTC)


class JobState(StrEnum):
    """Where a job stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """True where nothing can change any more."""
        return self not in (JobState.PENDING, JobState.RUNNING)


class Priority(StrEnum):
    """How soon a waiting job is handed to a worker."""

    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"


@dataclass(frozen=True)
class Spec:
    """The work's own specification: a message with its type, as google.protobuf.Any carries it."""

    type_url: str
    """ "type.googleapis.com/vermeil.training.v1.TrainingSpec"."""
    value: bytes
    """The message, serialized deterministically where we do it."""

    @classmethod
    def pack(cls, message: Message) -> "Spec":
        """Wrap a message."""
        url = f"type.googleapis.com/{message.DESCRIPTOR.full_name}"
        return cls(url, message.SerializeToString(deterministic=True))

    @property
    def type_name(self) -> str:
        """ "vermeil.training.v1.TrainingSpec"."""
        return self.type_url.rpartition("/")[2]


@dataclass(frozen=True)
class Progress:
    """How far a job has come."""

    done: int = 0
    """Units done."""
    total: int = 0
    """Units in all; 0 while unknown."""
    unit: str = ""
    """What a unit is: "files", "steps", "tokens"."""
    message: str = ""
    """A sentence for people."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Latest figures."""

    def __post_init__(self) -> None:
        for name, value in (("progress.done", self.done), ("progress.total", self.total)):
            if not 0 <= value < 2**63:
                raise InvalidInput.for_field(name, value, "must be 0 or more")


@dataclass(frozen=True)
class JobError:
    """Why a job failed."""

    reason: str
    """Constant of the error catalogue."""
    message: str
    """A sentence for people."""
    violations: tuple[Violation, ...] = ()
    """The fields that were wrong, if any."""


@dataclass(frozen=True)
class LogLine:
    """One line a job wrote; text that cannot be stored is mended, never refused."""

    time: datetime
    """When it was written."""
    level: str
    """ "debug", "info", "warning" or "error"."""
    text: str
    """At most 4 KiB."""

    def __post_init__(self) -> None:
        if self.level not in _LEVELS:
            raise InvalidInput.for_field("lines.level", self.level, "is not a level", f"use one of {_LEVELS}")
        raw = self.text.replace("\x00", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace")
        if len(raw) > MAX_LINE_BYTES:
            raw = raw[: MAX_LINE_BYTES - 4].decode("utf-8", "ignore").encode() + "…".encode()
        object.__setattr__(self, "text", raw.decode())


@dataclass(frozen=True)
class NewJob:
    """A job as it is asked for; checked as it is made."""

    kind: str
    """A Celery task name such as "vermeil.trainer.v1.train"."""
    queue: str
    """The queue its doorbell rings on."""
    spec: Spec
    """The work's specification."""
    request_id: str
    """The same id gives the same job; 1 to 128 characters."""
    after: tuple[str, ...] = ()
    """Jobs that must succeed first."""
    inputs: Mapping[str, ArtifactRef] = field(default_factory=dict)
    """Artifacts by role that the job will read."""
    max_attempts: int = 5
    """Given up after this many attempts, 1 to 100."""
    priority: Priority = Priority.NORMAL
    """How soon it is handed to a worker."""
    owner: str = field(default_factory=lambda: current_owner() or DEFAULT_OWNER)
    """Who owns it: on whose behalf it is made."""
    traceparent: str = ""
    """W3C trace context of the request that creates it."""

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        check_kind(self.kind)
        check_queue(self.queue)
        check_owner(self.owner, "owner")
        if not self.spec.type_name:
            raise InvalidInput.for_field("spec", self.spec.type_url, "names no message type", "set type_url")
        if not 1 <= self.max_attempts <= 100:
            raise InvalidInput.for_field("max_attempts", self.max_attempts, "is out of range", "use 1 to 100")
        for position, name in enumerate(self.after):
            job_id(name, f"after[{position}]")
        object.__setattr__(self, "after", tuple(dict.fromkeys(self.after)))

    def fingerprint(self) -> str:
        """Equal for requests that ask for the same work, however soon."""
        inputs = {role: asdict(ref) for role, ref in sorted(self.inputs.items())}
        parts = [self.kind, self.queue, self.spec.type_url, self.spec.value.hex(), self.after, inputs]
        return hashlib.sha256(json.dumps([*parts, self.max_attempts]).encode()).hexdigest()


@dataclass(frozen=True)
class Job:
    """A job as everybody sees it."""

    name: str
    kind: str
    queue: str
    spec: Spec
    state: JobState
    priority: Priority
    owner: str
    after: tuple[str, ...]
    progress: Progress
    attempt: int
    max_attempts: int
    cancel_requested: bool
    inputs: Mapping[str, ArtifactRef]
    outputs: Mapping[str, ArtifactRef]
    result: JsonObject
    error: JobError | None
    request_id: str
    traceparent: str
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None


@dataclass(frozen=True)
class Lease:
    """A worker's right to work on a job."""

    fence: int
    """Writes under an older fence are refused."""
    worker: str
    """Name of the worker, for people."""
    end_time: datetime
    """When it ends unless a heartbeat comes, by the registry's clock."""


@dataclass(frozen=True)
class NewDatasetVersion:
    """A dataset version that a job registers as it succeeds."""

    dataset: str
    """ "datasets/{dataset}"."""
    artifact: ArtifactRef
    """The files."""
    card: JsonObject = field(default_factory=dict)
    """The data card."""

    def __post_init__(self) -> None:
        check_line("datasets", self.dataset, "dataset")

    @property
    def line(self) -> str:
        """What the version belongs to."""
        return self.dataset

    @property
    def details(self) -> JsonObject:
        """Everything but the files."""
        return {"card": self.card}


@dataclass(frozen=True)
class NewModelVersion:
    """A model version that a job registers as it succeeds."""

    model: str
    """ "models/{model}"."""
    artifact: ArtifactRef
    """The files."""
    recipe: str = ""
    """The recipe as it was run, as JSON."""
    code_version: str = ""
    """Version of the code that trained it."""
    datasets: tuple[str, ...] = ()
    """Names of the dataset versions it learned from."""
    seed: int = 0
    """The seed of the run."""
    metrics: JsonObject = field(default_factory=dict)
    """Figures of the run."""
    base: str = ""
    """Of an adapter: the version it is loaded over, "models/{model}/versions/{version}"."""

    def __post_init__(self) -> None:
        check_line("models", self.model, "model")
        if self.base and split_version("models", self.base, "version.base")[1] is None:
            raise InvalidInput.for_field(
                "version.base", self.base, "is the name of no version", 'add "/versions/" and its number'
            )

    @property
    def line(self) -> str:
        """What the version belongs to."""
        return self.model

    @property
    def details(self) -> JsonObject:
        """Everything but the files."""
        return {
            "recipe": self.recipe,
            "code_version": self.code_version,
            "datasets": list(self.datasets),
            "seed": self.seed,
            "metrics": self.metrics,
            "base": self.base,
        }


@dataclass(frozen=True)
class JobOutcome:
    """What a job made: it succeeded."""

    outputs: Mapping[str, ArtifactRef] = field(default_factory=dict)
    """Artifacts by role."""
    result: JsonObject = field(default_factory=dict)
    """Figures; the registry adds the names of new versions."""
    dataset_versions: tuple[NewDatasetVersion, ...] = ()
    """Dataset versions to register with it."""
    model_versions: tuple[NewModelVersion, ...] = ()
    """Model versions to register with it."""


@dataclass(frozen=True)
class Failure:
    """Why a job stopped."""

    error: JobError
    retryable: bool = False
    """True if another attempt may help."""


@dataclass(frozen=True)
class Cancellation:
    """The job stopped because it was asked to."""


Outcome: TypeAlias = JobOutcome | Failure | Cancellation
