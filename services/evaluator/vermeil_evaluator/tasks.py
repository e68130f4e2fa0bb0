"""The Celery task "vermeil.evaluator.v1.evaluate": do the job, publish the report."""

import shutil
from functools import partial
from pathlib import Path

from vermeil.evaluation.v1.evaluation_pb2 import EvaluationSpec
from vermeil.evaluation.v1.evaluation_service_pb2 import StartEvaluationRequest
from vermeil_artifacts import ArtifactStore
from vermeil_jobs import JobContext, JobKind, JobOutcome, JobsApp, Names, Registry, Version, registry_at
from vermeil_jobs import register as register_kind

from vermeil_evaluator.catalogue import find_task
from vermeil_evaluator.evaluate import Named, evaluate
from vermeil_evaluator.intake import FILE
from vermeil_evaluator.messages import evaluation_from_message, report_to_json
from vermeil_evaluator.settings import EvaluatorSettings
from vermeil_evaluator.submit import KIND, QUEUE, Resolved, resolve, submit
from vermeil_evaluator.surroundings import Surroundings


def register(app: JobsApp, settings: EvaluatorSettings | None = None) -> list[str]:
    """Let the workers of `app` evaluate; the queues they must listen on."""
    settings = settings or EvaluatorSettings.load()
    found = registry_at(settings)
    register_kind(app, job_kind(found, Surroundings.of(settings)), found.jobs)
    return [QUEUE]


def job_kind(found: Registry, around: Surroundings) -> JobKind[StartEvaluationRequest, EvaluationSpec]:
    """The sort of work, with everything it needs."""
    return JobKind(
        name=KIND,
        queue=QUEUE,
        request_type=StartEvaluationRequest,
        spec_type=EvaluationSpec,
        submit=partial(submit, registry=found, around=around),
        work=partial(_work, names=found.names, around=around),
    )


def _work(context: JobContext, spec: EvaluationSpec, names: Names, around: Surroundings) -> JobOutcome:
    def progress(done: int, total: int, message: str) -> None:
        context.check()
        context.progress(done, total, message, unit="items")

    evaluation = evaluation_from_message(spec, around.include)
    found = resolve(spec, names, find_task(evaluation.task, around.include))
    folder = context.workdir / "report"
    shutil.rmtree(folder, ignore_errors=True)
    report = evaluate(
        evaluation,
        _model(found.model, names, around.store, context.workdir / "merged"),
        _data(context, spec, found, around.store),
        folder,
        progress,
        judge=_named(found.judge, around.store) if found.judge else None,
        cache=around.answers,
    )
    ref = around.store.publish(folder, kind="report", provenance={"job": context.job.name})
    return JobOutcome(outputs={"report": ref}, result=report_to_json(report))


def _model(version: Version, names: Names, store: ArtifactStore, folder: Path) -> Named:
    """An adapter is asked as the model that it makes of its base."""
    if not version.base:
        return _named(version, store)
    from vermeil_model import save_merged  # noqa: PLC0415  seconds of imports, for those who evaluate

    base = names.model_version(version.base)
    save_merged(folder, store.fetch(base.artifact), store.fetch(version.artifact))
    return Named(version.name, folder, version.artifact.digest)


def _data(context: JobContext, spec: EvaluationSpec, found: Resolved, store: ArtifactStore) -> Named:
    if found.dataset:
        return _named(found.dataset, store)
    ref = context.job.inputs["questions"]
    return Named(spec.questions, store.fetch(ref) / FILE, ref.digest)


def _named(version: Version, store: ArtifactStore) -> Named:
    return Named(version.name, store.fetch(version.artifact), version.artifact.digest)
