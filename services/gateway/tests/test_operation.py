"""What whoever runs the gateway relies on: ids, health, metrics, docs, stopping."""

import asyncio

import pytest
from vermeil_gateway.testing import Running, running_gateway, settings_for
from vermeil_gateway.wiring import start

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_ids_of_a_request_travel_to_the_services_and_back(gateway: Running) -> None:
    answer = gateway.http.post(
        "/v1/completions",
        json={"model": "vermeil-nano", "prompt": "x"},
        headers={"x-request-id": "my-request.7", "traceparent": TRACEPARENT},
    )
    assert answer.headers["x-request-id"] == "my-request.7"
    assert answer.json()["id"] == "cmpl-my-request.7"
    (headers,) = gateway.backends.generation.headers
    assert headers["traceparent"].split("-")[1] == TRACEPARENT.split("-")[1]
    assert headers["x-request-id"] == "my-request.7"
    assert gateway.backends.generation.requests[0].request_id == "my-request.7"


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "é"])
def test_a_request_without_a_usable_id_gets_one(gateway: Running, given: str) -> None:
    answer = gateway.http.get("/healthz", headers={"x-request-id": given.encode()})
    assert answer.headers["x-request-id"] not in ("", given)


def test_errors_carry_the_request_id_too(gateway: Running) -> None:
    for path in ("/nope", "/v1/jobs/none", "/v1/jobs?a=b"):
        assert gateway.http.get(path, headers={"x-request-id": "r1"}).headers["x-request-id"] == "r1"


def test_ready_follows_the_services_that_are_needed() -> None:
    with running_gateway(generator_address="127.0.0.1:1") as gateway:
        assert gateway.http.get("/healthz").json() == {"status": "ok"}
        answer = gateway.http.get("/readyz")
        assert answer.status_code == 503
        services = answer.json()["services"]
        assert services["registry"] == "SERVING"
        assert services["generator"] == "UNAVAILABLE"
        refused = gateway.chat()
        assert refused.status_code == 503
        assert refused.headers["retry-after"]


def test_metrics_count_by_route_not_by_path(gateway: Running) -> None:
    gateway.http.get("/v1/jobs/some-job")
    text = gateway.http.get("/metrics").text
    line = 'vermeil_gateway_requests_total{method="GET",route="/v1/jobs/{job}",status="404"}'
    assert line in text
    assert "some-job" not in text


def test_the_docs_page_loads_nothing_from_elsewhere_and_shows_every_route(gateway: Running) -> None:
    page = gateway.http.get("/docs").text
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    described = gateway.http.get("/openapi.json").json()
    for path in ("/v1/chat/completions", "/v1/jobs/{job}/events", "/v1/trainings"):
        assert path in described["paths"]
        assert path in page
    assert "num_key_value_heads" in page


def test_stopping_ends_streams_and_frees_the_port() -> None:
    async def live() -> None:
        for _ in range(2):
            gateway = await start(settings_for("127.0.0.1:1"))
            await gateway.stop()
        assert gateway.url.startswith("http://127.0.0.1:")

    asyncio.run(asyncio.wait_for(live(), 10))


def test_a_watch_does_not_hold_the_gateway_back_from_stopping() -> None:
    with running_gateway(gateway_drain_timeout=30.0) as gateway:
        job = gateway.backends.jobs.start("k", _recipe(), "r")
        with gateway.http.stream("GET", f"/v1/{job.name}/events") as answer:
            lines = answer.iter_lines()
            assert "PENDING" in next(lines)
            stopping = asyncio.run_coroutine_threadsafe(gateway.gateway.stop(), gateway.loop)
            assert [line for line in lines if line] == []
        stopping.result(5)


def _recipe():
    from vermeil.training.v1.recipe_pb2 import Recipe

    return Recipe(name="x")
