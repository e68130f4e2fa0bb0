"""Keys of the registry at the door: who may what, how much, and what is counted."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import openai
import pytest
from vermeil_gateway import callers
from vermeil_gateway.allowance import Allowance
from vermeil_gateway.fakes.keys import FakeKeys
from vermeil_gateway.testing import Running, eventually, running_gateway

OPERATOR = {"authorization": "Bearer operator"}
HI = {"model": "vermeil-nano", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def _door() -> Iterator[Running]:
    with running_gateway(api_keys=("operator",), gateway_key_cache_seconds=0.0) as door:
        yield door


@pytest.fixture
def door(_door: Running) -> Running:
    _door.backends.keys.is_away = False
    return _door


@pytest.fixture
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the keys that are seen first."""
    monkeypatch.setattr(callers, "Allowance", partial(Allowance, clock=lambda: 1000.0))


def made(door: Running, scopes: tuple[str, ...] = ("inference",), **fields: Any) -> dict[str, Any]:
    answer = door.http.post("/v1/keys", json={"key": {"scopes": scopes, **fields}}, headers=OPERATOR)
    assert answer.status_code == 201, answer.text
    return answer.json()


def bearer(key: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {key['secret']}"}


def chat(door: Running, key: dict[str, Any]) -> Any:
    return door.http.post("/v1/chat/completions", json=HI, headers=bearer(key))


def refused_so_far(door: Running, limit: str) -> float:
    """By this process, which may have had other gateways."""
    text = door.http.get("/metrics", headers=OPERATOR).text
    found = re.search(rf'^vermeil_gateway_requests_over_limit_total{{limit="{limit}"}} (.+)$', text, re.M)
    return float(found[1]) if found else 0.0


def test_a_secret_is_shown_once_and_names_its_key(door: Running) -> None:
    key = made(door, display_name="laptop")
    id_ = key["key"]["name"].removeprefix("keys/")
    assert key["secret"].startswith(f"vermeil_{id_}_")
    shown = door.http.get(f"/v1/keys/{id_}", headers=OPERATOR)
    assert shown.json()["display_name"] == "laptop"
    assert key["secret"] not in shown.text + door.http.get("/v1/keys", headers=OPERATOR).text


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (("inference",), {"chat", "models"}),
        (("read",), {"models", "jobs"}),
        (("submit",), {"train"}),
        (("admin",), {"chat", "models", "jobs", "train", "keys", "metrics"}),
    ],
)
def test_a_key_opens_what_its_scopes_say_and_nothing_else(
    door: Running, scopes: tuple[str, ...], allowed: set[str]
) -> None:
    headers = bearer(made(door, scopes))
    asked = {
        "chat": ("POST", "/v1/chat/completions", HI),
        "models": ("GET", "/v1/models", None),
        "jobs": ("GET", "/v1/jobs", None),
        "train": ("POST", "/v1/trainings", {"recipe": {"name": "x"}}),
        "keys": ("GET", "/v1/keys", None),
        "metrics": ("GET", "/metrics", None),
    }
    for name, (method, path, body) in asked.items():
        answer = door.http.request(method, path, json=body, headers=headers)
        assert (answer.status_code < 300) is (name in allowed), (name, answer.text)
        if name not in allowed:
            assert answer.status_code == 403
            assert answer.json()["error"]["type"] == "permission_error"
            assert scopes[0] in answer.json()["error"]["message"]


def test_revoked_expired_and_unknown_keys_are_told_apart(door: Running) -> None:
    key = made(door)
    assert chat(door, key).status_code == 200
    id_ = key["key"]["name"].removeprefix("keys/")
    assert door.http.post(f"/v1/keys/{id_}/revoke", headers=OPERATOR).json()["revoke_time"]
    expired = made(door, expire_time="2020-01-01T00:00:00Z")
    unknown = {"secret": f"vermeil_{'0' * 16}_{'x' * 43}"}
    forged = {"secret": expired["secret"][:-1] + "#"}
    for wrong, part in (
        (key, "was revoked"),
        (expired, "expired at 2020"),
        (unknown, "wrong"),
        (forged, "wrong"),
    ):
        answer = chat(door, wrong)
        assert answer.status_code == 401
        assert part in answer.json()["error"]["message"]
        assert answer.json()["error"]["type"] == "authentication_error"


@pytest.mark.usefixtures("_no_time_passes")
def test_requests_over_the_rate_are_told_when_to_come_again(door: Running) -> None:
    key, before = made(door, limits={"requests_per_minute": 2}), refused_so_far(door, "requests_per_minute")
    first, second, third = (chat(door, key) for _ in range(3))
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    assert third.status_code == 429
    assert third.json()["error"]["code"] == "OVERLOADED"
    assert third.headers["retry-after"] == "30"
    assert third.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert refused_so_far(door, "requests_per_minute") == before + 1


@pytest.mark.usefixtures("_no_time_passes")
def test_tokens_over_the_rate_wait_and_are_charged_as_used(door: Running) -> None:
    key = made(door, limits={"tokens_per_minute": 6})
    assert chat(door, key).headers["x-ratelimit-remaining-tokens"] == "6"
    answer = chat(door, key)
    assert answer.status_code == 429
    assert "6 tokens a minute" in answer.json()["error"]["message"]
    assert door.http.get("/v1/models", headers=bearer(key)).status_code == 200


@pytest.mark.parametrize("limit", ["tokens_per_day", "tokens_per_month", "tokens_in_total"])
def test_a_used_up_quota_is_not_tried_again(door: Running, limit: str) -> None:
    key, before = made(door, limits={limit: 5}), refused_so_far(door, limit)
    assert chat(door, key).status_code == 200
    with (
        openai.OpenAI(base_url=f"{door.url}/v1", api_key=key["secret"], max_retries=3) as client,
        pytest.raises(openai.RateLimitError, match="used up its 5 tokens") as refused,
    ):
        client.chat.completions.create(**HI)
    assert refused.value.type == "insufficient_quota"
    assert refused.value.code == "QUOTA_EXCEEDED"
    assert refused_so_far(door, limit) == before + 1


def test_use_is_told_to_the_registry_and_outlives_the_gateway() -> None:
    keys = FakeKeys()
    key: dict[str, Any] = {}
    for number in range(2):
        with running_gateway(api_keys=("operator",)) as door:
            door.backends.keys.__dict__.update(keys.__dict__)
            if not number:
                key = made(door, limits={"tokens_in_total": 5})
                assert chat(door, key).status_code == 200
                continue
            assert keys.keys[key["key"]["name"]].usage.tokens_in_total > 5
            assert chat(door, key).json()["error"]["code"] == "QUOTA_EXCEEDED"


def test_known_keys_open_while_the_registry_is_away_and_nothing_is_forgotten(door: Running) -> None:
    keys = door.backends.keys
    known, unknown = made(door), made(door)
    name = known["key"]["name"]
    assert chat(door, known).status_code == 200
    eventually(lambda: keys.keys[name].usage.requests == 1)
    keys.is_away = True
    assert chat(door, known).status_code == 200
    refused = chat(door, unknown)
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert keys.keys[name].usage.requests == 1
    keys.is_away = False
    eventually(lambda: keys.keys[name].usage.requests == 2)


def test_a_key_is_looked_up_once_in_a_while() -> None:
    with running_gateway(api_keys=("operator",), gateway_key_cache_seconds=3600.0) as door:
        key = made(door)
        for _ in range(5):
            assert chat(door, key).status_code == 200
        assert door.backends.keys.num_checks == 1
        assert chat(door, {"secret": key["secret"][:-4] + "aaaa"}).status_code == 401
        assert door.backends.keys.num_checks == 1


def test_what_a_long_answer_costs_is_counted_whoever_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "MAX_KNOWN", 1)
    with running_gateway(api_keys=("operator",)) as door:
        long, other = made(door), made(door)
        usage = door.backends.keys.keys[long["key"]["name"]].usage
        body = HI | {"messages": [{"role": "user", "content": "hold"}], "stream": True}
        with door.http.stream("POST", "/v1/chat/completions", json=body, headers=bearer(long)) as answer:
            lines = answer.iter_lines()
            next(lines)
            (held,) = door.gateway._app.state.callers.allowances()
            eventually(lambda: not (held.unreported or held.reporting))
            with httpx.Client(base_url=door.url, timeout=60) as http:
                assert http.post("/v1/chat/completions", json=HI, headers=bearer(other)).status_code == 200
            assert (usage.requests, usage.tokens_in_total) == (1, 0)
            door.run(door.backends.generation.release())
            assert "[DONE]" in list(lines)[-2]
        eventually(lambda: usage.tokens_in_total > 5)


def test_streams_and_answers_broken_off_are_charged_too(door: Running) -> None:
    key = made(door)
    usage = door.backends.keys.keys[key["key"]["name"]].usage
    with door.http.stream("POST", "/v1/chat/completions", json=HI | {"stream": True}, headers=bearer(key)):
        pass
    eventually(lambda: usage.tokens_today > 0)
    told = usage.tokens_today
    waiting = {"model": "vermeil-nano", "messages": [{"role": "user", "content": "wait"}], "stream": True}
    with door.http.stream("POST", "/v1/chat/completions", json=waiting, headers=bearer(key)) as answer:
        next(answer.iter_lines())
    eventually(lambda: usage.tokens_today > told)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"key": {"scopes": ["read"], "name": "keys/mine"}}, "key.name"),
        ({"key": {"scopes": ["read"]}, "secret_digest": "eA=="}, "secret_digest"),
        ({"key": {"scope": ["read"]}}, "scope"),
    ],
)
def test_what_is_drawn_here_cannot_be_sent(door: Running, body: dict[str, Any], part: str) -> None:
    answer = door.http.post("/v1/keys", json=body, headers=OPERATOR)
    assert answer.status_code == 400
    assert part in answer.json()["error"]["message"]


def test_without_keys_of_its_own_a_gateway_still_holds_registry_keys_to_their_limits(
    gateway: Running,
) -> None:
    answer = gateway.http.post("/v1/keys", json={"key": {"scopes": ["read"]}})
    assert chat(gateway, answer.json()).status_code == 403
    assert gateway.chat().status_code == 200
