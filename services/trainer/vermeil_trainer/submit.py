"""From a request to a job: the one way in, whether by RPC or straight through the queue.

Names become versions here, so that a job means the same however long it waits. A request that comes
again after newer versions were added is still the same request.
"""

from dataclasses import replace

from vermeil.encoder.v1 import encoder_pb2
from vermeil.training.v1.recipe_pb2 import TrainingSpec
from vermeil.training.v1.training_service_pb2 import StartTrainingRequest
from vermeil_errors import AlreadyExists, InvalidInput
from vermeil_jobs import Job, JobClient, NewJob, Spec
from vermeil_jobs.names import check_request_id, split_version
from vermeil_telemetry import current_traceparent

from vermeil_trainer.clients import Peers
from vermeil_trainer.reading import recipe_from_message, recipe_to_message
from vermeil_trainer.recipe import Recipe
from vermeil_trainer.task_rules import uses_captions

KIND = "vermeil.trainer.v1.train"
QUEUE = "trainer"
ENCODED = "encoded"
"""Output of the encoding job: the dataset to learn from."""

_TOKENIZERS = {
    "bpe": encoder_pb2.TOKENIZER_KIND_BPE,
    "byte": encoder_pb2.TOKENIZER_KIND_BYTE,
    "character": encoder_pb2.TOKENIZER_KIND_CHARACTER,
}
_FITS = {
    "crop": encoder_pb2.IMAGE_FIT_CROP,
    "pad": encoder_pb2.IMAGE_FIT_PAD,
    "stretch": encoder_pb2.IMAGE_FIT_STRETCH,
}
_PAGE_SIZE = 1000


def submit(request: StartTrainingRequest, peers: Peers) -> Job:
    """Check the recipe, have its dataset encoded, create the job that follows."""
    check_request_id(request.request_id)
    recipe = recipe_from_message(request.recipe)
    _check_names(recipe)
    dataset = peers.names.dataset_version(recipe.data.dataset)
    inputs = {"dataset": dataset.artifact}
    settled = replace(recipe, data=replace(recipe.data, dataset=dataset.name))
    if recipe.model.initial:
        initial = peers.names.model_version(recipe.model.initial)
        inputs["initial"] = initial.artifact
        settled = replace(settled, model=replace(recipe.model, initial=initial.name))
    encoder = peers.text_encoder if recipe.task == "text" else peers.image_encoder
    encoding_job = encoder.start(_encoding(settled))
    new = NewJob(
        kind=KIND,
        queue=QUEUE,
        spec=Spec.pack(TrainingSpec(recipe=recipe_to_message(settled), encoding_job=encoding_job)),
        request_id=request.request_id,
        after=(encoding_job,),
        inputs=inputs,
        traceparent=current_traceparent(),
    )
    try:
        return peers.jobs.create(new)
    except AlreadyExists:
        job = _job_of_request(peers.jobs, request.request_id)
        if job is None or not _asks_for(recipe, job):
            raise
        return job


def _check_names(recipe: Recipe) -> None:
    if not recipe.data.dataset:
        raise InvalidInput.for_field(
            "data.dataset", "", "is required", "name a dataset, such as datasets/peps"
        )
    split_version("datasets", recipe.data.dataset, "data.dataset")
    if recipe.model.initial:
        split_version("models", recipe.model.initial, "model.initial")


def _encoding(recipe: Recipe) -> encoder_pb2.EncodingSpec:
    """What the recipe's data must become."""
    spec = encoder_pb2.EncodingSpec(dataset=recipe.data.dataset)
    if recipe.task == "text" or uses_captions(recipe):
        spec.tokenizer.CopyFrom(_tokenizer(recipe))
    if recipe.task != "text":
        image = recipe.image
        spec.image.CopyFrom(
            encoder_pb2.ImageEncoding(
                height=image.image_height,
                width=image.image_width,
                channels=image.channels,
                fit=_FITS[image.fit],
            )
        )
    return spec


def _tokenizer(recipe: Recipe) -> encoder_pb2.TokenizerSpec:
    """A model to continue from brings its own."""
    if recipe.model.initial:
        return encoder_pb2.TokenizerSpec(model=recipe.model.initial)
    tokenizer = recipe.data.tokenizer
    return encoder_pb2.TokenizerSpec(kind=_TOKENIZERS[tokenizer.kind], vocab_size=tokenizer.vocab_size or 0)


def _job_of_request(jobs: JobClient, request_id: str) -> Job | None:
    token = ""
    while True:
        page = jobs.list_jobs(page_size=_PAGE_SIZE, page_token=token, kind=KIND)
        for job in page.jobs:
            if job.request_id == request_id:
                return job
        token = page.next_page_token
        if not token:
            return None


def _asks_for(recipe: Recipe, job: Job) -> bool:
    """Whether the recipe, by the versions that were newest then, is the one this job trains."""
    theirs = TrainingSpec.FromString(job.spec.value).recipe
    mine = recipe_to_message(recipe)
    mine.data.dataset = _as_then(mine.data.dataset, theirs.data.dataset)
    mine.model.initial = _as_then(mine.model.initial, theirs.model.initial)
    return mine == theirs


def _as_then(name: str, version: str) -> str:
    return version if version.startswith(f"{name}/versions/") else name
