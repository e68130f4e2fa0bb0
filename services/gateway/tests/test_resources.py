"""Vermeil's own resources: jobs, datasets, models, and starting work."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from vermeil.artifact.v1.artifact_pb2 import ArtifactRef
from vermeil.registry.v1.model_pb2 import ModelVersion
from vermeil.training.v1.recipe_pb2 import Recipe
from vermeil_gateway.fakes import DIGEST
from vermeil_gateway.modalities import traits_of
from vermeil_gateway.testing import Running

STARTS = [
    ("/v1/ingestions", {"spec": {"dataset": "datasets/x", "sources": [{"uri": "/data"}]}}),
    (
        "/v1/trainings",
        {"recipe": {"name": "x", "model": {"size": "nano"}, "data": {"dataset": "datasets/x"}}},
    ),
    ("/v1/evaluations", {"spec": {"model": "models/x", "task": "perplexity"}}),
]


@pytest.mark.parametrize(("path", "body"), STARTS)
def test_work_is_started_as_a_job_that_shows_its_spec(
    gateway: Running, path: str, body: dict[str, Any]
) -> None:
    answer = gateway.http.post(path, json=body)
    assert answer.status_code == 202
    job = answer.json()["job"]
    assert job["state"] == "JOB_STATE_PENDING"
    assert job["spec"]["@type"].startswith("type.googleapis.com/vermeil.")
    assert gateway.http.get(f"/v1/{job['name']}").json() == job


@pytest.mark.parametrize(("path", "body"), STARTS)
def test_the_same_id_starts_the_same_job(gateway: Running, path: str, body: dict[str, Any]) -> None:
    def start(**how: Any) -> str:
        return gateway.http.post(path, **how).json()["job"]["name"]

    by_header = start(json=body, headers={"idempotency-key": "once"})
    assert start(json={**body, "request_id": "once"}) == by_header
    assert start(json=body) != start(json=body)


@pytest.mark.parametrize(
    ("path", "body"), [STARTS[0], ("/v1/encodings", {"spec": {"dataset": "datasets/x"}})]
)
def test_two_different_ids_are_refused(gateway: Running, path: str, body: dict[str, Any]) -> None:
    answer = gateway.http.post(path, json={**body, "request_id": "a"}, headers={"idempotency-key": "b"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "request_id"


@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        ({"model": {"wdith": 3}}, "recipe.model.wdith"),
        ({"model": {"width": "wide"}}, "recipe.model.width"),
        ({"run": {"steps": 1.5}}, "recipe.run.steps"),
        ({"run": {"steps": 10**12}}, "recipe.run.steps"),
        ({"run": {"compile": "yes"}}, "recipe.run.compile"),
        ({"run": []}, "recipe.run"),
    ],
)
def test_a_wrong_field_of_a_recipe_is_named_by_its_path(
    gateway: Running, recipe: dict[str, Any], named: str
) -> None:
    answer = gateway.http.post("/v1/trainings", json={"recipe": recipe})
    if named == "recipe.run":
        assert answer.status_code == 202  # protobuf reads an empty list as an empty message
        return
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == named


def test_both_spellings_of_a_field_are_read_and_the_contract_s_is_written(gateway: Running) -> None:
    body = {"recipe": {"name": "x", "run": {"batchSize": 3}}}
    spec = gateway.http.post("/v1/trainings", json=body).json()["job"]["spec"]
    assert spec["run"]["batch_size"] == 3


def test_jobs_are_listed_filtered_and_cancelled(gateway: Running) -> None:
    for number in range(3):
        gateway.backends.jobs.start("vermeil.trainer.v1.train", Recipe(name="x"), str(number))
    assert len(gateway.http.get("/v1/jobs").json()["jobs"]) == 3
    cancelled = gateway.http.post("/v1/jobs/2/cancel").json()
    assert cancelled["state"] == "JOB_STATE_CANCELLED"
    listed = gateway.http.get("/v1/jobs", params={"state": "JOB_STATE_CANCELLED"}).json()["jobs"]
    assert [job["name"] for job in listed] == ["jobs/2"]
    assert gateway.http.post("/v1/jobs/2/cancel").status_code == 409


def test_the_log_of_a_job_comes_in_order(gateway: Running) -> None:
    gateway.backends.jobs.start("k", Recipe(), "r")
    lines = gateway.http.get("/v1/jobs/1/logs").json()["lines"]
    assert [line["text"] for line in lines] == ["begun", "done"]


def test_datasets_come_page_by_page_with_their_versions(gateway: Running) -> None:
    first = gateway.http.get("/v1/datasets", params={"page_size": 1}).json()
    second = gateway.http.get(
        "/v1/datasets", params={"page_size": 1, "page_token": first["next_page_token"]}
    ).json()
    names = [page["datasets"][0]["name"] for page in (first, second)]
    assert names == ["datasets/peps", "datasets/tinyshakespeare"]
    assert second["next_page_token"] == ""
    versions = gateway.http.get("/v1/datasets/peps/versions").json()["versions"]
    assert versions[0]["card"] == {"licence": "CC0-1.0"}
    assert gateway.http.get("/v1/datasets/peps/versions/1").json() == versions[0]
    assert gateway.http.get("/v1/datasets/peps").json()["latest_version"] == "datasets/peps/versions/1"


def test_models_are_listed_in_openai_s_shape_over_all_pages(gateway: Running) -> None:
    body = gateway.http.get("/v1/models").json()
    assert body["object"] == "list"
    model, *_ = body["data"]
    assert (model["id"], model["object"], model["owned_by"]) == ("vermeil-nano", "model", "default")
    assert model["version"] == 3


def test_models_say_what_they_take_and_what_they_give(gateway: Running) -> None:
    said = [
        (model["id"], model["input_modalities"], model["output_modalities"])
        for model in gateway.http.get("/v1/models").json()["data"]
    ]
    assert said == [
        ("vermeil-nano", ["text"], ["text"]),
        ("vermeil-manner", ["text"], ["text"]),
        ("vermeil-pictures", ["text"], ["image"]),
    ]
    model = gateway.http.get("/v1/models/vermeil-pictures").json()
    assert model["output_modalities"] == ["image"]


def test_an_adapter_names_its_base_as_parent(gateway: Running) -> None:
    parents = [model["parent"] for model in gateway.http.get("/v1/models").json()["data"]]
    assert parents == [None, "vermeil-nano@3", None]
    assert gateway.http.get("/v1/models/vermeil-manner").json()["parent"] == "vermeil-nano@3"


def test_a_fused_model_takes_and_gives_both() -> None:
    version = ModelVersion(recipe='{"task": "fusion"}')
    assert traits_of(version)[:2] == (("text", "image"), ("text", "image"))


@pytest.mark.parametrize(
    ("asked", "id_", "version"),
    [
        ("vermeil-nano", "vermeil-nano", 3),
        ("vermeil-nano@2", "vermeil-nano@2", 2),
        ("models/vermeil-nano", "vermeil-nano", 3),
        ("models/vermeil-nano/versions/2", "vermeil-nano@2", 2),
    ],
)
def test_a_model_is_found_by_all_its_names(gateway: Running, asked: str, id_: str, version: int) -> None:
    model = gateway.http.get(f"/v1/models/{asked}").json()
    assert (model["id"], model["version"], model["digest"]) == (id_, version, DIGEST)


def test_an_unknown_model_or_version_is_a_404(gateway: Running) -> None:
    for name in ("nobody", "vermeil-nano@4", "Not a name"):
        assert gateway.http.get(f"/v1/models/{name}").status_code == 404


def test_versions_of_a_model_come_with_all_the_registry_knows(gateway: Running) -> None:
    versions = gateway.http.get("/v1/model-versions/vermeil-nano").json()["versions"]
    assert [version["name"].rpartition("/")[2] for version in versions] == ["3", "2", "1"]
    assert gateway.http.get("/v1/model-versions/vermeil-nano/2").json() == versions[1]
    assert versions[0]["artifact"]["num_bytes"] == str(2**33)


def test_what_can_be_started_is_listed(gateway: Running) -> None:
    assert gateway.http.get("/v1/evaluation-tasks").json()["tasks"][0]["name"] == "perplexity"
    assert gateway.http.get("/v1/recipes").json()["recipes"][0]["name"] == "nano"


def test_a_report_is_read_as_numbers_or_as_a_page(gateway: Running) -> None:
    job = (
        gateway.http.post("/v1/evaluations", json={"spec": {"model": "models/x"}})
        .json()["job"]["name"]
        .removeprefix("jobs/")
    )
    answer = gateway.http.get(f"/v1/evaluations/{job}/report").json()
    assert answer["report"]["task"] == "perplexity@1"
    page = gateway.http.get(f"/v1/evaluations/{job}/page")
    assert page.headers["content-type"].startswith("text/html")
    assert page.text == answer["page"]
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert gateway.http.get("/v1/evaluations/absent/page").status_code == 404


def test_two_evaluations_are_compared(gateway: Running) -> None:
    body = {"first": "jobs/1", "second": "jobs/2"}
    comparison = gateway.http.post("/v1/evaluation-comparisons", json=body).json()["comparison"]
    assert comparison["differences"][0]["difference"] == 1.0
    assert comparison["num_items"] == "3"
    wrong = gateway.http.post("/v1/evaluation-comparisons", json={"frist": "jobs/1"})
    assert wrong.json()["error"]["param"] == "frist"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("pagesize=3", "pagesize"),
        ("page_size=1001", "page_size"),
        ("page_size=x", "page_size"),
        ("state=DONE", "state"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(gateway: Running, query: str, named: str) -> None:
    answer = gateway.http.get(f"/v1/jobs?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == named


@pytest.mark.parametrize(
    "spec", [{"dataset": "datasets/x"}, {"dataset": "datasets/x", "embedding_model": "models/y"}]
)
def test_the_same_encoding_is_the_same_job_without_any_id(gateway: Running, spec: dict[str, Any]) -> None:
    first, second = (gateway.http.post("/v1/encodings", json={"spec": spec}) for _ in range(2))
    assert first.status_code == 202
    assert first.json()["job"]["name"] == second.json()["job"]["name"]


def test_samples_are_found_by_a_text_or_a_picture(gateway: Running) -> None:
    body = {"dataset": "datasets/x", "model": "models/y", "num_hits": 2}
    hits = gateway.http.post("/v1/search", json={**body, "text": "a heart"}).json()["hits"]
    assert [hit["sample"] for hit in hits] == ["a heart 0", "a heart 1"]
    by_picture = {**body, "image": {"inline": base64.b64encode(b"abc").decode()}}
    assert gateway.http.post("/v1/search", json=by_picture).json()["hits"][0]["sample"] == "3 bytes 0"


def _job_with_a_log(gateway: Running, folder: Path) -> str:
    """A running job that shows its log."""
    (folder / "samples").mkdir(parents=True)
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    (folder / "samples" / "step-00000001.png").write_bytes(b"\x89PNG")
    (folder / "page.html").write_text("<script>alert(1)</script>")
    ref = gateway.backends.store.publish(folder, kind="log")
    path, body = STARTS[1]
    name: str = gateway.http.post(path, json=body).json()["job"]["name"]
    outputs = {"log": {"digest": ref.digest, "kind": ref.kind, "num_bytes": ref.num_bytes}}
    gateway.run(gateway.backends.jobs.change(name, outputs=outputs))
    return f"/v1/{name}/outputs"


def test_files_that_a_job_made_are_listed_and_read(gateway: Running, tmp_path: Path) -> None:
    outputs = _job_with_a_log(gateway, tmp_path / "log")
    listed = gateway.http.get(f"{outputs}/log").json()
    assert [file["path"] for file in listed["files"]] == [
        "metrics.jsonl",
        "page.html",
        "samples/step-00000001.png",
    ]
    answer = gateway.http.get(f"{outputs}/log/metrics.jsonl")
    assert answer.content == b'{"step": 1, "loss": 2.5}\n'
    assert answer.headers["content-length"] == "25"
    picture = gateway.http.get(f"{outputs}/log/samples/step-00000001.png")
    assert (picture.content, picture.headers["content-type"]) == (b"\x89PNG", "image/png")


def test_a_file_of_a_job_is_never_a_page_of_the_gateway(gateway: Running, tmp_path: Path) -> None:
    page = gateway.http.get(f"{_job_with_a_log(gateway, tmp_path / 'log')}/log/page.html")
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in page.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["model", "log/nothing.png", "log/../../etc/passwd", "log/%2e%2e/x", "log/"])
def test_what_a_job_has_not_made_is_not_found(gateway: Running, tmp_path: Path, path: str) -> None:
    outputs = _job_with_a_log(gateway, tmp_path / "log")
    answer = gateway.http.get(f"{outputs}/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("models/vermeil-nano/versions/2", "/v1/model-versions/vermeil-nano/2/files"),
        ("datasets/peps/versions/1", "/v1/datasets/peps/versions/1/files"),
    ],
)
def test_files_of_a_version_are_listed_with_their_hashes_and_read(
    gateway: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, path: str
) -> None:
    (tmp_path / "tree" / "shards").mkdir(parents=True)
    (tmp_path / "tree" / "config.json").write_text("{}")
    (tmp_path / "tree" / "shards" / "0.bin").write_bytes(b"\x00\x01")
    ref = gateway.backends.store.publish(tmp_path / "tree", kind="model")
    monkeypatch.setitem(gateway.backends.registry.artifacts, name, ArtifactRef(digest=ref.digest))
    listed = gateway.http.get(path).json()
    assert listed["digest"] == ref.digest
    assert listed["files"] == [
        {"path": "config.json", "num_bytes": 2, "sha256": hashlib.sha256(b"{}").hexdigest()},
        {"path": "shards/0.bin", "num_bytes": 2, "sha256": hashlib.sha256(b"\x00\x01").hexdigest()},
    ]
    assert gateway.http.get(f"{path}/shards/0.bin").content == b"\x00\x01"
    missing = gateway.http.get(f"{path}/shards/1.bin")
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "path")


def test_a_file_that_the_store_has_a_link_to_is_had_there(
    gateway: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = _job_with_a_log(gateway, tmp_path / "log")
    monkeypatch.setattr(
        gateway.backends.store,
        "link",
        lambda digest, path, *, seconds: f"https://s3.example/{digest[:6]}/{path}?{seconds}",
    )
    answer = gateway.http.get(f"{outputs}/log/metrics.jsonl")
    assert (answer.status_code, answer.content) == (307, b"")
    assert answer.headers["location"] == "https://s3.example/sha256/metrics.jsonl?300"
    assert answer.headers["cache-control"] == "no-store"
    assert gateway.http.get(f"{outputs}/log/nothing.png").status_code == 404


def test_files_of_a_version_that_is_not_there_are_not_found(gateway: Running) -> None:
    for path in ("files", "files/model.safetensors"):
        answer = gateway.http.get(f"/v1/model-versions/vermeil-nano/9/{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
