"""Four doors into the same house: a job is the same job whichever way it came."""

import json
import time
from pathlib import Path

from google.protobuf import json_format
from vermeil.job.v1 import job_pb2
from vermeil.training.v1 import training_service_pb2, training_service_pb2_grpc
from vermeil_client import Job, Vermeil
from vermeil_jobs import make_app
from vermeil_local.testing import Installation, small_recipe
from vermeil_rpc import connect


def _by_rpc(vermeil: Installation, request: training_service_pb2.StartTrainingRequest) -> str:
    with connect(vermeil.address) as channel:
        stub = training_service_pb2_grpc.TrainingServiceStub(channel)
        return stub.StartTraining(request, timeout=30).job.name


def _request(dataset: str, request_id: str) -> training_service_pb2.StartTrainingRequest:
    body = {"recipe": small_recipe(dataset, "doors", 12), "request_id": request_id}
    return json_format.ParseDict(body, training_service_pb2.StartTrainingRequest())


def test_four_doors_lead_to_four_equal_jobs(vermeil: Installation, dataset: str, tmp_path: Path) -> None:
    wanted = small_recipe(dataset, "doors", 12)
    by_rpc = _by_rpc(vermeil, _request(dataset, "by-rpc"))
    with vermeil.client() as client:
        by_http = client.train(wanted, request_id="by-http").name
        file = tmp_path / "doors.yaml"
        file.write_text(json.dumps(wanted))
        by_command = vermeil.command("train", str(file), "--request-id", "by-cli", "--detach").stdout.strip()
        app = make_app("filesystem://", vermeil.home)
        payload = json_format.MessageToDict(_request(dataset, "by-celery"))
        app.send_task("vermeil.trainer.v1.train", args=[payload], queue="trainer")
        by_celery = _job_of_request(client, "by-celery")
        jobs = [client.wait(name) for name in (by_rpc, by_http, by_command, by_celery)]
    assert len({job.name for job in jobs}) == 4
    assert len({job.outputs["model"] for job in jobs}) == 1, "the same recipe gives the same bytes"
    assert len({json.dumps(job.raw["spec"], sort_keys=True) for job in jobs}) == 1


def test_the_same_request_id_is_one_job_through_every_door(vermeil: Installation, dataset: str) -> None:
    first = _by_rpc(vermeil, _request(dataset, "once"))
    assert _by_rpc(vermeil, _request(dataset, "once")) == first
    with vermeil.client() as client:
        assert client.train(small_recipe(dataset, "doors", 12), request_id="once").name == first
        num_jobs = sum(job.raw.get("request_id") == "once" for job in client.jobs())
        client.wait(first)
    assert num_jobs == 1


def _job_of_request(client: Vermeil, request_id: str) -> str:
    for _ in range(1200):
        for job in client.jobs():
            if job.raw.get("request_id") == request_id:
                return job.name
        time.sleep(0.1)
    raise AssertionError(f"no job of request {request_id}")


def test_a_job_knows_where_it_came_from(vermeil: Installation, dataset: str) -> None:
    with vermeil.client() as client:
        job = client.wait(client.train(small_recipe(dataset, "lineage", 2)).name)
        version = next(client.model_versions("lineage"))
    assert isinstance(job, Job)
    assert version["job"] == job.name
    assert version["datasets"] == [f"datasets/{dataset}/versions/1"]
    assert json.loads(version["recipe"])["name"] == "lineage"
    assert version["code_version"]
    assert job_pb2.JobState.Name(job_pb2.JOB_STATE_SUCCEEDED) == job.raw["state"]
