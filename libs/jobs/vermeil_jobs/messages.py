"""Messages of vermeil.job.v1 to plain values and back: the only place that knows both."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from google.protobuf import any_pb2, duration_pb2, struct_pb2, timestamp_pb2
from vermeil.artifact.v1 import artifact_pb2
from vermeil.job.v1 import job_pb2, job_service_pb2
from vermeil.registry.v1 import dataset_pb2, model_pb2
from vermeil_artifacts import ArtifactRef
from vermeil_errors import InvalidInput, Violation
from vermeil_rpc.convert import artifact_from_message, artifact_to_message

from vermeil_jobs.client import DEFAULT_LEASE
from vermeil_jobs.job import (
    Cancellation,
    Failure,
    Job,
    JobError,
    JobOutcome,
    JobState,
    JsonObject,
    JsonValue,
    Lease,
    LogLine,
    NewDatasetVersion,
    NewModelVersion,
    Outcome,
    Priority,
    Progress,
    Spec,
)


def job_to_message(job: Job) -> job_pb2.Job:
    """The wire form of a job."""
    return job_pb2.Job(
        name=job.name,
        kind=job.kind,
        queue=job.queue,
        spec=any_pb2.Any(type_url=job.spec.type_url, value=job.spec.value),
        state=state_to_message(job.state),
        priority=priority_to_message(job.priority),
        owner=job.owner,
        after=job.after,
        progress=progress_to_message(job.progress),
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        cancel_requested=job.cancel_requested,
        inputs={role: artifact_to_message(ref) for role, ref in job.inputs.items()},
        outputs={role: artifact_to_message(ref) for role, ref in job.outputs.items()},
        result=struct_to_message(job.result),
        error=None if job.error is None else error_to_message(job.error),
        request_id=job.request_id,
        traceparent=job.traceparent,
        create_time=time_to_message(job.create_time),
        start_time=None if job.start_time is None else time_to_message(job.start_time),
        end_time=None if job.end_time is None else time_to_message(job.end_time),
    )


def job_from_message(message: job_pb2.Job) -> Job:
    """The job a peer sent."""
    return Job(
        name=message.name,
        kind=message.kind,
        queue=message.queue,
        spec=Spec(message.spec.type_url, message.spec.value),
        state=JobState[job_pb2.JobState.Name(message.state).removeprefix("JOB_STATE_")],
        priority=priority_from_message(message.priority),
        owner=message.owner,
        after=tuple(message.after),
        progress=progress_from_message(message.progress),
        attempt=message.attempt,
        max_attempts=message.max_attempts,
        cancel_requested=message.cancel_requested,
        inputs=artifacts_from_message(message.inputs, "inputs"),
        outputs=artifacts_from_message(message.outputs, "outputs"),
        result=struct_from_message(message.result),
        error=error_from_message(message.error) if message.HasField("error") else None,
        request_id=message.request_id,
        traceparent=message.traceparent,
        create_time=time_from_message(message.create_time),
        start_time=time_from_message(message.start_time) if message.HasField("start_time") else None,
        end_time=time_from_message(message.end_time) if message.HasField("end_time") else None,
    )


def state_to_message(state: JobState | None) -> job_pb2.JobState.ValueType:
    """The wire form of a state; None is unspecified."""
    return job_pb2.JobState.Value(f"JOB_STATE_{state.name if state else 'UNSPECIFIED'}")


def state_from_message(message: job_pb2.JobState.ValueType) -> JobState | None:
    """The state a peer sent; None if unspecified."""
    if message == job_pb2.JOB_STATE_UNSPECIFIED:
        return None
    if message not in job_pb2.JobState.values():
        raise InvalidInput.for_field("state", message, "is not a state", "use 0 to 5")
    return JobState[job_pb2.JobState.Name(message).removeprefix("JOB_STATE_")]


def priority_to_message(priority: Priority) -> job_pb2.JobPriority.ValueType:
    """The wire form of a priority."""
    return job_pb2.JobPriority.Value(f"JOB_PRIORITY_{priority.name}")


def priority_from_message(message: job_pb2.JobPriority.ValueType) -> Priority:
    """The priority a peer sent; normal if unspecified."""
    if message not in job_pb2.JobPriority.values():
        raise InvalidInput.for_field("priority", message, "is not a priority", "use 0 to 3")
    if message == job_pb2.JOB_PRIORITY_UNSPECIFIED:
        return Priority.NORMAL
    return Priority[job_pb2.JobPriority.Name(message).removeprefix("JOB_PRIORITY_")]


def artifacts_from_message(
    messages: Mapping[str, artifact_pb2.ArtifactRef], field: str
) -> dict[str, ArtifactRef]:
    """Artifacts by role."""
    return {role: artifact_from_message(messages[role], f"{field}[{role}]") for role in messages}


def progress_to_message(progress: Progress) -> job_pb2.Progress:
    """The wire form of progress."""
    return job_pb2.Progress(
        done=progress.done,
        total=progress.total,
        unit=progress.unit,
        message=progress.message,
        metrics=progress.metrics,
    )


def progress_from_message(message: job_pb2.Progress) -> Progress:
    """The progress a peer sent."""
    return Progress(message.done, message.total, message.unit, message.message, dict(message.metrics))


def error_to_message(error: JobError) -> job_pb2.JobError:
    """The wire form of a job's error."""
    violations = [job_pb2.FieldViolation(field=v.field, description=v.description) for v in error.violations]
    return job_pb2.JobError(reason=error.reason, message=error.message, violations=violations)


def error_from_message(message: job_pb2.JobError) -> JobError:
    """The error a peer sent."""
    return JobError(
        message.reason,
        message.message,
        tuple(Violation(each.field, each.description) for each in message.violations),
    )


def lease_to_message(lease: Lease) -> job_pb2.Lease:
    """The wire form of a lease."""
    return job_pb2.Lease(fence=lease.fence, worker=lease.worker, end_time=time_to_message(lease.end_time))


def lease_from_message(message: job_pb2.Lease) -> Lease:
    """The lease a peer sent."""
    return Lease(message.fence, message.worker, time_from_message(message.end_time))


def line_to_message(line: LogLine) -> job_pb2.LogLine:
    """The wire form of a log line."""
    return job_pb2.LogLine(time=time_to_message(line.time), level=line.level, text=line.text)


def lines_from_message(messages: Iterable[job_pb2.LogLine]) -> tuple[LogLine, ...]:
    """The log lines a peer sent."""
    return tuple(LogLine(time_from_message(each.time), each.level, each.text) for each in messages)


def finish_to_message(name: str, fence: int, outcome: Outcome) -> job_service_pb2.FinishJobRequest:
    """The request that ends a job."""
    request = job_service_pb2.FinishJobRequest(name=name, fence=fence)
    match outcome:
        case JobOutcome():
            request.success.CopyFrom(_success_to_message(outcome))
        case Failure(error, retryable):
            request.failure.error.CopyFrom(error_to_message(error))
            request.failure.retryable = retryable
        case Cancellation():
            request.cancellation.SetInParent()
    return request


def outcome_from_message(message: job_service_pb2.FinishJobRequest) -> Outcome:
    """How a worker says that the job ended."""
    match message.WhichOneof("outcome"):
        case "success":
            return _success_from_message(message.success)
        case "failure":
            return Failure(error_from_message(message.failure.error), message.failure.retryable)
        case "cancellation":
            return Cancellation()
    raise InvalidInput(
        "says not how the job ended", field="outcome", fix="set success, failure or cancellation"
    )


def dataset_version_from_message(dataset: str, message: dataset_pb2.DatasetVersion) -> NewDatasetVersion:
    """A dataset version to register."""
    ref = artifact_from_message(message.artifact, "version.artifact")
    return NewDatasetVersion(dataset, ref, struct_from_message(message.card))


def model_version_from_message(model: str, message: model_pb2.ModelVersion) -> NewModelVersion:
    """A model version to register."""
    return NewModelVersion(
        model=model,
        artifact=artifact_from_message(message.artifact, "version.artifact"),
        recipe=message.recipe,
        code_version=message.code_version,
        datasets=tuple(message.datasets),
        seed=message.seed,
        metrics=struct_from_message(message.metrics),
        base=message.base,
    )


def dataset_version_to_message(version: NewDatasetVersion) -> dataset_pb2.DatasetVersion:
    """The wire form of a dataset version to register."""
    return dataset_pb2.DatasetVersion(
        artifact=artifact_to_message(version.artifact), card=struct_to_message(version.card)
    )


def model_version_to_message(version: NewModelVersion) -> model_pb2.ModelVersion:
    """The wire form of a model version to register."""
    return model_pb2.ModelVersion(
        artifact=artifact_to_message(version.artifact),
        recipe=version.recipe,
        code_version=version.code_version,
        datasets=version.datasets,
        seed=version.seed,
        metrics=struct_to_message(version.metrics),
        base=version.base,
    )


def _success_to_message(outcome: JobOutcome) -> job_service_pb2.Success:
    return job_service_pb2.Success(
        outputs={role: artifact_to_message(ref) for role, ref in outcome.outputs.items()},
        result=struct_to_message(outcome.result),
        dataset_versions=[
            job_service_pb2.NewDatasetVersion(dataset=v.dataset, version=dataset_version_to_message(v))
            for v in outcome.dataset_versions
        ],
        model_versions=[
            job_service_pb2.NewModelVersion(model=v.model, version=model_version_to_message(v))
            for v in outcome.model_versions
        ],
    )


def _success_from_message(message: job_service_pb2.Success) -> JobOutcome:
    return JobOutcome(
        outputs=artifacts_from_message(message.outputs, "outputs"),
        result=struct_from_message(message.result),
        dataset_versions=tuple(
            dataset_version_from_message(each.dataset, each.version) for each in message.dataset_versions
        ),
        model_versions=tuple(
            model_version_from_message(each.model, each.version) for each in message.model_versions
        ),
    )


def struct_to_message(value: JsonObject) -> struct_pb2.Struct:
    """The wire form of a JSON object."""
    struct = struct_pb2.Struct()
    for key, item in value.items():
        struct.fields[key].CopyFrom(_value_to_message(item))
    return struct


def struct_from_message(message: struct_pb2.Struct) -> dict[str, JsonValue]:
    """The JSON object a peer sent; whole numbers come back as int."""
    return {key: _value_from_message(value) for key, value in message.fields.items()}


def time_to_message(time: datetime) -> timestamp_pb2.Timestamp:
    """The wire form of a time."""
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(time)
    return message


def time_from_message(message: timestamp_pb2.Timestamp, field: str = "time") -> datetime:
    """The time a peer sent, to the microsecond; `field` is where it stood, for the error."""
    try:
        return message.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        value = f"{message.seconds} s and {message.nanos} ns"
        raise InvalidInput.for_field(field, value, "is no time", "send one of the years 1 to 9999") from error


def duration_to_message(duration: timedelta) -> duration_pb2.Duration:
    """The wire form of how long a lease lasts."""
    message = duration_pb2.Duration()
    message.FromTimedelta(duration)
    return message


def duration_from_message(message: duration_pb2.Duration) -> timedelta:
    """How long a lease lasts; none given means the default."""
    try:
        return message.ToTimedelta() or DEFAULT_LEASE
    except (ValueError, OverflowError) as error:
        value = f"{message.seconds} s and {message.nanos} ns"
        raise InvalidInput.for_field(
            "lease_duration", value, "is no duration", "send seconds, or leave it out"
        ) from error


def _value_to_message(value: JsonValue) -> struct_pb2.Value:
    match value:
        case None:
            return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() | float():
            return struct_pb2.Value(number_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case Mapping():
            return struct_pb2.Value(struct_value=struct_to_message(value))
        case _:
            items = [_value_to_message(item) for item in value]
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))


def _value_from_message(message: struct_pb2.Value) -> JsonValue:
    match message.WhichOneof("kind"):
        case "bool_value":
            return message.bool_value
        case "number_value":
            number = message.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return message.string_value
        case "struct_value":
            return struct_from_message(message.struct_value)
        case "list_value":
            return [_value_from_message(item) for item in message.list_value.values]
    return None
