"""What whoever runs the gateway relies on: ids, health, metrics, docs, stopping."""

import asyncio
import errno
import json
import socket
from pathlib import Path

import pytest
from vermeil_errors import Conflict, InvalidInput, Unavailable
from vermeil_gateway.clients import Clients
from vermeil_gateway.testing import Running, running_gateway, settings_for
from vermeil_gateway.wiring import _listen, _Server, start
from vermeil_settings import code_version
from vermeil_telemetry import configure

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
        assert answer.json()["version"] == code_version()
        services = answer.json()["services"]
        assert services["registry"] == "SERVING"
        assert services["generator"] == "UNAVAILABLE"
        refused = gateway.chat()
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["message"] == "the generator cannot be reached; try again shortly"


def test_however_many_ask_the_services_are_asked_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    now = 1000.0

    async def count(channel: object) -> str:
        asked.append(channel)
        await asyncio.sleep(0)
        return "SERVING"

    monkeypatch.setattr("vermeil_gateway.clients._health", count)
    monkeypatch.setattr("vermeil_gateway.clients.monotonic", lambda: now)

    async def live() -> None:
        nonlocal now
        clients = Clients.connect(settings_for("127.0.0.1:1"))
        told = await asyncio.gather(*(clients.health() for _ in range(50)))
        assert all(each == told[0] for each in told)
        assert len(asked) == len(told[0])
        now += 1
        await clients.health()
        assert len(asked) == 2 * len(told[0])
        await clients.close()

    asyncio.run(live())


def test_metrics_count_by_route_not_by_path(gateway: Running) -> None:
    gateway.http.get("/v1/jobs/some-job")
    text = gateway.http.get("/metrics").text
    line = 'vermeil_gateway_requests_total{method="GET",route="/v1/jobs/{job}",status="404"}'
    assert line in text
    assert "some-job" not in text


def test_the_docs_page_loads_nothing_from_elsewhere_and_shows_every_route(gateway: Running) -> None:
    answer = gateway.http.get("/docs")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    page = answer.text
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

    asyncio.run(asyncio.wait_for(live(), 60))


def test_a_socket_that_a_gateway_left_behind_is_taken_again_and_one_in_use_is_not(tmp_path: Path) -> None:
    settings = settings_for("127.0.0.1:1", http_bind=f"unix:{tmp_path}/http")

    async def live() -> None:
        for _ in range(2):
            gateway = await start(settings)
            with pytest.raises(Conflict, match="another process listens there"):
                await start(settings)
            await gateway.stop()

    asyncio.run(asyncio.wait_for(live(), 60))


def test_what_is_no_socket_is_not_removed_for_one(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(Conflict):
        asyncio.run(start(settings_for("127.0.0.1:1", http_bind=f"unix:{tmp_path}/notes")))
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_kind_of_address_that_the_machine_does_not_have_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr("vermeil_gateway.wiring.socket.socket", refuse)
    with pytest.raises(InvalidInput, match="VERMEIL_HTTP_BIND"):
        _listen("[::1]:0")


def test_a_server_that_does_not_begin_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(_Server, "startup", refuse)
    with pytest.raises(Conflict, match="VERMEIL_HTTP_BIND"):
        asyncio.run(start(settings_for("127.0.0.1:1")))


def test_a_server_that_ends_before_it_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def end(server: _Server, **_: object) -> None:
        server.should_exit = True

    monkeypatch.setattr(_Server, "startup", end)
    with pytest.raises(Unavailable, match="ended before it answered"):
        asyncio.run(start(settings_for("127.0.0.1:1")))


def test_a_watch_does_not_hold_the_gateway_back_from_stopping() -> None:
    with running_gateway(gateway_drain_timeout=3600.0) as gateway:
        job = gateway.backends.jobs.start("k", _recipe(), "r")
        with gateway.http.stream("GET", f"/v1/{job.name}/events") as answer:
            lines = answer.iter_lines()
            assert "PENDING" in next(lines)
            stopping = asyncio.run_coroutine_threadsafe(gateway.gateway.stop(), gateway.loop)
            assert [line for line in lines if line.startswith("data")] == []
        stopping.result(60)


def _recipe():
    from vermeil.training.v1.recipe_pb2 import Recipe

    return Recipe(name="x")


def test_the_access_log_tells_who_asked_for_what_and_no_secret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure("gateway", level="INFO", format="json")
    with running_gateway(api_keys=("s3cret-key",)) as gateway:
        headers = {"authorization": "Bearer s3cret-key", "x-request-id": "r-77"}
        body = {"model": "vermeil-nano", "prompt": "private words"}
        assert gateway.http.post("/v1/completions", json=body, headers=headers).status_code == 200
        assert gateway.http.get("/v1/models", headers={"x-request-id": "r-78"}).status_code == 401
    shown = capsys.readouterr()
    lines = [json.loads(line) for line in (shown.out + shown.err).splitlines() if line.startswith("{")]
    told = {line["request_id"]: line for line in lines if line["event"] == "request"}
    answered, refused = told["r-77"], told["r-78"]
    assert (answered["caller"], answered["status"]) == ("operator", 200)
    assert (answered["route"], answered["tokens_read"]) == ("/v1/completions", 5)
    assert answered["ms"] >= answered["first_ms"] > 0
    assert (refused["caller"], refused["status"]) == ("nobody", 401)
    assert "s3cret-key" not in shown.out + shown.err
    assert "private words" not in shown.out + shown.err


def test_metrics_count_tokens_and_first_bytes(gateway: Running) -> None:
    gateway.complete()
    text = gateway.http.get("/metrics").text
    assert 'vermeil_gateway_tokens_total{kind="read"}' in text
    assert 'vermeil_gateway_first_byte_seconds_count{route="/v1/completions"}' in text
    assert "vermeil_gateway_requests_under_way 1.0" in text


def test_pages_of_other_origins_call_only_where_they_are_listed(gateway: Running) -> None:
    asking = {"origin": "https://app.example", "access-control-request-method": "POST"}
    asking["access-control-request-headers"] = "authorization,content-type"
    refused = gateway.http.options("/v1/models", headers=asking)
    assert "access-control-allow-origin" not in refused.headers
    with running_gateway(gateway_cors_origins=("https://app.example",), api_keys=("k",)) as open_:
        allowed = open_.http.options("/v1/models", headers=asking)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        assert "authorization" in allowed.headers["access-control-allow-headers"]
        headers = {"origin": "https://app.example", "authorization": "Bearer k"}
        answer = open_.http.get("/v1/models", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        foreign = open_.http.get("/v1/models", headers=headers | {"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers
