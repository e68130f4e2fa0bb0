"""Bad input at the door: a clear error that names what is wrong, and nothing worse."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from vermeil_gateway.testing import Running

CHAT: dict[str, Any] = {
    "model": "vermeil-nano",
    "messages": [
        {"role": "system", "content": "Be brief", "name": "me"},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    ],
    "stop": ["."],
    "tools": [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    ],
    "tool_choice": "auto",
    "user": "u",
}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "vermeil-nano", "prompt": ["Once"], "stop": "."},
    "/v1/embeddings": {"model": "vermeil-nano", "input": ["a"], "encoding_format": "float"},
    "/v1/images/generations": {"model": "vermeil-pictures", "prompt": "7", "size": "auto"},
    "/v1/ingestions": {"spec": {"dataset": "datasets/d", "sources": [{"uri": "/data", "include": ["*"]}]}},
    "/v1/trainings": {"recipe": {"name": "r", "data": {"dataset": "datasets/d"}}, "request_id": "r"},
    "/v1/evaluations": {"spec": {"model": "models/m", "task": "perplexity"}},
    "/v1/encodings": {"spec": {"dataset": "datasets/d"}},
    "/v1/search": {"dataset": "datasets/d", "model": "models/m", "text": "t"},
    "/v1/keys": {"key": {"display_name": "n", "owner": "owners/o", "scopes": ["read"]}, "request_id": "k"},
}
NASTY = (
    "'; DROP TABLE jobs; --",
    "<script>alert(1)</script>",
    "../../../../etc/passwd",
    "..\\..\\windows",
    "\x00",
    "%s%n{0}${jndi:ldap://x}",
    "A" * 100_000,
    "\ufeff\u202e😀",
    "",
)


def replaced(body: Any, nasty: str) -> Iterator[Any]:
    """The body with one of its texts replaced, for each of them."""
    places: list[tuple[str | int, Any]] = list(
        body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    )
    for place, value in places:
        if isinstance(value, str):
            copy = json.loads(json.dumps(body))
            copy[place] = nasty
            yield copy
        for inner in replaced(value, nasty):
            copy = json.loads(json.dumps(body))
            copy[place] = inner
            yield copy


@pytest.mark.parametrize("path", BODIES)
def test_the_bodies_that_are_made_worse_are_good_ones(gateway: Running, path: str) -> None:
    answer = gateway.http.post(path, json=BODIES[path])
    assert answer.status_code < 300, answer.text


@pytest.mark.parametrize("path", BODIES)
def test_nothing_in_a_text_field_is_more_than_a_text(gateway: Running, path: str) -> None:
    for nasty in NASTY:
        for body in replaced(BODIES[path], nasty):
            answer = gateway.http.post(path, json=body)
            assert answer.status_code < 500, (body, answer.text)
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) >= {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "nasty", ["..%2f..%2fetc%2fpasswd", "%2e%2e", "..;", "a%00b", "%27%20OR%201=1", "A" * 5000]
)
@pytest.mark.parametrize(
    "path", ["jobs", "models", "datasets", "images", "model-versions", "keys", "evaluations/x/report?a="]
)
def test_no_name_in_a_path_leads_anywhere_else(gateway: Running, path: str, nasty: str) -> None:
    answer = gateway.http.get(f"/v1/{path}/{nasty}")
    assert answer.status_code in (400, 404, 405), answer.text


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_of_100_megabytes_is_refused_before_it_is_read(gateway: Running, chunked: bool) -> None:
    place = urlsplit(gateway.url)
    length = "transfer-encoding: chunked" if chunked else f"content-length: {100 * 2**20}"
    kind = "content-type: application/json"
    head = f"POST /v1/completions HTTP/1.1\r\nhost: {place.netloc}\r\n{kind}\r\n{length}\r\n\r\n"
    block = b"x" * 2**20
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(head.encode())
        for _ in range(9 if chunked else 1):
            connection.sendall(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
        answer = connection.recv(4096)
    assert b" 413 " in answer.split(b"\r\n")[0]
    body = gateway.http.post(
        "/v1/completions", content=b"x" * (100 * 2**20), headers={"content-type": "application/json"}
    )
    assert body.status_code == 413
    assert "VERMEIL_GATEWAY_MAX_BODY_BYTES" in body.json()["error"]["message"]


@pytest.mark.parametrize(
    "kind", ["text/html", "multipart/form-data; boundary=x", "application/x-protobuf", ""]
)
def test_a_wrong_content_type_is_named(gateway: Running, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = gateway.http.post(
        "/v1/completions", content=b'{"model": "vermeil-nano", "prompt": "x"}', headers=headers
    )
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "content-type"
    assert "application/json" in error["message"]


@pytest.mark.parametrize(
    ("path", "fields", "param", "fix"),
    [
        ("/v1/chat/completions", {"n": 10_000}, "n", "16"),
        ("/v1/completions", {"n": 10_000}, "n", "16"),
        ("/v1/images/generations", {"n": 10_000}, "n", "64"),
        ("/v1/chat/completions", {"temperature": 1e9}, "temperature", "2"),
        ("/v1/chat/completions", {"logit_bias": {"cat": 1}}, "logit_bias", "decimal"),
        ("/v1/chat/completions", {"logit_bias": {"9" * 5000: 1}}, "logit_bias", "decimal"),
        ("/v1/chat/completions", {"stop": ["x"] * 17}, "stop", "16"),
        ("/v1/images/generations", {"size": "1x0"}, "size", "64x64"),
    ],
)
def test_a_number_out_of_range_is_named_with_its_bound(
    gateway: Running, path: str, fields: dict[str, Any], param: str, fix: str
) -> None:
    answer = gateway.http.post(path, json=BODIES[path] | fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert fix in error["message"]


@pytest.mark.parametrize(
    ("path", "place", "field"),
    [
        ("/v1/keys", ("key", "display_name"), "key.display_name"),
        ("/v1/ingestions", ("spec", "sources", 0, "uri"), "spec.sources[0].uri"),
    ],
)
def test_half_a_surrogate_pair_is_refused_by_its_field(
    gateway: Running, path: str, place: tuple[str | int, ...], field: str
) -> None:
    body = json.loads(json.dumps(BODIES[path]))
    inner: Any = body
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = "half \ud83d"
    headers = {"content-type": "application/json"}
    answer = gateway.http.post(path, content=json.dumps(body), headers=headers)
    assert answer.status_code == 400
    assert "half a surrogate pair; send valid Unicode" in answer.text
    assert field in answer.text


@pytest.mark.parametrize("name", ["Model", "literal", "int", "colour"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/ingestions"])
def test_a_field_that_is_none_is_named_however_it_is_called(gateway: Running, path: str, name: str) -> None:
    answer = gateway.http.post(path, json=BODIES[path] | {name: 1})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == name
    assert error["message"].startswith(f"{name}: is not a field of this request")


@pytest.mark.parametrize(
    ("path", "fields", "told"),
    [
        ("/v1/ingestions", {"half \ud83d": 1}, "half a surrogate pair"),
        ("/v1/completions", {"structured_outputs": {"half \ud83d": 1}}, "structured_outputs.half"),
    ],
)
def test_a_field_whose_name_is_no_unicode_is_refused_all_the_same(
    gateway: Running, path: str, fields: dict[str, Any], told: str
) -> None:
    body, headers = json.dumps(BODIES[path] | fields), {"content-type": "application/json"}
    answer = gateway.http.post(path, content=body, headers=headers)
    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


@pytest.mark.parametrize(("body", "why"), [("[" * 5000, "recursion depth"), ("9" * 5000, "digits")])
def test_json_that_is_more_than_is_read_says_what_is_too_much(gateway: Running, body: str, why: str) -> None:
    headers = {"content-type": "application/json"}
    for path in ("/v1/chat/completions", "/v1/ingestions"):
        answer = gateway.http.post(path, content=body, headers=headers)
        assert answer.status_code == 400
        assert why in answer.json()["error"]["message"]


@pytest.mark.parametrize("version", ["00", "01"])
@pytest.mark.parametrize("behind", ["a" * 20_000, "x y\tz"])
def test_whatever_stands_behind_a_trace_goes_no_further(gateway: Running, version: str, behind: str) -> None:
    """It was put into the headers of the call behind, which take neither all bytes nor many."""
    header = f"{version}-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-{behind}"
    assert gateway.http.get("/v1/models", headers={"traceparent": header}).status_code == 200
