"""From a request to a job: names become versions, and what can be checked at once is checked."""

from dataclasses import dataclass

from vermeil.evaluation.v1.evaluation_pb2 import EvaluationSpec
from vermeil.evaluation.v1.evaluation_service_pb2 import StartEvaluationRequest
from vermeil_errors import Conflict, InvalidInput
from vermeil_jobs import Job, Names, NewJob, Registry, Spec, Version
from vermeil_jobs.messages import priority_from_message
from vermeil_telemetry import current_traceparent

from vermeil_evaluator.catalogue import find_task
from vermeil_evaluator.intake import take_in
from vermeil_evaluator.messages import evaluation_from_message
from vermeil_evaluator.surroundings import Surroundings
from vermeil_evaluator.task import Task

KIND = "vermeil.evaluator.v1.evaluate"
QUEUE = "evaluator"


def submit(request: StartEvaluationRequest, registry: Registry, around: Surroundings | None = None) -> Job:
    """Create the job; what it is to read is settled now, whatever versions come later."""
    evaluation = evaluation_from_message(request.spec, around.include if around else ())
    found = resolve(request.spec, registry.names, find_task(evaluation.task, evaluation.include))
    inputs = {"model": found.model.artifact}
    if found.judge:
        inputs["judge"] = found.judge.artifact
    if found.dataset:
        inputs["dataset"] = found.dataset.artifact
        _check_split(found.dataset, evaluation.split)
    elif around:
        inputs["questions"] = take_in(request.spec.questions, around)
    spec = EvaluationSpec(
        model=found.model.name,
        task=evaluation.task,
        dataset=found.dataset.name if found.dataset else "",
        split=evaluation.split,
        limit=evaluation.limit,
        seed=evaluation.seed,
        judge=found.judge.name if found.judge else "",
        options=evaluation.options,
        questions=request.spec.questions,
    )
    return registry.jobs.create(
        NewJob(
            kind=KIND,
            queue=QUEUE,
            spec=Spec.pack(spec),
            request_id=request.request_id,
            inputs=inputs,
            priority=priority_from_message(request.priority),
            traceparent=current_traceparent(),
        )
    )


@dataclass(frozen=True)
class Resolved:
    """The versions that a specification means."""

    model: Version
    """Who is asked."""
    dataset: Version | None
    """What about; None where questions are given as a file."""
    judge: Version | None
    """Who looks at the answers."""


def resolve(spec: EvaluationSpec, names: Names, task: Task) -> Resolved:
    """The versions of model, data and judge that a specification means."""
    if not spec.model:
        raise InvalidInput.for_field(
            "spec.model", "", "is required", "name a model, such as models/vermeil-nano"
        )
    model = names.model_version(spec.model)
    judge = names.model_version(spec.judge) if spec.judge else None
    if task.needs_judge and judge is None:
        raise InvalidInput.for_field(
            "spec.judge", "", f"is needed for {task.name}", "name a model trained to judge such data"
        )
    if spec.dataset and spec.questions:
        raise InvalidInput.for_field("spec.questions", spec.questions, "stands beside a dataset", "name one")
    if spec.dataset:
        return Resolved(model, names.dataset_version(spec.dataset), judge)
    if spec.questions:
        return Resolved(model, None, judge)
    return Resolved(model, _learned_from(model, names, task), judge)


def _learned_from(model: Version, names: Names, task: Task) -> Version:
    if task.data_kind == "questions":
        raise InvalidInput.for_field(
            "spec.questions", "", f"is needed for {task.name}", "name a file of JSON lines, or a dataset"
        )
    if not model.datasets:
        raise Conflict(
            f"{model.name} does not say what it learned from", field="spec.dataset", fix="name a dataset"
        )
    known = [names.dataset_version(name) for name in model.datasets]
    return next((each for each in known if each.artifact.kind == task.data_kind), known[0])


def _check_split(dataset: Version, split: str) -> None:
    if dataset.splits and split not in dataset.splits:
        raise InvalidInput.for_field(
            "spec.split", split, f"{dataset.name} has no such split", f"use {' or '.join(dataset.splits)}"
        )
