"""What callers of the text encoder may rely on, from request to encoded dataset."""

from dataclasses import dataclass
from itertools import pairwise
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
from vermeil_data import Sample, TokenizerSpec, open_encoded, train_tokenizer, write_dataset
from vermeil_data.testing import documents
from vermeil_encoders_text.encode import MAX_BYTES
from vermeil_encoders_text.settings import EncoderTextSettings
from vermeil_encoders_text.submit import submit
from vermeil_encoders_text.tasks import job_kind
from vermeil_encoders_text.wiring import build
from vermeil_errors import InvalidInput, NotFound, TooLarge, VermeilError
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
from vermeil_model import DualConfig, DualEncoder, ModelConfig, TextModel, save_checkpoint
from vermeil_rpc import connect
from vermeil_rpc.testing import running

BPE = encoder_pb2.TOKENIZER_KIND_BPE
BYTE = encoder_pb2.TOKENIZER_KIND_BYTE
CHARACTER = encoder_pb2.TOKENIZER_KIND_CHARACTER
VECTORS = encoder_pb2.ENCODING_OUTPUT_EMBEDDINGS


@dataclass
class World:
    """A registry and a store with one dataset and one model in them."""

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

    def submit(self, tokenizer: encoder_pb2.TokenizerSpec | None = None, **changes: Any) -> Job:
        spec = encoder_pb2.EncodingSpec(dataset=changes.pop("dataset", "datasets/words"), tokenizer=tokenizer)
        return submit(wire.StartEncodingRequest(spec=spec, **changes), self.registry)

    def work(self, job: Job) -> Job:
        """As a worker does."""
        done = Runner(self.jobs, job_kind(self.registry, self.store), self.home).run(job.name)
        assert done
        return done


@pytest.fixture
def world(tmp_path: Path) -> World:
    jobs, store = MemoryJobs(), LocalStore(tmp_path / "artifacts")
    made = World(jobs, store, tmp_path / "home", Registry(jobs, MemoryNames(jobs)))
    texts = [Sample.of_text(text) for text in documents(60)]
    write_dataset(tmp_path / "raw", {"train": texts[:50], "validation": texts[50:]}, "words")
    made.register(NewDatasetVersion("datasets/words", made.publish(tmp_path / "raw", "dataset")))
    train_tokenizer([], TokenizerSpec("byte")).save(tmp_path / "model")
    (tmp_path / "model/model.safetensors").write_bytes(b"weights")
    made.register(NewModelVersion("models/bytes", made.publish(tmp_path / "model", "model")))
    return made


@pytest.mark.parametrize("kind", [BPE, BYTE, CHARACTER])
def test_a_job_encodes_a_dataset_version_by_a_tokenizer_made_for_it(world: World, kind: Any) -> None:
    done = world.work(world.submit(encoder_pb2.TokenizerSpec(kind=kind)))
    assert done.state is JobState.SUCCEEDED
    assert done.result["dataset"] == "datasets/words/versions/1"
    ref = done.outputs["encoded"]
    assert ref.kind == "encoded-dataset"
    encoded = open_encoded(world.store.fetch(ref))
    encoded.verify()
    ids, offsets = encoded.tokens("validation")
    texts = [encoded.tokenizer.decode(ids[a:b].tolist()) for a, b in pairwise(offsets)]
    assert texts == documents(60)[50:]
    assert done.result["vocab_size"] == encoded.vocab_size
    assert done.result["num_tokens"] == {"train": len(encoded.tokens("train").ids_N), "validation": len(ids)}
    assert (done.progress.done, done.progress.total, done.progress.unit) == (60, 60, "documents")


def test_a_job_may_take_the_tokenizer_of_a_model(world: World) -> None:
    done = world.work(world.submit(encoder_pb2.TokenizerSpec(model="models/bytes")))
    encoded = open_encoded(world.store.fetch(done.outputs["encoded"]))
    assert encoded.tokenizer.kind == "byte"
    made = world.work(world.submit(encoder_pb2.TokenizerSpec(kind=BYTE)))
    assert made.outputs == done.outputs


def test_the_same_work_is_the_same_job(world: World) -> None:
    first = world.submit()
    spelled_out = encoder_pb2.TokenizerSpec(kind=BPE, vocab_size=4096)
    assert world.submit(spelled_out, dataset="datasets/words/versions/1").name == first.name
    assert world.submit(encoder_pb2.TokenizerSpec(kind=BYTE)).name != first.name
    assert world.work(first).outputs
    assert world.submit().name == first.name


def test_work_that_was_cancelled_is_begun_anew(world: World) -> None:
    first = world.submit()
    world.jobs.cancel(first.name)
    second = world.submit()
    assert second.name != first.name
    assert world.submit().name == second.name


def test_a_request_id_gives_a_job_of_its_own_with_the_same_result(world: World) -> None:
    one, two = world.work(world.submit()), world.work(world.submit(request_id="mine"))
    assert one.name != two.name
    assert one.outputs == two.outputs
    assert world.submit(request_id="mine").name == two.name


@pytest.mark.parametrize(
    ("tokenizer", "changes", "error", "message"),
    [
        ({}, {"dataset": "datasets/none"}, NotFound, "datasets/none does not exist"),
        ({}, {"dataset": "words"}, InvalidInput, "'words': is not the name of a dataset"),
        ({"model": "models/none"}, {}, NotFound, "models/none does not exist"),
        ({"model": "models/bytes", "kind": BYTE}, {}, InvalidInput, "a model brings its own tokenizer"),
        ({"kind": 9}, {}, InvalidInput, "spec.tokenizer.kind = 9: is unknown"),
        ({"vocab_size": 12}, {}, InvalidInput, "tokenizer.vocab_size = 12: is out of range"),
        ({"kind": BYTE, "vocab_size": 512}, {}, InvalidInput, "cannot be chosen for kind byte"),
    ],
)
def test_a_wrong_request_is_refused_before_there_is_a_job(
    world: World, tokenizer: dict[str, Any], changes: dict[str, str], error: type[VermeilError], message: str
) -> None:
    before = len(world.jobs.rows.jobs)
    with pytest.raises(error, match=message):
        world.submit(encoder_pb2.TokenizerSpec(**tokenizer), **changes)
    assert len(world.jobs.rows.jobs) == before


def test_an_artifact_that_is_no_dataset_fails_the_job_with_the_reason(world: World) -> None:
    world.register(
        NewDatasetVersion("datasets/odd", world.registry.names.model_version("models/bytes").artifact)
    )
    done = world.work(world.submit(dataset="datasets/odd"))
    assert done.state is JobState.FAILED
    assert done.error
    assert "no dataset here: dataset.json is missing" in done.error.message


def test_a_cancelled_job_stops(world: World, tmp_path: Path) -> None:
    context = JobContext(world.submit(), tmp_path / "work")
    context.request_cancel()
    kind = job_kind(world.registry, world.store)
    with pytest.raises(VermeilError, match="was cancelled"):
        kind.work(context, kind.unpack_spec(context))


@pytest.fixture
def stub(world: World) -> Any:
    def services() -> Any:
        return build(EncoderTextSettings.load(), known=world.registry, store=world.store)

    with running(services) as server, connect(server.address) as channel:
        yield EncoderServiceStub(channel)


def test_a_few_texts_are_encoded_at_once(stub: Any) -> None:
    answer = stub.Encode(wire.EncodeRequest(model="models/bytes", texts=["ab", "", "é"]), timeout=60)
    assert [list(tokens.ids) for tokens in answer.tokens] == [[97, 98], [], [0xC3, 0xA9]]


def test_starting_by_rpc_gives_the_job(stub: Any, world: World) -> None:
    spec = encoder_pb2.EncodingSpec(dataset="datasets/words")
    job = stub.StartEncoding(wire.StartEncodingRequest(spec=spec), timeout=60).job
    assert job.name == world.submit().name
    assert job.kind == "vermeil.encoder.v1.encode"


@pytest.mark.parametrize(
    ("model", "texts", "error", "message"),
    [
        ("models/none", ["a"], NotFound, "models/none does not exist"),
        ("models/bytes", [], InvalidInput, "texts = 0: is not a number of texts to send; send 1 to 256"),
        ("models/bytes", ["a"] * 257, InvalidInput, "texts = 257"),
        ("models/bytes", ["a" * (MAX_BYTES + 1)], TooLarge, "have 1,048,577 bytes together"),
    ],
)
def test_what_cannot_be_encoded_is_refused(
    stub: Any, model: str, texts: list[str], error: type[VermeilError], message: str
) -> None:
    with pytest.raises(error, match=message):
        stub.Encode(wire.EncodeRequest(model=model, texts=texts), timeout=60)


def test_the_largest_call_is_answered(stub: Any) -> None:
    answer = stub.Encode(
        wire.EncodeRequest(model="models/bytes", texts=["\xff" * (MAX_BYTES // 2)]), timeout=60
    )
    assert len(answer.tokens[0].ids) == MAX_BYTES


def test_reading_a_tokenizer_never_touches_the_weights(world: World, stub: Any) -> None:
    digest = world.registry.names.model_version("models/bytes").artifact.digest
    weights = next(entry for entry in world.store.manifest(digest).files if entry.path == "model.safetensors")
    for path in world.store.fetch(digest).parent.rglob("*"):
        if path.is_file() and path.stat().st_size == weights.num_bytes and path.read_bytes() == b"weights":
            path.chmod(0o644)
            path.write_bytes(b"WEIGHTS")
    answer = stub.Encode(wire.EncodeRequest(model="models/bytes", texts=["a"]), timeout=60)
    assert list(answer.tokens[0].ids) == [97]


def test_texts_become_unit_vectors_by_a_dual_model(world: World, stub: Any, tmp_path: Path) -> None:
    tokenizer = train_tokenizer([], TokenizerSpec("byte"))
    sizes = {"image_height": 8, "image_width": 8, "channels": 3, "patch_size": 4}
    config = DualConfig.from_depth(
        1, width=32, num_heads=2, vocab_size=tokenizer.vocab_size, context_length=16, **sizes
    )
    save_checkpoint(tmp_path / "dual", DualEncoder(config))
    tokenizer.save(tmp_path / "dual")
    world.register(NewModelVersion("models/pairs", world.publish(tmp_path / "dual", "model")))
    request = wire.EncodeRequest(model="models/pairs", texts=["a stone", "a stone", "x" * 40], output=VECTORS)
    answer = stub.Encode(request, timeout=60)
    assert not answer.tokens
    first, second, third = (np.frombuffer(each.values, "<f4") for each in answer.embeddings)
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
    assert first == pytest.approx(second, abs=1e-6)
    assert abs(float(first @ third)) < 0.999
    assert list(answer.num_tokens) == [7, 7, 16]


def test_texts_become_the_mean_of_their_hidden_states_by_a_text_model(
    world: World, stub: Any, tmp_path: Path
) -> None:
    tokenizer = train_tokenizer([], TokenizerSpec("byte"))
    config = ModelConfig.from_depth(
        1, width=32, num_heads=2, vocab_size=tokenizer.vocab_size, context_length=16
    )
    model = TextModel(config)
    save_checkpoint(tmp_path / "text", model)
    tokenizer.save(tmp_path / "text")
    world.register(NewModelVersion("models/text", world.publish(tmp_path / "text", "model")))
    texts = ["a stone", "", "moss grows here"]
    request = wire.EncodeRequest(model="models/text", texts=texts, output=VECTORS)
    answer = stub.Encode(request, timeout=60)
    assert list(answer.num_tokens) == [8, 1, 16]
    for text, embedding in zip(texts, answer.embeddings, strict=True):
        ids = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(text)]])
        states_TD = model.hidden(ids)[0, 1:] if text else model.hidden(ids)[0]
        expected = torch.nn.functional.normalize(states_TD.mean(0), dim=0).detach().numpy()
        assert np.frombuffer(embedding.values, "<f4") == pytest.approx(expected, abs=1e-5)
    with pytest.raises(InvalidInput, match=r"texts\[1\].*17 tokens.*context of 16"):
        stub.Encode(
            wire.EncodeRequest(model="models/text", texts=["a", "x" * 16], output=VECTORS), timeout=60
        )


def test_what_is_for_pictures_is_sent_to_the_image_encoder(stub: Any) -> None:
    requests = (
        (stub.Encode, wire.EncodeRequest(model="models/bytes", texts=["a"], images=[Media(inline=b"x")])),
        (stub.Search, wire.SearchRequest(dataset="datasets/words", model="models/bytes", text="a")),
        (
            stub.StartEncoding,
            wire.StartEncodingRequest(
                spec=encoder_pb2.EncodingSpec(dataset="datasets/words", embedding_model="models/bytes")
            ),
        ),
        (
            stub.StartEncoding,
            wire.StartEncodingRequest(spec=encoder_pb2.EncodingSpec(dataset="datasets/words", samples=True)),
        ),
    )
    for call, request in requests:
        with pytest.raises(InvalidInput, match="ask the image encoder"):
            call(request, timeout=60)
