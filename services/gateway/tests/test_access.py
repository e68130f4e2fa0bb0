"""Who may enter and what they may bring."""

import asyncio
import json
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from vermeil_errors import Conflict, InvalidInput
from vermeil_gateway import bounded_http
from vermeil_gateway.settings import GatewaySettings
from vermeil_gateway.testing import Running, eventually, running_gateway, settings_for
from vermeil_gateway.wiring import start


def test_with_keys_only_they_open_the_door() -> None:
    with running_gateway(api_keys=("alpha", "beta-ß")) as gateway:
        assert gateway.http.get("/v1/models").status_code == 401
        for wrong in ("Bearer gamma", "Bearer", "Bearer alph", "Basic alpha", "alpha"):
            answer = gateway.http.get("/v1/models", headers={"authorization": wrong})
            assert answer.status_code == 401
            assert answer.json()["error"]["type"] == "authentication_error"
            assert answer.headers["www-authenticate"] == "Bearer"
        for key in ("alpha", "beta-ß"):
            headers = {"authorization": f"Bearer {key}".encode()}
            assert gateway.http.get("/v1/models", headers=headers).status_code == 200
        assert gateway.http.get("/metrics").status_code == 401
        for open_path in ("/healthz", "/readyz", "/docs", "/openapi.json"):
            assert gateway.http.get(open_path).status_code == 200


@pytest.mark.parametrize("bind", ["0.0.0.0:8080", "192.168.0.7:80", "[::]:80", "example.org:80"])
def test_without_keys_it_does_not_start_on_a_network(bind: str) -> None:
    settings = GatewaySettings.model_construct(http_bind=bind)
    with pytest.raises(InvalidInput, match="VERMEIL_API_KEYS"):
        asyncio.run(start(settings))


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "127.8.8.8:0", "[::1]:0", "localhost:0", "unix:/tmp/x"])
def test_this_machine_s_own_addresses_are_local(bind: str) -> None:
    assert GatewaySettings.model_construct(http_bind=bind).is_local


def test_keys_are_read_from_the_environment_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERMEIL_API_KEYS", "one, two")
    settings = GatewaySettings.load()
    assert settings.api_keys == ("one", "two")
    assert "two" not in repr(settings)


def test_without_keys_a_page_led_here_by_another_name_gets_nothing(gateway: Running) -> None:
    answer = gateway.http.get("/v1/models", headers={"host": "evil.example:8080"})
    assert answer.status_code == 403
    for host in ("localhost:1234", "127.0.0.1", "[::1]:80"):
        assert gateway.http.get("/v1/models", headers={"host": host}).status_code == 200


def test_without_keys_a_page_elsewhere_changes_nothing_by_asking_for_nothing(gateway: Running) -> None:
    page = {"origin": "https://evil.example"}
    for path in ("/v1/quotas/default/reset", "/v1/jobs/x/cancel"):
        answer = gateway.http.post(path, headers=page)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "content-type"
    assert gateway.http.post("/v1/quotas/default/reset").status_code == 200
    listed = page | {"content-type": "application/json"}  # a browser asks for leave before it sends this
    assert gateway.http.post("/v1/quotas/default/reset", headers=listed).status_code == 200


def test_a_body_over_the_limit_is_refused_however_it_comes() -> None:
    with running_gateway(gateway_max_body_bytes=2000) as gateway:
        assert gateway.complete(prompt="x" * 1000).status_code == 200
        assert gateway.complete(prompt="x" * 3000).status_code == 413
        pieces = (json.dumps({"model": "m", "prompt": "x" * 3000}).encode(),)
        answer = gateway.http.post(
            "/v1/completions", content=iter(pieces), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "TOO_LARGE"


def test_a_body_that_never_comes_is_not_waited_for_long() -> None:
    with running_gateway(gateway_body_timeout=0.1) as gateway:
        place = urlsplit(gateway.url)
        head = f"POST /v1/completions HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-length: 9\r\n\r\n"
        with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
            connection.sendall(head.encode() + b"{")
            assert b"504" in connection.recv(4096)


def test_a_body_that_is_announced_and_does_not_come_takes_no_room_from_others() -> None:
    with running_gateway(gateway_max_held_bytes=10_000) as gateway:
        place = urlsplit(gateway.url)
        head = f"POST /v1/completions HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-length: 9000\r\n\r\n"
        with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
            connection.sendall(head.encode() + b"{")
            eventually(lambda: "requests_under_way 2.0" in gateway.http.get("/metrics").text)
            assert gateway.complete(prompt="x" * 6000).status_code == 200


def test_headers_that_never_end_close_the_connection(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = urlsplit(gateway.url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nx-long: ")
        with pytest.raises(ConnectionError):
            connection.sendall(b"a" * 2**24)
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", 0.05)
    for sent in (b"", b"GET /healthz HTTP/1.1\r\nhost: "):
        with (
            socket.create_connection((place.hostname, place.port), timeout=60) as connection,
            suppress(ConnectionError),  # it may be closed before this is sent
        ):
            connection.sendall(sent)
            assert connection.recv(100) == b""


@pytest.mark.parametrize(
    ("content", "kind", "part"),
    [
        (b"{", "application/json", "not JSON"),
        (b"\xff\xfe", "application/json", ""),
        (b"[]", "application/json", ""),
        (b"[" * 100_000, "application/json", ""),
        (b"{}", "text/plain", "application/json"),
        (b"a=b", "application/x-www-form-urlencoded", "application/json"),
        (b'{"model": "x", "prompt": "a", "temperature": NaN}', "application/json", "temperature"),
        (b'{"model": "x", "prompt": "\\ud800"}', "application/json", ""),
    ],
)
def test_a_body_that_is_not_a_json_object_is_a_400(
    gateway: Running, content: bytes, kind: str, part: str
) -> None:
    for path in ("/v1/completions", "/v1/trainings"):
        answer = gateway.http.post(path, content=content, headers={"content-type": kind})
        assert answer.status_code == 400, answer.text
        if path == "/v1/completions":
            assert part in answer.json()["error"]["message"]


def test_unknown_routes_and_methods_answer_in_the_one_shape(gateway: Running) -> None:
    assert gateway.http.get("/v1/nothing").json()["error"]["code"] == "NOT_FOUND"
    answer = gateway.http.delete("/v1/models")
    assert answer.status_code == 405
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_port_in_use_is_named(gateway: Running) -> None:
    port = urlsplit(gateway.url).port
    with pytest.raises(Conflict, match=f"VERMEIL_HTTP_BIND = '127.0.0.1:{port}'"):
        asyncio.run(start(settings_for("127.0.0.1:1", http_bind=f"127.0.0.1:{port}")))
