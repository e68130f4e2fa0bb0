"""What callers of the image encoder may rely on: encoded pictures, embeddings, and finding by them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vermeil.content.v1.content_pb2 import Media
from vermeil.encoder.v1 import encoder_pb2
from vermeil.encoder.v1 import encoder_service_pb2 as wire
from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceStub
from vermeil_artifacts import ArtifactRef, LocalStore
from vermeil_data import (
    Sample,
    TextTokenizer,
    TokenizerSpec,
    open_embeddings,
    open_encoded_images,
    open_encoded_samples,
    train_tokenizer,
    write_dataset,
)
from vermeil_data.testing import asked_samples, picture_samples
from vermeil_encoders_image.dual_model import DualModel
from vermeil_encoders_image.settings import EncoderImageSettings
from vermeil_encoders_image.submit import submit
from vermeil_encoders_image.tasks import job_kinds
from vermeil_encoders_image.wiring import build
from vermeil_errors import Conflict, InvalidInput, NotFound, TooLarge, VermeilError
from vermeil_jobs import (
    Job,
    JobContext,
    JobOutcome,
    JobState,
    MemoryJobs,
    MemoryNames,
    NewDatasetVersion,
    NewJob,
    NewModelVersion,
    Registry,
    Runner,
    Spec,
)
from vermeil_model import ClassifierConfig, DualConfig, DualEncoder, ImageClassifier, save_checkpoint
from vermeil_rpc import connect
from vermeil_rpc.convert import artifact_to_message
from vermeil_rpc.testing import running

FORM = {"height": 8, "width": 6}
SAMPLES = picture_samples(30)
BYTE = encoder_pb2.TOKENIZER_KIND_BYTE


@dataclass
class World:
    """A registry and a store with pictures and a dual model in them."""

    jobs: MemoryJobs
    store: LocalStore
    home: Path
    registry: Registry

    def publish(self, folder: Path, kind: str) -> ArtifactRef:
        return self.store.publish(folder, kind=kind)

    def register(self, version: NewDatasetVersion | NewModelVersion) -> None:
        """As a finished job does."""
        new = NewJob("vermeil.tester.v1.test", "tester", Spec.pack(wire.EncodeRequest()), version.line)
        job = self.jobs.create(new)
        lease = self.jobs.claim(job.name, worker="tester").lease
        assert lease
        versions: dict[str, Any] = {
            "dataset_versions" if isinstance(version, NewDatasetVersion) else "model_versions": (version,)
        }
        self.jobs.finish(job.name, fence=lease.fence, outcome=JobOutcome(**versions))

    def submit(self, request_id: str = "", dataset: str = "datasets/pictures", **spec: Any) -> Job:
        made = encoder_pb2.EncodingSpec(dataset=dataset, **spec)
        return submit(wire.StartEncodingRequest(spec=made, request_id=request_id), self.registry)

    def work(self, job: Job) -> Job:
        """As a worker does."""
        kinds = {kind.name: kind for kind in job_kinds(self.registry, self.store)}
        done = Runner(self.jobs, kinds[job.kind], self.home).run(job.name)
        assert done
        return done


@pytest.fixture
def world(tmp_path: Path) -> World:
    jobs, store = MemoryJobs(), LocalStore(tmp_path / "artifacts")
    made = World(jobs, store, tmp_path / "home", Registry(jobs, MemoryNames(jobs)))
    write_dataset(tmp_path / "raw", {"train": SAMPLES[:24], "validation": SAMPLES[24:]}, "pictures")
    made.register(NewDatasetVersion("datasets/pictures", made.publish(tmp_path / "raw", "dataset")))
    tokenizer = train_tokenizer([], TokenizerSpec("byte"))
    config = DualConfig.from_depth(
        1,
        width=32,
        num_heads=2,
        image_height=8,
        image_width=8,
        channels=3,
        patch_size=4,
        vocab_size=tokenizer.vocab_size,
        context_length=16,
        embedding_width=12,
    )
    save_checkpoint(tmp_path / "dual", DualEncoder(config), extra={"image_fit": "crop"})
    tokenizer.save(tmp_path / "dual")
    made.register(NewModelVersion("models/pairs", made.publish(tmp_path / "dual", "model")))
    return made


@pytest.fixture
def stub(world: World, request: pytest.FixtureRequest) -> Iterator[EncoderServiceStub]:
    """The service; settings of its own are a test's parameters."""
    settings = EncoderImageSettings.load(**getattr(request, "param", {}))

    def services() -> Any:
        return build(settings, known=world.registry, store=world.store)

    with running(services) as server, connect(server.address) as channel:
        yield EncoderServiceStub(channel)


def _vectors(answer: wire.EncodeResponse) -> np.ndarray:  # type: ignore[type-arg]
    return np.stack([np.frombuffer(each.values, "<f4") for each in answer.embeddings])


def test_a_job_lays_pictures_down_in_the_form_asked_for(world: World) -> None:
    done = world.work(world.submit(image=FORM))
    assert done.state is JobState.SUCCEEDED, done.error
    assert done.kind == "vermeil.encoder.v1.encode_images"
    assert done.result["dataset"] == "datasets/pictures/versions/1"
    assert done.result["num_images"] == {"train": 24, "validation": 6}
    assert done.result["num_classes"] == 3
    encoded = open_encoded_images(world.store.fetch(done.outputs["encoded"]))
    encoded.verify()
    assert encoded.pixels("train").shape == (24, 3, 8, 6)
    assert encoded.tokenizer is None
    assert (done.progress.done, done.progress.total, done.progress.unit) == (30, 30, "images")


def test_captions_are_encoded_by_a_tokenizer_made_for_them_or_by_a_models(world: World) -> None:
    made = world.work(world.submit(image=FORM, tokenizer={"kind": BYTE}))
    brought = world.work(world.submit(image=FORM, tokenizer={"model": "models/pairs"}))
    assert made.outputs == brought.outputs
    encoded = open_encoded_images(world.store.fetch(made.outputs["encoded"]))
    assert encoded.tokenizer
    first = encoded.captions("train").of(1)
    assert [encoded.tokenizer.decode(ids.tolist()) for ids in first] == ["check number 1", "check"]


def test_samples_are_laid_down_as_they_are_told_with_the_tokenizer_of_a_model(
    world: World, tmp_path: Path
) -> None:
    samples = {"train": [*asked_samples(10), Sample.of_text("plain")], "validation": SAMPLES[:3]}
    write_dataset(tmp_path / "told", samples, "told")
    world.register(NewDatasetVersion("datasets/told", world.publish(tmp_path / "told", "dataset")))
    told = {"image": FORM, "tokenizer": {"model": "models/pairs"}, "samples": True}
    done = world.work(world.submit(dataset="datasets/told", **told))
    assert done.state is JobState.SUCCEEDED, done.error
    assert done.result["num_samples"] == {"train": 11, "validation": 3}
    assert done.result["num_pictures"] == {"train": 5, "validation": 3}
    assert (done.progress.done, done.progress.total, done.progress.unit) == (14, 14, "samples")
    encoded = open_encoded_samples(world.store.fetch(done.outputs["encoded"]))
    encoded.verify()
    model = world.registry.names.model_version("models/pairs").artifact
    theirs = TextTokenizer.load(world.store.fetch(model))
    assert encoded.tokenizer.encode("a stripe") == theirs.encode("a stripe")
    assert encoded.samples("train").pixels_PCHW.shape == (5, 3, 8, 6)
    plain = world.submit(dataset="datasets/told", image=FORM, tokenizer={"model": "models/pairs"})
    assert plain.name != done.name


def test_the_same_work_is_the_same_job(world: World) -> None:
    first = world.submit(image=FORM)
    spelled_out = {**FORM, "channels": 3, "fit": encoder_pb2.IMAGE_FIT_CROP}
    assert world.submit(image=spelled_out, dataset="datasets/pictures/versions/1").name == first.name
    assert world.submit(image={**FORM, "channels": 1}).name != first.name
    assert world.submit(image=FORM, request_id="mine").name != first.name
    world.jobs.cancel(first.name)
    assert world.submit(image=FORM).name != first.name


def test_a_job_embeds_every_picture_of_a_dataset(world: World) -> None:
    done = world.work(world.submit(embedding_model="models/pairs"))
    assert done.state is JobState.SUCCEEDED, done.error
    assert (done.kind, done.result["width"]) == ("vermeil.encoder.v1.embed_images", 12)
    embeddings = open_embeddings(world.store.fetch(done.outputs["embeddings"]))
    assert embeddings.card.model == "models/pairs/versions/1"
    ids, vectors_NE = embeddings.split("train")
    assert list(ids) == [sample.id for sample in SAMPLES[:24]]
    assert np.linalg.norm(vectors_NE.astype(np.float32), axis=1) == pytest.approx(1, abs=1e-2)


def test_a_few_texts_and_pictures_become_unit_vectors(world: World, stub: EncoderServiceStub) -> None:
    files = [sample.segments[-1].data for sample in SAMPLES[:3]]
    request = wire.EncodeRequest(
        model="models/pairs", texts=["a check", ""], images=[Media(inline=file) for file in files]
    )
    vectors = _vectors(stub.Encode(request, timeout=60))
    assert vectors.shape == (5, 12)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    dual = DualModel(world.store.fetch(world.registry.names.model_version("models/pairs").artifact))
    assert vectors[0] == pytest.approx(dual.embed_texts(["a check"])[0], abs=1e-5)
    pixels = [dual.pixels(file or b"") for file in files]
    assert vectors[2:] == pytest.approx(dual.embed_pictures(pixels), abs=1e-5)


def test_a_picture_may_lie_in_the_store(world: World, stub: EncoderServiceStub, tmp_path: Path) -> None:
    file = SAMPLES[0].segments[-1].data or b""
    (tmp_path / "one").mkdir()
    (tmp_path / "one/picture.png").write_bytes(file)
    ref = artifact_to_message(world.publish(tmp_path / "one", "picture"))
    by_reference, inline = (
        _vectors(stub.Encode(wire.EncodeRequest(model="models/pairs", images=[media]), timeout=60))
        for media in (Media(artifact=ref, path="picture.png"), Media(inline=file))
    )
    assert np.array_equal(by_reference, inline)


@pytest.mark.parametrize("stub", [{"encoder_max_batch": 16, "encoder_max_wait": 10}], indirect=True)
def test_calls_at_the_same_time_are_embedded_together(
    world: World, stub: EncoderServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    embed = DualModel.embed_texts

    def counted(self: DualModel, texts: Any) -> Any:
        sizes.append(len(texts))
        return embed(self, texts)

    monkeypatch.setattr(DualModel, "embed_texts", counted)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    request = wire.EncodeRequest(model="models/pairs", texts=["x"])
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: stub.Encode(request, timeout=60), range(16)))
    assert sum(sizes) == 16
    assert len(sizes) < 16


def test_a_picture_finds_itself_first(world: World, stub: EncoderServiceStub) -> None:
    world.work(world.submit(embedding_model="models/pairs"))
    sample = SAMPLES[26]
    request = wire.SearchRequest(
        dataset="datasets/pictures",
        model="models/pairs",
        image=Media(inline=sample.segments[-1].data or b""),
        num_hits=4,
        previews=True,
    )
    answer = stub.Search(request, timeout=60)
    assert len(answer.hits) == 4
    first = answer.hits[0]
    assert (first.sample, first.split, first.index, first.class_name) == ("26", "validation", 2, "slope")
    assert first.score == pytest.approx(1, abs=1e-2)
    assert first.captions[0] == "slope number 26"
    assert first.preview.startswith(b"\x89PNG")
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    assert (answer.dataset, answer.model) == ("datasets/pictures/versions/1", "models/pairs/versions/1")


def test_a_text_finds_pictures_as_its_vector_says(world: World, stub: EncoderServiceStub) -> None:
    done = world.work(world.submit(embedding_model="models/pairs"))
    request = wire.SearchRequest(dataset="datasets/pictures", model="models/pairs", text="a stripe")
    hits = stub.Search(request, timeout=60).hits
    (query,) = _vectors(stub.Encode(wire.EncodeRequest(model="models/pairs", texts=["a stripe"]), timeout=60))
    nearest = open_embeddings(world.store.fetch(done.outputs["embeddings"])).nearest(query, 10)
    assert [hit.sample for hit in hits] == [each.id for each in nearest]
    assert not hits[0].preview


def test_a_search_before_the_embeddings_are_made_names_the_job_that_makes_them(
    world: World, stub: EncoderServiceStub
) -> None:
    request = wire.SearchRequest(dataset="datasets/pictures", model="models/pairs", text="a stripe")
    with pytest.raises(Conflict, match=r"still being made by jobs/.*\(pending\)"):
        stub.Search(request, timeout=60)
    world.work(world.submit(embedding_model="models/pairs"))
    assert stub.Search(request, timeout=60).hits


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({}, InvalidInput, "either laid down in a form or embedded"),
        ({"image": FORM, "embedding_model": "models/pairs"}, InvalidInput, "either laid down in a form or"),
        ({"image": {"height": 0, "width": 8}}, InvalidInput, "height = 0: must be 1 to 4096"),
        ({"image": {**FORM, "channels": 2}}, InvalidInput, "channels = 2: is unknown"),
        ({"image": {**FORM, "fit": 9}}, InvalidInput, r"spec\.image\.fit = 9: is unknown"),
        ({"image": FORM, "tokenizer": {"kind": 9}}, InvalidInput, r"tokenizer\.kind = 9: is unknown"),
        ({"image": FORM, "tokenizer": {"model": "models/none"}}, NotFound, "models/none does not exist"),
        (
            {"image": FORM, "samples": True},
            InvalidInput,
            r"spec\.tokenizer: is required for samples; name the",
        ),
        ({"embedding_model": "models/pairs", "samples": True}, InvalidInput, r"spec\.samples: means nothing"),
        ({"embedding_model": "models/none"}, NotFound, "models/none does not exist"),
        ({"image": FORM, "dataset": "datasets/none"}, NotFound, "datasets/none does not exist"),
        ({"image": FORM, "dataset": "pictures"}, InvalidInput, "'pictures': is not the name of a dataset"),
    ],
)
def test_a_wrong_request_is_refused_before_there_is_a_job(
    world: World, spec: dict[str, Any], error: type[VermeilError], message: str
) -> None:
    before = len(world.jobs.rows.jobs)
    with pytest.raises(error, match=message):
        world.submit(**spec)
    assert len(world.jobs.rows.jobs) == before


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({}, InvalidInput, "texts = 0: is not a number of texts and pictures"),
        ({"texts": ["a"] * 257}, InvalidInput, "texts = 257"),
        ({"texts": ["a"], "model": "models/none"}, NotFound, "models/none does not exist"),
        ({"texts": ["a"], "output": encoder_pb2.ENCODING_OUTPUT_TOKENS}, InvalidInput, "have no token ids"),
        ({"images": [Media()]}, InvalidInput, r"images\[0\]"),
        ({"images": [Media(inline=b"<html>")]}, InvalidInput, r"images\[0\]"),
        ({"images": [Media(inline=bytes(2**20 + 1))]}, TooLarge, r"more than 1,048,576 bytes"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    stub: EncoderServiceStub, fields: dict[str, Any], error: type[VermeilError], message: str
) -> None:
    request = wire.EncodeRequest(**{"model": "models/pairs", **fields})
    with pytest.raises(error, match=message):
        stub.Encode(request, timeout=60)


def test_a_model_that_embeds_nothing_is_refused(
    world: World, stub: EncoderServiceStub, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "other", ImageClassifier(ClassifierConfig(8, 8, 3, 3, width=8)))
    world.register(NewModelVersion("models/other", world.publish(tmp_path / "other", "model")))
    with pytest.raises(InvalidInput, match="is another architecture than"):
        stub.Encode(wire.EncodeRequest(model="models/other", texts=["a"]), timeout=60)


def test_a_cancelled_job_stops(world: World, tmp_path: Path) -> None:
    for spec in ({"image": FORM}, {"embedding_model": "models/pairs"}):
        job = world.submit(**spec)
        context = JobContext(job, tmp_path / "work")
        context.request_cancel()
        kind = next(each for each in job_kinds(world.registry, world.store) if each.name == job.kind)
        with pytest.raises(VermeilError, match="was cancelled"):
            kind.work(context, kind.unpack_spec(context))
