"""From a request to a job: names become versions, and the same work becomes the same job."""

import hashlib
from dataclasses import replace
from typing import Literal

from vermeil.encoder.v1 import encoder_pb2
from vermeil.encoder.v1.encoder_service_pb2 import StartEncodingRequest
from vermeil_data import TokenizerSpec
from vermeil_data.tokenizer_training import DEFAULT_VOCAB_SIZE
from vermeil_errors import InvalidInput
from vermeil_jobs import Job, JobState, NewJob, Registry, Spec
from vermeil_jobs.messages import priority_from_message
from vermeil_telemetry import current_traceparent

KIND = "vermeil.encoder.v1.encode"
QUEUE = "encoder-text"

_KINDS: dict[int, Literal["bpe", "byte", "character"]] = {
    encoder_pb2.TOKENIZER_KIND_UNSPECIFIED: "bpe",
    encoder_pb2.TOKENIZER_KIND_BPE: "bpe",
    encoder_pb2.TOKENIZER_KIND_BYTE: "byte",
    encoder_pb2.TOKENIZER_KIND_CHARACTER: "character",
}


def submit(request: StartEncodingRequest, registry: Registry) -> Job:
    """Create the job; without a request id, work that is done or under way is not begun again."""
    asked = request.spec
    if asked.HasField("image") or asked.embedding_model or asked.samples:
        raise InvalidInput("pictures are not encoded here", field="spec", fix="ask the image encoder")
    dataset = registry.names.dataset_version(request.spec.dataset)
    inputs = {"dataset": dataset.artifact}
    tokenizer = request.spec.tokenizer
    if tokenizer.model:
        model = registry.names.model_version(tokenizer.model)
        inputs["tokenizer"] = model.artifact
        tokenizer = _of_model(tokenizer, model.name)
    else:
        tokenizer = _to_make(tokenizer)
    spec = Spec.pack(encoder_pb2.EncodingSpec(dataset=dataset.name, tokenizer=tokenizer))
    new = NewJob(
        kind=KIND,
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


def tokenizer_spec(tokenizer: encoder_pb2.TokenizerSpec) -> TokenizerSpec:
    """The tokenizer to make, checked."""
    if tokenizer.kind not in _KINDS:
        raise InvalidInput.for_field("spec.tokenizer.kind", tokenizer.kind, "is unknown", "use 0 to 3")
    return TokenizerSpec(_KINDS[tokenizer.kind], tokenizer.vocab_size or None)


def _to_make(tokenizer: encoder_pb2.TokenizerSpec) -> encoder_pb2.TokenizerSpec:
    """With defaults filled in, so that they and their absence are the same work."""
    spec = tokenizer_spec(tokenizer)
    size = spec.vocab_size or (DEFAULT_VOCAB_SIZE if spec.kind == "bpe" else 0)
    return encoder_pb2.TokenizerSpec(kind=tokenizer.kind or encoder_pb2.TOKENIZER_KIND_BPE, vocab_size=size)


def _of_model(tokenizer: encoder_pb2.TokenizerSpec, name: str) -> encoder_pb2.TokenizerSpec:
    if tokenizer.kind or tokenizer.vocab_size:
        raise InvalidInput(
            "a model brings its own tokenizer", field="spec.tokenizer", fix="leave out kind and vocab_size"
        )
    return encoder_pb2.TokenizerSpec(model=name)
