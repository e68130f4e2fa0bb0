"""The Celery task "vermeil.encoder.v1.encode": do the job, publish what came out."""

import shutil
from functools import partial

from vermeil.encoder.v1.encoder_pb2 import EncodingSpec
from vermeil.encoder.v1.encoder_service_pb2 import StartEncodingRequest
from vermeil_artifacts import ArtifactStore, await_store
from vermeil_errors import InvalidInput
from vermeil_jobs import JobContext, JobKind, JobOutcome, JobsApp, Registry, registry_at
from vermeil_jobs import register as register_kind

from vermeil_encoders_text.encode import encode
from vermeil_encoders_text.settings import EncoderTextSettings
from vermeil_encoders_text.submit import KIND, QUEUE, submit, tokenizer_spec
from vermeil_encoders_text.tokenizers import read_tokenizer


def register(app: JobsApp, settings: EncoderTextSettings | None = None) -> list[str]:
    """Let the workers of `app` encode; the queues they must listen on."""
    settings = settings or EncoderTextSettings.load()
    known = registry_at(settings)
    register_kind(app, job_kind(known, await_store(settings)), known.jobs)
    return [QUEUE]


def job_kind(known: Registry, store: ArtifactStore) -> JobKind[StartEncodingRequest, EncodingSpec]:
    """The sort of work, with everything it needs."""
    return JobKind(
        name=KIND,
        queue=QUEUE,
        request_type=StartEncodingRequest,
        spec_type=EncodingSpec,
        submit=partial(submit, registry=known),
        work=partial(_work, store=store),
    )


def _work(context: JobContext, spec: EncodingSpec, store: ArtifactStore) -> JobOutcome:
    def report(done: int, total: int, message: str) -> None:
        context.check()
        context.progress(done, total, message, unit="documents")

    inputs = context.job.inputs
    if "dataset" not in inputs:
        raise InvalidInput(
            "the job names no dataset to read", field="inputs", fix="submit it by StartEncoding"
        )
    tokenizer = (
        read_tokenizer(store, inputs["tokenizer"].digest)
        if "tokenizer" in inputs
        else tokenizer_spec(spec.tokenizer)
    )
    folder = context.workdir / "encoded"
    shutil.rmtree(folder, ignore_errors=True)
    encoded = encode(store.fetch(inputs["dataset"]), tokenizer, folder, report)
    ref = store.publish(folder, kind="encoded-dataset", provenance={"job": context.job.name})
    num_tokens = {name: split.num_tokens for name, split in encoded.card.splits.items()}
    return JobOutcome(
        outputs={"encoded": ref},
        result={"dataset": spec.dataset, "vocab_size": encoded.vocab_size, "num_tokens": num_tokens},
    )
