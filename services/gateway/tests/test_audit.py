"""Who changed what is written down before the answer says so; secrets stand in no log."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from vermeil_gateway.testing import Running, running_gateway
from vermeil_telemetry import configure

OPERATOR = {"authorization": "Bearer operator-secret"}
TRAINING = {"recipe": {"name": "nano"}, "request_id": "r1"}


@pytest.fixture(scope="module")
def _door() -> Iterator[Running]:
    with running_gateway(api_keys=("operator-secret",), gateway_key_cache_seconds=0.0) as door:
        yield door


@pytest.fixture
def door(_door: Running) -> Running:
    _door.backends.audit.events.clear()
    _door.backends.audit.is_away = False
    _door.backends.jobs.jobs.clear()
    return _door


@pytest.fixture
def log() -> io.StringIO:
    """What is logged, everything of it."""
    stream = io.StringIO()
    configure("gateway", level="DEBUG", stream=stream)
    for client in ("httpx", "httpcore"):  # this process is the client too
        logging.getLogger(client).setLevel(logging.WARNING)
    return stream


def made(door: Running, *scopes: str) -> dict[str, str]:
    answer = door.http.post("/v1/keys", json={"key": {"scopes": scopes}}, headers=OPERATOR)
    return {"name": answer.json()["key"]["name"], "authorization": f"Bearer {answer.json()['secret']}"}


def written(door: Running) -> list[tuple[str, str, str, int]]:
    events = door.backends.audit.events
    return [(each.caller, each.action, each.resource, each.status) for each in events]


def test_work_begun_and_ended_is_written_down_with_who_and_what(door: Running) -> None:
    key = made(door, "submit", "read")
    name, headers = key.pop("name"), key
    job = door.http.post("/v1/trainings", json=TRAINING, headers={**headers, "x-request-id": "trace-7"})
    job_name = job.json()["job"]["name"]
    door.http.post(f"/v1/{job_name}/cancel", headers=headers)
    assert written(door) == [
        ("operator", "POST /v1/keys", name, 201),
        (name, "POST /v1/trainings", job_name, 202),
        (name, "POST /v1/jobs/{job}/cancel", job_name, 200),
    ]
    assert door.backends.audit.events[1].trace_request_id == "trace-7"


def test_a_try_is_written_down_too_and_looking_and_asking_are_not(door: Running) -> None:
    key = made(door, "inference")
    name, headers = key.pop("name"), key
    assert door.http.post("/v1/trainings", json=TRAINING, headers=headers).status_code == 403
    assert door.http.post("/v1/jobs/none/cancel", headers=OPERATOR).status_code == 404
    body = {"model": "vermeil-nano", "prompt": "Once"}
    assert door.http.post("/v1/completions", json=body, headers=headers).status_code == 200
    assert door.http.get("/v1/jobs", headers=OPERATOR).status_code == 200
    assert written(door)[1:] == [
        (name, "POST /v1/trainings", "", 403),
        ("operator", "POST /v1/jobs/{job}/cancel", "jobs/none", 404),
    ]


def test_no_path_breaks_the_line(door: Running) -> None:
    for path in ("/v1/%0Aevil", "/v1/jobs/%00%0D%0Ax/cancel", f"/v1/jobs/{'x' * 3000}/cancel"):
        assert door.http.post(path, headers=OPERATOR).status_code >= 400
    lines = [(each.action, each.resource) for each in door.backends.audit.events]
    assert lines[0] == ("POST /v1/?evil", "")
    assert len(lines) == 3
    assert all(text.isprintable() and len(text) <= 256 for line in lines for text in line)


def test_strangers_cannot_fill_the_line(door: Running) -> None:
    wrong = {"authorization": "Bearer wrong"}
    assert door.http.post("/v1/trainings", json=TRAINING, headers=wrong).status_code == 401
    assert written(door) == []


def test_a_change_that_could_not_be_written_down_is_an_error_in_the_log(
    door: Running, log: io.StringIO
) -> None:
    door.backends.audit.is_away = True
    assert door.http.post("/v1/trainings", json=TRAINING, headers=OPERATOR).status_code == 202
    (line,) = [json.loads(each) for each in log.getvalue().splitlines() if "not written down" in each]
    assert (line["level"], line["action"]) == ("error", "POST /v1/trainings")


def test_admins_read_the_line_and_nobody_else(door: Running) -> None:
    made(door, "read")
    listed = door.http.get("/v1/audit-events", params={"caller": "operator"}, headers=OPERATOR).json()
    assert [event["action"] for event in listed["events"]] == ["POST /v1/keys"]
    for scopes in (("read", "submit", "inference"),):
        headers = made(door, *scopes)
        del headers["name"]
        assert door.http.get("/v1/audit-events", headers=headers).status_code == 403


def test_a_session_with_keys_leaves_no_secret_in_the_log(door: Running, log: io.StringIO) -> None:
    key = made(door, "inference", "submit")
    del key["name"]
    secret = key["authorization"].removeprefix("Bearer ")
    mistyped = {"authorization": f"Bearer {secret[:-1]}"}
    session: list[dict[str, Any]] = [
        {"url": "/v1/trainings", "json": TRAINING, "headers": key},
        {"url": "/v1/completions", "json": {"model": "vermeil-nano", "prompt": "Once"}, "headers": key},
        {"url": "/v1/completions", "json": {"model": "vermeil-nano", "prompt": "Once"}, "headers": mistyped},
        {"url": "/v1/completions", "params": {"api_key": secret}, "json": {}, "headers": key},
        {"url": "/v1/keys", "json": {"key": {"scopes": ["king"]}}, "headers": OPERATOR},
        {"url": "/v1/keys", "json": {"secret_digest": "AAAA", "key": {}}, "headers": OPERATOR},
        {"url": "/v1/trainings", "content": b"{", "headers": OPERATOR},
        {"url": "/v1/nowhere", "headers": key},
    ]
    for request in session:
        door.http.post(**request)
    door.backends.keys.is_away = True
    door.http.post("/v1/completions", json={}, headers={"authorization": f"Bearer {secret[:-1]}A"})
    door.backends.keys.is_away = False
    told = log.getvalue()
    assert told.count("\n") >= len(session)
    assert secret[:-1] not in told
    assert secret[-20:-1] not in told
    assert "operator-secret" not in told
