"""Bodies that nobody meant: no crash, no 5xx, and answers that look as the description says."""

import json
from functools import cache
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vermeil_gateway.testing import Running

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "vermeil-nano",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        "logit_bias": {"1": 1.0},
        "stop": ["x"],
        "stream_options": None,
    },
    "/v1/completions": {"model": "vermeil-nano", "prompt": ["x"], "logprobs": 1, "seed": 1, "n": 1},
    "/v1/embeddings": {"model": "vermeil-nano", "input": ["a"], "encoding_format": "float"},
    "/v1/images/generations": {"model": "vermeil-pictures", "prompt": "7", "size": "auto", "n": 1},
    "/v1/ingestions": {"spec": {"dataset": "datasets/d", "sources": [{"uri": "/data"}]}, "request_id": "r"},
    "/v1/trainings": {"recipe": {"name": "r", "optimizer": {"learning_rate": 0.1}}, "request_id": "r"},
    "/v1/evaluations": {"spec": {"model": "models/m", "task": "perplexity"}, "request_id": "r"},
    "/v1/evaluation-comparisons": {"first": "jobs/1", "second": "jobs/2", "seed": "1"},
    "/v1/encodings": {"spec": {"dataset": "datasets/d"}},
    "/v1/search": {"dataset": "datasets/d", "model": "models/m", "text": "t", "num_hits": 1},
    "/v1/keys": {"key": {"scopes": ["read"], "limits": {"tokens_per_day": "1"}}, "request_id": "k"},
}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400])
    | st.floats()
    | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


def places(body: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in a body."""
    inside = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [path, *(place for key, value in inside for place in places(value, (*path, key)))]


@st.composite
def worse(draw: st.DrawFn, body: dict[str, Any]) -> Any:
    """A good body with something else in one place, or one thing more."""
    changed = json.loads(json.dumps(body))
    place = draw(st.sampled_from(places(body)))
    if not place:
        return draw(ANYTHING)
    inside = changed
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = draw(ANYTHING)
    if isinstance(inside, dict) and draw(st.booleans()):
        inside[draw(st.text(max_size=12))] = draw(ANYTHING)
    return changed


@cache
def description(url: str) -> Any:
    return httpx.get(f"{url}/openapi.json", timeout=60).json()


def check(gateway: Running, path: str, answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    described = description(gateway.url)
    responses = described["paths"][path]["post"]["responses"]
    found = responses.get(str(answer.status_code), responses["default"])
    assert answer.status_code >= 400 or str(answer.status_code) in responses
    if answer.headers["content-type"] == "application/json":
        shape = found["content"]["application/json"].get("schema", {})
        jsonschema.validate(answer.json(), {**shape, "components": described["components"]})


@pytest.mark.slow
@pytest.mark.parametrize("path", BODIES)
def test_a_body_that_is_nearly_good_is_answered_or_refused(gateway: Running, path: str) -> None:
    check(gateway, path, gateway.http.post(path, json=BODIES[path]))

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(worse(BODIES[path]))
    def post(body: Any) -> None:
        content = json.dumps(body).encode()
        check(
            gateway,
            path,
            gateway.http.post(path, content=content, headers={"content-type": "application/json"}),
        )

    post()


@pytest.mark.slow
def test_bytes_that_are_no_json_are_refused(gateway: Running) -> None:
    paths = st.sampled_from(sorted(BODIES))

    @settings(
        max_examples=100,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(paths, st.binary(min_size=1, max_size=200))
    def post(path: str, content: bytes) -> None:
        check(
            gateway,
            path,
            gateway.http.post(path, content=content, headers={"content-type": "application/json"}),
        )

    post()


def test_a_405_lists_all_that_the_path_answers_to(gateway: Running) -> None:
    answer = gateway.http.request("OPTIONS", "/v1/keys")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


def test_keys_are_asked_for_in_the_description_only_where_they_are_needed(gateway: Running) -> None:
    assert "security" not in description(gateway.url)
    for path, methods in description(gateway.url)["paths"].items():
        for operation in methods.values():
            assert "422" not in operation["responses"], path
            assert "default" in operation["responses"], path
