"""The trainer's peers in memory, for tests: names of finished jobs, and encoders that really encode."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from google.protobuf import json_format
from vermeil.encoder.v1 import encoder_pb2
from vermeil.training.v1.training_service_pb2 import StartTrainingRequest
from vermeil_artifacts import ArtifactStore, LocalStore
from vermeil_data import (
    Dataset,
    ImageEncoding,
    Sample,
    TextTokenizer,
    TokenizerSpec,
    encode_dataset,
    encode_images,
    encode_samples,
    fit_tokenizer,
    open_dataset,
    write_dataset,
)
from vermeil_data.testing import asked_samples, documents, picture_samples
from vermeil_jobs import (
    Drain,
    Job,
    JobOutcome,
    JobState,
    MemoryJobs,
    MemoryNames,
    NewDatasetVersion,
    NewJob,
    NewModelVersion,
    Priority,
    Runner,
    Spec,
)

from vermeil_trainer.clients import Peers
from vermeil_trainer.submit import ENCODED, submit
from vermeil_trainer.tasks import job_kind

Values = dict[str, Any]

_KINDS = {
    encoder_pb2.TOKENIZER_KIND_BPE: "bpe",
    encoder_pb2.TOKENIZER_KIND_BYTE: "byte",
    encoder_pb2.TOKENIZER_KIND_CHARACTER: "character",
}
_FITS = {
    encoder_pb2.IMAGE_FIT_CROP: "crop",
    encoder_pb2.IMAGE_FIT_PAD: "pad",
    encoder_pb2.IMAGE_FIT_STRETCH: "stretch",
}


class MemoryEncoder:
    """Encodes in jobs of MemoryJobs, each work once; a job is done when `work` is called."""

    def __init__(self, jobs: MemoryJobs, names: MemoryNames, store: ArtifactStore, folder: Path) -> None:
        self._jobs, self._names, self._store, self._folder = jobs, names, store, folder

    def start(self, spec: encoder_pb2.EncodingSpec, priority: Priority) -> str:
        """Name of the job that encodes this, or has done so already."""
        packed = Spec.pack(spec)
        request_id = f"encode-{hashlib.sha256(packed.value).hexdigest()[:32]}"
        new = NewJob("vermeil.encoder.v1.encode", "encoder", packed, request_id, priority=priority)
        return self._jobs.create(new).name

    def work(self, name: str) -> None:
        """Do a job that was started."""
        claimed = self._jobs.claim(name, worker="encoder")
        if claimed.job.state is JobState.SUCCEEDED:
            return
        assert claimed.lease is not None
        spec = encoder_pb2.EncodingSpec.FromString(claimed.job.spec.value)
        raw = open_dataset(self._store.fetch(self._names.dataset_version(spec.dataset).artifact))
        tokenizer = self._tokenizer(spec.tokenizer, raw) if spec.HasField("tokenizer") else None
        folder = self._folder / name.replace("/", "-")
        if spec.HasField("image"):
            image = spec.image
            fit = _FITS[image.fit]
            encoding = ImageEncoding(image.height, image.width, image.channels, fit)  # type: ignore[arg-type]
            if spec.samples:
                assert tokenizer is not None
                encode_samples(raw, encoding, tokenizer, folder)
            else:
                encode_images(raw, encoding, folder, tokenizer=tokenizer)
        else:
            assert tokenizer is not None
            encode_dataset(raw, tokenizer, folder)
        outcome = JobOutcome(outputs={ENCODED: self._store.publish(folder, kind="encoded-dataset")})
        self._jobs.finish(name, fence=claimed.lease.fence, outcome=outcome)

    def _tokenizer(self, wanted: encoder_pb2.TokenizerSpec, raw: Dataset) -> TextTokenizer:
        if wanted.model:
            return TextTokenizer.load(self._store.fetch(self._names.model_version(wanted.model).artifact))
        kind, vocab_size = _KINDS[wanted.kind], wanted.vocab_size or None
        return fit_tokenizer(raw, TokenizerSpec(kind, vocab_size))  # type: ignore[arg-type]


def write_words(folder: Path, num_documents: int = 60) -> Path:
    """A raw dataset of generated words."""
    texts = [Sample.of_text(text) for text in documents(num_documents)]
    write_dataset(folder, {"train": texts[10:], "validation": texts[:10]}, "words")
    return folder


def write_pictures(folder: Path, num_pictures: int = 60) -> Path:
    """A raw dataset of generated pictures with classes and captions."""
    pictures = picture_samples(num_pictures)
    write_dataset(folder, {"train": pictures[12:], "validation": pictures[:12]}, "pictures")
    return folder


def write_questions(folder: Path, num_questions: int = 40) -> Path:
    """A raw dataset of questions about generated pictures."""
    asked = asked_samples(num_questions)
    write_dataset(folder, {"train": asked[8:], "validation": asked[:8]}, "questions")
    return folder


@dataclass
class World:
    """Everything around the trainer."""

    jobs: MemoryJobs
    store: LocalStore
    home: Path
    peers: Peers
    encoder: MemoryEncoder

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Without any data yet."""
        jobs, store = MemoryJobs(), LocalStore(folder / "artifacts")
        names = MemoryNames(jobs)
        encoder = MemoryEncoder(jobs, names, store, folder / "encoder")
        return cls(jobs, store, folder / "home", Peers(jobs, names, encoder, encoder), encoder)

    def register(self, version: NewDatasetVersion | NewModelVersion) -> None:
        """As a finished job does."""
        spec = Spec.pack(StartTrainingRequest())
        request_id = f"register-{len(self.jobs.rows.versions)}"
        job = self.jobs.create(NewJob("vermeil.tester.v1.test", "tester", spec, request_id))
        lease = self.jobs.claim(job.name, worker="tester").lease
        assert lease
        field = "dataset_versions" if isinstance(version, NewDatasetVersion) else "model_versions"
        outcome = JobOutcome(**{field: (version,)})  # type: ignore[arg-type]
        self.jobs.finish(job.name, fence=lease.fence, outcome=outcome)

    def add_dataset(self, folder: Path, name: str = "datasets/words") -> None:
        """One more version."""
        self.register(NewDatasetVersion(name, self.store.publish(folder, kind="dataset")))

    def request(self, recipe: Values, request_id: str = "first") -> StartTrainingRequest:
        """As a client sends it."""
        body = {"recipe": recipe, "request_id": request_id}
        return json_format.ParseDict(body, StartTrainingRequest())

    def submit(self, recipe: Values, request_id: str = "first") -> Job:
        """As the service does."""
        return submit(self.request(recipe, request_id), self.peers)

    def work(self, job: Job, drain: Drain | None = None) -> Job:
        """As the workers do, first the encoder's, then the trainer's."""
        for name in job.after:
            self.encoder.work(name)
        done = Runner(self.jobs, job_kind(self.peers, self.store), self.home, drain).run(job.name)
        assert done
        return done
