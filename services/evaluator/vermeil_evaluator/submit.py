"""From a request to a job: names become versions, and what can be checked at once is checked."""

from vermeil.evaluation.v1.evaluation_pb2 import EvaluationSpec
from vermeil.evaluation.v1.evaluation_service_pb2 import StartEvaluationRequest
from vermeil_errors import Conflict, InvalidInput
from vermeil_jobs import Job, Names, NewJob, Spec, Version
from vermeil_telemetry import current_traceparent

from vermeil_evaluator.clients import Registry
from vermeil_evaluator.messages import evaluation_from_message

KIND = "vermeil.evaluator.v1.evaluate"
QUEUE = "evaluator"


def submit(request: StartEvaluationRequest, registry: Registry) -> Job:
    """Create the job; what it is to read is settled now, whatever versions come later."""
    evaluation = evaluation_from_message(request.spec)
    model, dataset = resolve(request.spec, registry.names)
    if dataset.splits and evaluation.split not in dataset.splits:
        raise InvalidInput.for_field(
            "spec.split",
            evaluation.split,
            f"{dataset.name} has no such split",
            f"use {' or '.join(dataset.splits)}",
        )
    spec = EvaluationSpec(
        model=model.name,
        task=evaluation.task,
        dataset=dataset.name,
        split=evaluation.split,
        limit=evaluation.limit,
        seed=evaluation.seed,
    )
    return registry.jobs.create(
        NewJob(
            kind=KIND,
            queue=QUEUE,
            spec=Spec.pack(spec),
            request_id=request.request_id,
            inputs={"model": model.artifact, "dataset": dataset.artifact},
            traceparent=current_traceparent(),
        )
    )


def resolve(spec: EvaluationSpec, names: Names) -> tuple[Version, Version]:
    """The versions of model and dataset that a specification means."""
    if not spec.model:
        raise InvalidInput.for_field(
            "spec.model", "", "is required", "name a model, such as models/vermeil-nano"
        )
    model = names.model_version(spec.model)
    if spec.dataset:
        return model, names.dataset_version(spec.dataset)
    if not model.datasets:
        raise Conflict(
            f"{model.name} does not say what it learned from", field="spec.dataset", fix="name a dataset"
        )
    known = [names.dataset_version(name) for name in model.datasets]
    return model, next((each for each in known if each.artifact.kind == "dataset"), known[0])
