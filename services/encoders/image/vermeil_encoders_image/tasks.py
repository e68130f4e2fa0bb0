"""The Celery tasks of the queue "encoder-image": do the job, publish what came out."""

import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

from vermeil.encoder.v1.encoder_pb2 import EncodingSpec
from vermeil.encoder.v1.encoder_service_pb2 import StartEncodingRequest
from vermeil_artifacts import ArtifactRef, ArtifactStore, await_store
from vermeil_data import EncodedImages, EncodedSamples, TextTokenizer, TokenizerSpec
from vermeil_errors import InvalidInput
from vermeil_jobs import JobContext, JobKind, JobOutcome, JobsApp, Registry, registry_at
from vermeil_jobs import register as register_kind

from vermeil_encoders_image.encode import Report, encode, encode_told
from vermeil_encoders_image.settings import EncoderImageSettings
from vermeil_encoders_image.submit import (
    EMBED,
    EMBEDDINGS,
    ENCODE,
    ENCODED,
    QUEUE,
    image_encoding,
    submit,
    tokenizer_spec,
)

Work = Callable[..., JobOutcome]
"""Of context, specification and store."""


def register(app: JobsApp, settings: EncoderImageSettings | None = None) -> list[str]:
    """Let the workers of `app` encode and embed; the queues they must listen on."""
    settings = settings or EncoderImageSettings.load()
    known = registry_at(settings)
    for kind in job_kinds(known, await_store(settings)):
        register_kind(app, kind, known.jobs)
    return [QUEUE]


def job_kinds(
    known: Registry, store: ArtifactStore
) -> tuple[JobKind[StartEncodingRequest, EncodingSpec], ...]:
    """The sorts of work, with everything they need."""

    def kind(name: str, work: Work) -> JobKind[StartEncodingRequest, EncodingSpec]:
        return JobKind(
            name=name,
            queue=QUEUE,
            request_type=StartEncodingRequest,
            spec_type=EncodingSpec,
            submit=partial(submit, registry=known),
            work=partial(work, store=store),
        )

    return kind(ENCODE, _encode), kind(EMBED, _embed)


def _encode(context: JobContext, spec: EncodingSpec, store: ArtifactStore) -> JobOutcome:
    tokenizer: TokenizerSpec | TextTokenizer | None = None
    if "tokenizer" in context.job.inputs:
        tokenizer = TextTokenizer.load(store.fetch(context.job.inputs["tokenizer"]))
    elif spec.HasField("tokenizer"):
        tokenizer = tokenizer_spec(spec.tokenizer)
    folder = context.workdir / ENCODED
    shutil.rmtree(folder, ignore_errors=True)
    raw, form = store.fetch(_input(context, "dataset")), image_encoding(spec.image)
    made: EncodedImages | EncodedSamples
    if spec.samples and tokenizer:
        made = encode_told(raw, form, tokenizer, folder, _reporter(context, "samples"))
    else:
        made = encode(raw, form, tokenizer, folder, _reporter(context))
    ref = store.publish(folder, kind="encoded-dataset", provenance={"job": context.job.name})
    return JobOutcome(outputs={ENCODED: ref}, result={"dataset": spec.dataset, **_counts(made)})


def _counts(made: EncodedImages | EncodedSamples) -> dict[str, Any]:
    """What the job tells of its work."""
    splits = made.card.splits
    counts = {"num_classes": len(made.class_names), "vocab_size": made.vocab_size}
    if isinstance(made, EncodedImages):
        return {"num_images": {name: split.num_samples for name, split in splits.items()}, **counts}
    return {
        "num_samples": {name: split.num_samples for name, split in splits.items()},
        "num_pictures": {name: split.num_pictures for name, split in splits.items()},
        "num_tokens": {name: split.num_tokens for name, split in splits.items()},
        **counts,
    }


def _embed(context: JobContext, spec: EncodingSpec, store: ArtifactStore) -> JobOutcome:
    # Seconds of imports, for those who embed: a worker is ready before.
    from vermeil_encoders_image.embed import embed  # noqa: PLC0415

    folder = context.workdir / EMBEDDINGS
    shutil.rmtree(folder, ignore_errors=True)
    made = embed(
        store.fetch(_input(context, "dataset")),
        store.fetch(_input(context, "model")),
        folder,
        dataset=spec.dataset,
        model=spec.embedding_model,
        report=_reporter(context),
    )
    ref = store.publish(folder, kind=EMBEDDINGS, provenance={"job": context.job.name})
    return JobOutcome(
        outputs={EMBEDDINGS: ref},
        result={
            "dataset": spec.dataset,
            "model": spec.embedding_model,
            "width": made.card.width,
            "num_images": dict(made.card.splits),
        },
    )


def _input(context: JobContext, name: str) -> ArtifactRef:
    if name not in context.job.inputs:
        raise InvalidInput(
            f"the job names no {name} to read", field="inputs", fix="submit it by StartEncoding"
        )
    return context.job.inputs[name]


def _reporter(context: JobContext, unit: str = "images") -> Report:
    def report(done: int, total: int, message: str) -> None:
        context.check()
        context.progress(done, total, message, unit=unit)

    return report
