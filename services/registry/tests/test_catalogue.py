"""Names of artifacts, datasets and models, over the wire."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from vermeil.artifact.v1.artifact_pb2 import ArtifactRef
from vermeil.registry.v1 import artifact_pb2, dataset_pb2, model_pb2
from vermeil.registry.v1 import registry_service_pb2 as wire
from vermeil.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from vermeil_errors import AlreadyExists, InvalidInput, NotFound
from vermeil_jobs import JobOutcome, NewDatasetVersion
from vermeil_jobs.suite import Bench
from vermeil_jobs.suite.bench import artifact
from vermeil_registry.catalogue import Catalogue
from vermeil_registry.database import Database
from vermeil_rpc import connect

SECONDS = 60


def ref(number: int = 1, kind: str = "dataset") -> ArtifactRef:
    return ArtifactRef(digest=f"sha256:{number:064x}", kind=kind, num_bytes=100 + number)


class Names:
    """The stub, with a deadline on every call."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = RegistryServiceStub(channel)

    def __getattr__(self, method: str) -> Callable[[Any], Any]:
        return lambda request: getattr(self._stub, method)(request, timeout=SECONDS)

    def add_dataset(
        self, name: str, number: int, request_id: str, **changes: Any
    ) -> dataset_pb2.DatasetVersion:
        version = dataset_pb2.DatasetVersion(artifact=ref(number), **changes)
        request = wire.CreateDatasetVersionRequest(dataset=name, version=version, request_id=request_id)
        return self.CreateDatasetVersion(request).version


@pytest.fixture
def names(address: str) -> Iterator[Names]:
    with connect(address) as channel:
        yield Names(channel)


def test_registering_an_artifact_twice_changes_nothing(names: Names) -> None:
    request = wire.RegisterArtifactRequest(artifact=artifact_pb2.Artifact(ref=ref()))
    first = names.RegisterArtifact(request).artifact
    assert first.name == f"artifacts/{ref().digest}"
    assert names.RegisterArtifact(request).artifact == first
    assert names.GetArtifact(wire.GetArtifactRequest(name=first.name)).artifact == first


def test_one_digest_is_never_two_things(names: Names) -> None:
    names.RegisterArtifact(
        wire.RegisterArtifactRequest(artifact=artifact_pb2.Artifact(ref=ref(kind="model")))
    )
    with pytest.raises(AlreadyExists, match="registered as model"):
        names.RegisterArtifact(wire.RegisterArtifactRequest(artifact=artifact_pb2.Artifact(ref=ref())))


def test_artifacts_are_listed_newest_first_and_by_kind(names: Names) -> None:
    for number, kind in enumerate(("dataset", "model", "dataset"), 1):
        row = artifact_pb2.Artifact(ref=ref(number, kind))
        names.RegisterArtifact(wire.RegisterArtifactRequest(artifact=row))
    first = names.ListArtifacts(wire.ListArtifactsRequest(page_size=2))
    rest = names.ListArtifacts(wire.ListArtifactsRequest(page_size=2, page_token=first.next_page_token))
    assert [row.ref for row in (*first.artifacts, *rest.artifacts)] == [
        ref(3, "dataset"),
        ref(2, "model"),
        ref(1, "dataset"),
    ]
    assert rest.next_page_token == ""
    models = names.ListArtifacts(wire.ListArtifactsRequest(kind="model"))
    assert [row.ref for row in models.artifacts] == [ref(2, "model")]


def test_a_first_version_makes_its_dataset(names: Names) -> None:
    version = names.add_dataset("datasets/pages", 1, "r1", card={"licence": "CC0", "num_samples": 7})
    assert version.name == "datasets/pages/versions/1"
    dataset = names.GetDataset(wire.GetDatasetRequest(name="datasets/pages")).dataset
    assert (dataset.owner, dataset.latest_version) == ("owners/default", version.name)
    assert names.GetDatasetVersion(wire.GetDatasetVersionRequest(name=version.name)).version == version
    assert version.card["licence"] == "CC0"
    registered = names.GetArtifact(wire.GetArtifactRequest(name=f"artifacts/{ref().digest}"))
    assert registered.artifact.ref == ref()


def test_the_name_of_a_dataset_means_its_newest_version(names: Names) -> None:
    for number in (1, 2, 3):
        names.add_dataset("datasets/pages", number, f"r{number}")
    newest = names.GetDatasetVersion(wire.GetDatasetVersionRequest(name="datasets/pages")).version
    assert newest.name == "datasets/pages/versions/3"
    first = names.ListDatasetVersions(wire.ListDatasetVersionsRequest(dataset="datasets/pages", page_size=2))
    rest = names.ListDatasetVersions(
        wire.ListDatasetVersionsRequest(dataset="datasets/pages", page_token=first.next_page_token)
    )
    listed = [version.name.rpartition("/")[2] for version in (*first.versions, *rest.versions)]
    assert listed == ["3", "2", "1"]


def test_the_same_request_gives_the_same_version(names: Names) -> None:
    first = names.add_dataset("datasets/pages", 1, "mine")
    assert names.add_dataset("datasets/pages", 1, "mine") == first
    with pytest.raises(AlreadyExists, match="mine has already made datasets/pages/versions/1"):
        names.add_dataset("datasets/pages", 2, "mine")


def test_a_model_version_remembers_where_it_came_from(names: Names) -> None:
    version = model_pb2.ModelVersion(
        artifact=ref(5, "model"),
        recipe='{"name": "nano"}',
        code_version="0.1.0+1a2b3c4",
        datasets=["datasets/pages/versions/1"],
        seed=-7,
        metrics={"loss": 1.88, "steps": 2000},
    )
    made = names.CreateModelVersion(
        wire.CreateModelVersionRequest(model="models/nano", version=version, request_id="r1")
    ).version
    found = names.GetModelVersion(wire.GetModelVersionRequest(name="models/nano")).version
    assert found == made
    assert (found.recipe, found.code_version, list(found.datasets), found.seed) == (
        version.recipe,
        version.code_version,
        list(version.datasets),
        version.seed,
    )
    assert found.metrics["steps"] == 2000
    assert names.GetModel(wire.GetModelRequest(name="models/nano")).model.latest_version == made.name
    listed = names.ListModelVersions(wire.ListModelVersionsRequest(model="models/nano")).versions
    assert list(listed) == [made]


def test_what_a_job_registers_can_be_read_here(names: Names, wire_bench: Bench) -> None:
    job = wire_bench.create()
    outcome = JobOutcome(
        outputs={"dataset": artifact(4, "dataset")},
        dataset_versions=(NewDatasetVersion("datasets/pages", artifact(4, "dataset"), {"licence": "CC0"}),),
    )
    wire_bench.jobs.finish(job.name, fence=wire_bench.claim(job).fence, outcome=outcome)
    version = names.GetDatasetVersion(wire.GetDatasetVersionRequest(name="datasets/pages")).version
    assert (version.job, version.card["licence"]) == (job.name, "CC0")
    row = names.GetArtifact(wire.GetArtifactRequest(name=f"artifacts/{artifact(4).digest}")).artifact
    assert row.job == job.name


def test_datasets_and_models_are_listed_by_name_and_apart(names: Names) -> None:
    for number, name in enumerate(("datasets/b", "datasets/a", "datasets/c"), 1):
        names.add_dataset(name, number, f"r{number}")
    version = model_pb2.ModelVersion(artifact=ref(9, "model"))
    names.CreateModelVersion(
        wire.CreateModelVersionRequest(model="models/a", version=version, request_id="r9")
    )
    first = names.ListDatasets(wire.ListDatasetsRequest(page_size=2))
    rest = names.ListDatasets(wire.ListDatasetsRequest(page_token=first.next_page_token))
    assert [each.name for each in (*first.datasets, *rest.datasets)] == [
        "datasets/a",
        "datasets/b",
        "datasets/c",
    ]
    assert [each.name for each in names.ListModels(wire.ListModelsRequest()).models] == ["models/a"]


def test_only_the_description_can_be_changed(names: Names) -> None:
    names.add_dataset("datasets/pages", 1, "r1")
    changed = dataset_pb2.Dataset(name="datasets/pages", description="Pages of books.", owner="owners/thief")
    mask = FieldMask(paths=["description"])
    answer = names.UpdateDataset(wire.UpdateDatasetRequest(dataset=changed, update_mask=mask)).dataset
    assert (answer.description, answer.owner) == ("Pages of books.", "owners/default")
    for paths in ([], ["owner"], ["description", "name"], ["*"]):
        with pytest.raises(InvalidInput, match="update_mask"):
            names.UpdateDataset(
                wire.UpdateDatasetRequest(dataset=changed, update_mask=FieldMask(paths=paths))
            )


def test_models_can_be_described_too(names: Names) -> None:
    version = model_pb2.ModelVersion(artifact=ref(9, "model"))
    names.CreateModelVersion(
        wire.CreateModelVersionRequest(model="models/a", version=version, request_id="r")
    )
    model = model_pb2.Model(name="models/a", description="Small.")
    request = wire.UpdateModelRequest(model=model, update_mask=FieldMask(paths=["description"]))
    assert names.UpdateModel(request).model.description == "Small."


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("GetArtifact", wire.GetArtifactRequest(name=f"artifacts/sha256:{0:064x}")),
        ("GetDataset", wire.GetDatasetRequest(name="datasets/nobody")),
        ("GetDatasetVersion", wire.GetDatasetVersionRequest(name="datasets/nobody/versions/1")),
        ("ListDatasetVersions", wire.ListDatasetVersionsRequest(dataset="datasets/nobody")),
        ("GetModel", wire.GetModelRequest(name="models/nobody")),
        ("GetModelVersion", wire.GetModelVersionRequest(name="models/nobody")),
    ],
)
def test_what_is_not_there_is_not_found(names: Names, method: str, request_message: object) -> None:
    with pytest.raises(NotFound, match=r"nobody|sha256"):
        getattr(names, method)(request_message)


def test_a_missing_version_says_which_is_the_newest(names: Names) -> None:
    names.add_dataset("datasets/pages", 1, "r1")
    with pytest.raises(NotFound, match="the newest version of datasets/pages is 1"):
        names.GetDatasetVersion(wire.GetDatasetVersionRequest(name="datasets/pages/versions/7"))


@pytest.mark.parametrize(
    ("method", "request_message", "field"),
    [
        ("GetArtifact", wire.GetArtifactRequest(name="sha256:00"), "name"),
        ("GetDataset", wire.GetDatasetRequest(name="models/pages"), "name"),
        ("GetDataset", wire.GetDatasetRequest(name="datasets/Pages"), "name"),
        ("GetDatasetVersion", wire.GetDatasetVersionRequest(name="datasets/pages/versions/0"), "name"),
        ("GetDatasetVersion", wire.GetDatasetVersionRequest(name="datasets/pages/versions/-1"), "name"),
        ("ListDatasets", wire.ListDatasetsRequest(page_size=1001), "page_size"),
        ("ListDatasets", wire.ListDatasetsRequest(page_token="x"), "page_token"),
        ("RegisterArtifact", wire.RegisterArtifactRequest(), "artifact.ref.digest"),
        (
            "CreateDatasetVersion",
            wire.CreateDatasetVersionRequest(
                dataset="datasets/pages", version=dataset_pb2.DatasetVersion(artifact=ref())
            ),
            "request_id",
        ),
        (
            "CreateDatasetVersion",
            wire.CreateDatasetVersionRequest(dataset="pages", request_id="r"),
            "dataset",
        ),
    ],
)
def test_what_is_wrong_as_written_names_its_field(
    names: Names, method: str, request_message: object, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        getattr(names, method)(request_message)
    assert refused.value.violations[0].field == field


@pytest.mark.parametrize(
    ("method", "request_message", "field"),
    [
        ("GetArtifact", wire.GetArtifactRequest(name="artifacts/\0"), "digest"),
        ("ListArtifacts", wire.ListArtifactsRequest(kind="model\0"), "kind"),
        (
            "UpdateDataset",
            wire.UpdateDatasetRequest(
                dataset=dataset_pb2.Dataset(name="datasets/pages", description="all\0"),
                update_mask=FieldMask(paths=["description"]),
            ),
            "description",
        ),
    ],
)
def test_what_one_database_cannot_store_none_takes(
    names: Names, method: str, request_message: object, field: str
) -> None:
    names.add_dataset("datasets/pages", 1, "r1")
    with pytest.raises(InvalidInput, match=f"{field} = .*has a NUL character at .; leave it out") as refused:
        getattr(names, method)(request_message)
    assert refused.value.violations[0].field == field


def test_json_may_hold_what_no_text_may(names: Names) -> None:
    card = {"note\0": "nul \0"}
    assert names.add_dataset("datasets/pages", 1, "r1", card=card).card == card


def test_half_a_surrogate_pair_is_refused_like_nul(database: Database) -> None:
    with pytest.raises(InvalidInput, match=r"kind = .*has half a surrogate pair at 1; leave it out"):
        Catalogue(database).list_artifacts(10, "", "a\ud83d")


def test_a_version_cannot_claim_a_job_that_never_was(names: Names) -> None:
    with pytest.raises(NotFound, match="jobs/nobody"):
        names.add_dataset("datasets/pages", 1, "r1", job="jobs/nobody")
