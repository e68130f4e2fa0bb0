"""From a request to a job: the one way in, whether by RPC or straight through the queue.

Names become versions here, so that a job means the same however long it waits. A request that comes
again after newer versions were added is still the same request.
"""

import json
from dataclasses import replace

from vermeil.encoder.v1 import encoder_pb2
from vermeil.training.v1.recipe_pb2 import TrainingSpec
from vermeil.training.v1.training_service_pb2 import StartTrainingRequest
from vermeil_artifacts import ArtifactRef
from vermeil_errors import AlreadyExists, InvalidInput
from vermeil_jobs import Job, JobClient, Names, NewJob, Spec, Version
from vermeil_jobs.messages import priority_from_message
from vermeil_jobs.names import check_request_id, split_version
from vermeil_telemetry import current_traceparent

from vermeil_trainer.clients import Peers
from vermeil_trainer.reading import recipe_from_message, recipe_to_message
from vermeil_trainer.recipe import ImageSpec, Recipe
from vermeil_trainer.task_rules import uses_captions

KIND = "vermeil.trainer.v1.train"
QUEUE = "trainer"
BACKBONES = ("text", "image")
"""What task fusion makes one of: inputs of its job, and fields of its recipe."""
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
    priority = priority_from_message(request.priority)
    settled, inputs, images = _settled(recipe, peers.names)
    jobs: dict[str, str] = {}
    if recipe.task == "int8":
        spec = TrainingSpec(recipe=recipe_to_message(settled))
    elif recipe.task == "fusion":
        jobs = {
            source.name: peers.image_encoder.start(
                _sample_encoding(settled, source.dataset, images), priority
            )
            for source in settled.mixture.sources
        }
        spec = TrainingSpec(recipe=recipe_to_message(settled), source_jobs=jobs)
    else:
        encoder = peers.text_encoder if recipe.task == "text" else peers.image_encoder
        jobs = {"": encoder.start(_encoding(settled), priority)}
        spec = TrainingSpec(recipe=recipe_to_message(settled), encoding_job=jobs[""])
    new = NewJob(
        kind=KIND,
        queue=QUEUE,
        spec=Spec.pack(spec),
        request_id=request.request_id,
        after=tuple(dict.fromkeys(jobs.values())),
        inputs=inputs,
        priority=priority,
        traceparent=current_traceparent(),
    )
    try:
        return peers.jobs.create(new)
    except AlreadyExists:
        job = _job_of_request(peers.jobs, new)
        if job is None or not _asks_for(recipe, job):
            raise
        return job


def _settled(recipe: Recipe, names: Names) -> tuple[Recipe, dict[str, ArtifactRef], ImageSpec]:
    """The recipe with versions in place of names, what they hold, and the form of its pictures."""
    if recipe.task == "fusion":
        return _settled_fusion(recipe, names)
    settled, inputs = recipe, dict[str, ArtifactRef]()
    if recipe.task != "int8":
        dataset = names.dataset_version(recipe.data.dataset)
        inputs["dataset"] = dataset.artifact
        settled = replace(recipe, data=replace(recipe.data, dataset=dataset.name))
    if recipe.model.initial:
        initial = _initial(recipe, names)
        if recipe.task != "int8":
            _check_task(initial, "model.initial", recipe.task)
        inputs["initial"] = initial.artifact
        settled = replace(settled, model=replace(recipe.model, initial=initial.name))
    return settled, inputs, recipe.image


def _initial(recipe: Recipe, names: Names) -> Version:
    initial = names.model_version(recipe.model.initial)
    if initial.base:
        problem = "is an adapter, which nothing is continued from"
        fix = f"name its base, {initial.base}"
        raise InvalidInput.for_field("model.initial", initial.name, problem, fix)
    return initial


def _settled_fusion(recipe: Recipe, names: Names) -> tuple[Recipe, dict[str, ArtifactRef], ImageSpec]:
    if recipe.model.initial:
        initial = _initial(recipe, names)
        inputs = {"initial": initial.artifact}
        settled = replace(recipe, model=replace(recipe.model, initial=initial.name))
        image = _image_spec(_painter(initial, names), recipe.image.fit)
    else:
        versions = {name: names.model_version(getattr(recipe.fusion, name)) for name in BACKBONES}
        _check_writer(versions["text"])
        inputs = {name: version.artifact for name, version in versions.items()}
        fusion = replace(recipe.fusion, text=versions["text"].name, image=versions["image"].name)
        settled = replace(recipe, fusion=fusion)
        image = _image_spec(versions["image"], recipe.image.fit)
    sources = []
    for source in recipe.mixture.sources:
        dataset = names.dataset_version(source.dataset)
        inputs[f"dataset-{source.name}"] = dataset.artifact
        sources.append(replace(source, dataset=dataset.name))
    settled = replace(settled, mixture=replace(recipe.mixture, sources=tuple(sources)))
    return settled, inputs, image


def _painter(fused: Version, names: Names) -> Version:
    """The image generator that a fused model was made of, through all that it was continued from."""
    trained_by = json.loads(fused.recipe or "{}")
    if trained_by.get("task") != "fusion":
        problem = "was not made here of a model that writes and one that draws"
        fix = "name a model that a recipe of task fusion made, or both in fusion.text and fusion.image"
        raise InvalidInput.for_field("model.initial", fused.name, problem, fix)
    earlier = trained_by.get("model", {}).get("initial")
    if earlier:
        return _painter(names.model_version(earlier), names)
    return names.model_version(trained_by["fusion"]["image"])


def _check_writer(text: Version) -> None:
    if text.base:
        problem, fix = "is an adapter, which nothing is fused with", f"name its base, {text.base}"
        raise InvalidInput.for_field("fusion.text", text.name, problem, fix)
    _check_task(text, "fusion.text", "text")


def _check_task(version: Version, field: str, task: str) -> None:
    """Refuse a model that a recipe of this task cannot go on from, before hours of encoding, not after."""
    made_by = json.loads(version.recipe or "{}").get("task", task)
    if made_by != task:
        fix = f"name a model that a recipe of task {task} made"
        raise InvalidInput.for_field(field, version.name, f"was made by a recipe of task {made_by}", fix)


def _image_spec(version: Version, fit: str) -> ImageSpec:
    """The form of the pictures that an image generator was trained on."""
    trained_by = json.loads(version.recipe or "{}")
    if trained_by.get("task") != "image":
        problem = "was not trained here on pictures"
        fix = "name a model that a recipe of task image made"
        raise InvalidInput.for_field("fusion.image", version.name, problem, fix)
    names = ("image_height", "image_width", "channels")
    return ImageSpec(**{name: trained_by["image"][name] for name in names}, fit=fit)


def _check_names(recipe: Recipe) -> None:
    if recipe.task == "fusion":
        for name in () if recipe.model.initial else BACKBONES:
            split_version("models", getattr(recipe.fusion, name), f"fusion.{name}")
        for index, source in enumerate(recipe.mixture.sources):
            split_version("datasets", source.dataset, f"mixture.sources[{index}].dataset")
    elif recipe.task != "int8":
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
        spec.image.CopyFrom(_image_encoding(recipe.image))
    return spec


def _sample_encoding(recipe: Recipe, dataset: str, images: ImageSpec) -> encoder_pb2.EncodingSpec:
    """What a source of a mixture must become, with the tokenizer of the model that writes."""
    return encoder_pb2.EncodingSpec(
        dataset=dataset,
        tokenizer=encoder_pb2.TokenizerSpec(model=recipe.model.initial or recipe.fusion.text),
        image=_image_encoding(images),
        samples=True,
    )


def _image_encoding(image: ImageSpec) -> encoder_pb2.ImageEncoding:
    return encoder_pb2.ImageEncoding(
        height=image.image_height, width=image.image_width, channels=image.channels, fit=_FITS[image.fit]
    )


def _tokenizer(recipe: Recipe) -> encoder_pb2.TokenizerSpec:
    """A model to continue from brings its own."""
    if recipe.model.initial:
        return encoder_pb2.TokenizerSpec(model=recipe.model.initial)
    tokenizer = recipe.data.tokenizer
    return encoder_pb2.TokenizerSpec(kind=_TOKENIZERS[tokenizer.kind], vocab_size=tokenizer.vocab_size or 0)


def _job_of_request(jobs: JobClient, new: NewJob) -> Job | None:
    token = ""
    while True:
        page = jobs.list_jobs(page_size=_PAGE_SIZE, page_token=token, kind=KIND)
        for job in page.jobs:
            if (job.owner, job.request_id) == (new.owner, new.request_id):
                return job
        token = page.next_page_token
        if not token:
            return None


def _asks_for(recipe: Recipe, job: Job) -> bool:
    """Whether the recipe, by the versions that were newest then, is the one this job trains."""
    theirs = TrainingSpec.FromString(job.spec.value).recipe
    mine = recipe_to_message(recipe)
    if recipe.task == "fusion":
        for name in BACKBONES:
            version = getattr(theirs.fusion, name)
            setattr(mine.fusion, name, _as_then(getattr(mine.fusion, name), version))
        for ours, other in zip(mine.mixture.sources, theirs.mixture.sources, strict=False):
            ours.dataset = _as_then(ours.dataset, other.dataset)
    elif recipe.task != "int8":
        mine.data.dataset = _as_then(mine.data.dataset, theirs.data.dataset)
    if recipe.model.initial:
        mine.model.initial = _as_then(mine.model.initial, theirs.model.initial)
    return mine == theirs


def _as_then(name: str, version: str) -> str:
    return version if version.startswith(f"{name}/versions/") else name
