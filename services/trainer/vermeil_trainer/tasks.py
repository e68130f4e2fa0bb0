"""The Celery task "vermeil.trainer.v1.train": do the job, publish what came out."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vermeil.training.v1.recipe_pb2 import TrainingSpec
from vermeil.training.v1.training_service_pb2 import StartTrainingRequest
from vermeil_artifacts import ArtifactRef, ArtifactStore, await_store
from vermeil_errors import Conflict, VermeilError
from vermeil_jobs import JobClient, JobContext, JobKind, JobOutcome, JobsApp, Names, NewModelVersion
from vermeil_jobs import register as register_kind
from vermeil_jobs.job import JsonObject
from vermeil_settings import code_version

from vermeil_trainer.clients import Peers, peers
from vermeil_trainer.reading import recipe_from_message
from vermeil_trainer.recipe import Recipe
from vermeil_trainer.settings import TrainerSettings
from vermeil_trainer.submit import BACKBONES, ENCODED, KIND, QUEUE, submit

if TYPE_CHECKING:
    from vermeil_training import Progress

    from vermeil_trainer.train import Trained

_LOG_SO_FAR = ("metrics.jsonl", "samples.png", "fusion.json")
"""Of a run's folder, while it runs; samples and the map of gates are there where the task has any."""
_MOST_GRIDS = 8
"""Of samples, while it runs."""
_LOG = (*_LOG_SO_FAR, "loss.png", "tensorboard", "samples")
"""At the end."""


def register(app: JobsApp, settings: TrainerSettings | None = None) -> list[str]:
    """Let the workers of `app` train; the queues they must listen on."""
    settings = settings or TrainerSettings.load()
    known = peers(settings)
    register_kind(app, job_kind(known, await_store(settings)), known.jobs)
    return [QUEUE]


def job_kind(known: Peers, store: ArtifactStore) -> JobKind[StartTrainingRequest, TrainingSpec]:
    """The sort of work, with everything it needs."""
    return JobKind(
        name=KIND,
        queue=QUEUE,
        request_type=StartTrainingRequest,
        spec_type=TrainingSpec,
        submit=partial(submit, peers=known),
        work=partial(_work, store=store, known=known),
    )


def _work(context: JobContext, spec: TrainingSpec, store: ArtifactStore, known: Peers) -> JobOutcome:
    if spec.recipe.task == "int8":
        return _write_int8(context, spec, store, known.names)
    context.progress(0, spec.recipe.run.steps, "getting ready", unit="steps")
    # Seconds of imports, for those who train: a worker is ready before.
    from vermeil_trainer.learning import LEARNING  # noqa: PLC0415
    from vermeil_trainer.train import train  # noqa: PLC0415

    recipe = recipe_from_message(spec.recipe)
    inputs = context.job.inputs
    initial = inputs.get("initial")
    encoded = {name: store.fetch(_encoded(job, known.jobs)) for name, job in _encoding_jobs(spec).items()}
    run_folder = context.workdir / "run"
    provenance = _provenance(context)

    def publish_log(files: Sequence[str]) -> ArtifactRef:
        log = _log_of(run_folder, context.workdir / "log", files)
        return store.publish(log, kind="log", provenance=provenance)

    trained = train(
        recipe,
        LEARNING[recipe.task].open(recipe, encoded),
        run_folder,
        initial=store.fetch(initial) if initial else None,
        backbones={name: store.fetch(inputs[name]) for name in BACKBONES if name in inputs},
        on_progress=_reporter(context, lambda: publish_log(_so_far(run_folder))),
        should_stop=partial(_should_stop, context),
    )
    if not trained.finished:
        context.check()
    model = store.publish(trained.model, kind="model", provenance=provenance)
    return _outcome(spec, trained, {"model": model, "log": publish_log(_LOG)})


def _write_int8(context: JobContext, spec: TrainingSpec, store: ArtifactStore, names: Names) -> JobOutcome:
    # As below.
    from vermeil_trainer.int8 import write_int8  # noqa: PLC0415

    recipe, folder = recipe_from_message(spec.recipe), context.workdir / "model"
    context.progress(0, 1, f"rounding {recipe.model.initial}", unit="models")
    figures = write_int8(recipe, store.fetch(context.job.inputs["initial"]), folder)
    context.check()
    model = store.publish(folder, kind="model", provenance=_provenance(context))
    learned_from = names.model_version(recipe.model.initial).datasets
    version = replace(_version(recipe, model, figures), datasets=learned_from)
    context.progress(1, 1, "", unit="models")
    return JobOutcome({"model": model}, figures, model_versions=(version,))


def _provenance(context: JobContext) -> dict[str, str]:
    job = context.job
    return {"job": job.name, "request_id": job.request_id, "traceparent": job.traceparent}


def _encoding_jobs(spec: TrainingSpec) -> Mapping[str, str]:
    """By the names of the sources; a task that learns from one dataset has one without a name."""
    return spec.source_jobs or {"": spec.encoding_job}


def _encoded(encoding_job: str, jobs: JobClient) -> ArtifactRef:
    outputs = jobs.get(encoding_job).outputs
    if ENCODED not in outputs:
        raise Conflict(f"{encoding_job} has no output {ENCODED!r}", fix="start the training by StartTraining")
    return outputs[ENCODED]


def _should_stop(context: JobContext) -> bool:
    """A job that nobody wants any more ends here; one that is to go on elsewhere writes a checkpoint."""
    if context.is_cancelled or context.is_lost:
        context.check()
    return context.should_stop()


def _reporter(context: JobContext, publish_log: Callable[[], ArtifactRef]) -> "Callable[[Progress], None]":
    """Tells of every step; after each validation also shows the log so far."""
    said: list[float | None] = [None]

    def report(progress: "Progress") -> None:
        metrics = {f"{progress.unit}_per_second": progress.items_per_second}
        if progress.loss is not None:
            metrics["loss"] = progress.loss
        if progress.validation_loss is not None:
            metrics["validation_loss"] = progress.validation_loss
            if progress.validation_loss != said[0]:
                said[0] = progress.validation_loss
                context.log(f"step {progress.step}: validation loss {progress.validation_loss:.4f}")
                _show(context, publish_log)
        message = "" if progress.loss is None else f"loss {progress.loss:.3f}"
        context.progress(progress.step, progress.steps, message, metrics, unit="steps")

    return report


def _so_far(run_folder: Path) -> list[str]:
    grids = sorted((run_folder / "samples").glob("*.png"))[-_MOST_GRIDS:]
    return [*_LOG_SO_FAR, *(str(path.relative_to(run_folder)) for path in grids)]


def _show(context: JobContext, publish_log: Callable[[], ArtifactRef]) -> None:
    try:
        context.output("log", publish_log())
    except VermeilError as error:
        # A training is worth more than a look at it.
        context.log(f"the log so far could not be shown: {error}", "warning")


def _log_of(run_folder: Path, folder: Path, files: Sequence[str]) -> Path:
    """What tells of times and speeds: apart from the model, whose bytes are the same for equal runs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in (run_folder / name for name in files):
        copied = folder / path.relative_to(run_folder)
        if path.is_dir():
            shutil.copytree(path, copied)
        elif path.exists():
            copied.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copied)
    return folder


def _outcome(spec: TrainingSpec, trained: "Trained", outputs: dict[str, ArtifactRef]) -> JobOutcome:
    recipe = recipe_from_message(spec.recipe)
    figures = trained.figures()
    return JobOutcome(outputs, figures, model_versions=(_version(recipe, outputs["model"], figures),))


def _version(recipe: Recipe, model: ArtifactRef, figures: JsonObject) -> NewModelVersion:
    # As below.
    from vermeil_trainer.model_folder import recipe_as_dict  # noqa: PLC0415

    return NewModelVersion(
        model=f"models/{recipe.name}",
        artifact=model,
        recipe=json.dumps(recipe_as_dict(recipe), sort_keys=True),
        code_version=code_version(),
        datasets=recipe.datasets,
        seed=recipe.run.seed,
        metrics=figures,
        base=recipe.base,
    )
