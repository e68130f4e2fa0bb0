"""From a request to a job: names become versions, and the same work becomes the same job."""

import hashlib
from dataclasses import replace

from vermeil.encoder.v1 import encoder_pb2
from vermeil.encoder.v1.encoder_service_pb2 import StartEncodingRequest
from vermeil_artifacts import ArtifactRef
from vermeil_data import ImageEncoding, TokenizerSpec
from vermeil_data.tokenizer_training import DEFAULT_VOCAB_SIZE
from vermeil_errors import InvalidInput
from vermeil_jobs import Job, JobState, NewJob, Registry, Spec
from vermeil_jobs.messages import priority_from_message
from vermeil_telemetry import current_traceparent

ENCODE, EMBED = "vermeil.encoder.v1.encode_images", "vermeil.encoder.v1.embed_images"
QUEUE = "encoder-image"
ENCODED, EMBEDDINGS = "encoded", "embeddings"
"""Outputs of the two kinds of job."""

_FITS = {
    encoder_pb2.IMAGE_FIT_UNSPECIFIED: "crop",
    encoder_pb2.IMAGE_FIT_CROP: "crop",
    encoder_pb2.IMAGE_FIT_PAD: "pad",
    encoder_pb2.IMAGE_FIT_STRETCH: "stretch",
}
_KINDS = {
    encoder_pb2.TOKENIZER_KIND_UNSPECIFIED: "bpe",
    encoder_pb2.TOKENIZER_KIND_BPE: "bpe",
    encoder_pb2.TOKENIZER_KIND_BYTE: "byte",
    encoder_pb2.TOKENIZER_KIND_CHARACTER: "character",
}


def submit(request: StartEncodingRequest, registry: Registry) -> Job:
    """Create the job; without a request id, work that is done or under way is not begun again."""
    asked = request.spec
    if asked.HasField("image") == bool(asked.embedding_model):
        raise InvalidInput(
            "pictures are either laid down in a form or embedded",
            field="spec.image",
            fix="give image, or embedding_model; texts go to the text encoder",
        )
    if asked.samples and asked.embedding_model:
        raise InvalidInput(
            "means nothing where pictures are embedded", field="spec.samples", fix="leave it out"
        )
    if asked.samples and not asked.HasField("tokenizer"):
        fix = "name the model whose tokenizer is to be used, or a kind"
        raise InvalidInput("is required for samples", field="spec.tokenizer", fix=fix)
    dataset = registry.names.dataset_version(asked.dataset)
    inputs = {"dataset": dataset.artifact}
    settled = (_settled_embedding if asked.embedding_model else _settled_form)(asked, registry, inputs)
    settled.dataset = dataset.name
    spec = Spec.pack(settled)
    new = NewJob(
        kind=EMBED if asked.embedding_model else ENCODE,
        queue=QUEUE,
        spec=spec,
        request_id=request.request_id or f"encode-{hashlib.sha256(spec.value).hexdigest()[:32]}",
        inputs=inputs,
        priority=priority_from_message(request.priority),
        traceparent=current_traceparent(),
    )
    job = registry.jobs.create(new)
    tries = 1
    while not request.request_id and job.state in (JobState.FAILED, JobState.CANCELLED):
        tries += 1
        job = registry.jobs.create(replace(new, request_id=f"{new.request_id}-{tries}"))
    return job


def image_encoding(image: encoder_pb2.ImageEncoding) -> ImageEncoding:
    """The form to lay pictures down in, checked."""
    if image.fit not in _FITS:
        raise InvalidInput.for_field("spec.image.fit", image.fit, "is unknown", "use 0 to 3")
    return ImageEncoding(image.height, image.width, image.channels or 3, _FITS[image.fit])  # type: ignore[arg-type]


def tokenizer_spec(tokenizer: encoder_pb2.TokenizerSpec) -> TokenizerSpec:
    """The tokenizer to make of captions, checked."""
    if tokenizer.kind not in _KINDS:
        raise InvalidInput.for_field("spec.tokenizer.kind", tokenizer.kind, "is unknown", "use 0 to 3")
    return TokenizerSpec(_KINDS[tokenizer.kind], tokenizer.vocab_size or None)  # type: ignore[arg-type]


def _settled_form(
    asked: encoder_pb2.EncodingSpec, registry: Registry, inputs: dict[str, ArtifactRef]
) -> encoder_pb2.EncodingSpec:
    """With defaults filled in, so that they and their absence are the same work."""
    image_encoding(asked.image)
    image = encoder_pb2.ImageEncoding()
    image.CopyFrom(asked.image)
    image.channels = image.channels or 3
    image.fit = image.fit or encoder_pb2.IMAGE_FIT_CROP
    settled = encoder_pb2.EncodingSpec(image=image, samples=asked.samples)
    if asked.HasField("tokenizer"):
        settled.tokenizer.CopyFrom(_settled_tokenizer(asked.tokenizer, registry, inputs))
    return settled


def _settled_tokenizer(
    tokenizer: encoder_pb2.TokenizerSpec, registry: Registry, inputs: dict[str, ArtifactRef]
) -> encoder_pb2.TokenizerSpec:
    if not tokenizer.model:
        spec = tokenizer_spec(tokenizer)
        size = spec.vocab_size or (DEFAULT_VOCAB_SIZE if spec.kind == "bpe" else 0)
        kind = tokenizer.kind or encoder_pb2.TOKENIZER_KIND_BPE
        return encoder_pb2.TokenizerSpec(kind=kind, vocab_size=size)
    if tokenizer.kind or tokenizer.vocab_size:
        raise InvalidInput(
            "a model brings its own tokenizer", field="spec.tokenizer", fix="leave out kind and vocab_size"
        )
    model = registry.names.model_version(tokenizer.model)
    inputs["tokenizer"] = model.artifact
    return encoder_pb2.TokenizerSpec(model=model.name)


def _settled_embedding(
    asked: encoder_pb2.EncodingSpec, registry: Registry, inputs: dict[str, ArtifactRef]
) -> encoder_pb2.EncodingSpec:
    if asked.HasField("tokenizer"):
        raise InvalidInput(
            "a model brings its own tokenizer", field="spec.tokenizer", fix="leave out the tokenizer"
        )
    model = registry.names.model_version(asked.embedding_model)
    inputs["model"] = model.artifact
    return encoder_pb2.EncodingSpec(embedding_model=model.name)
