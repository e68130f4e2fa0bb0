"""A gateway that lives in memory, for tests of programs that use the SDK.

It answers the same paths as the real one, finishes every job at once, and echoes what it is told.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from vermeil_media import encode_png

Json = dict[str, Any]

_MODEL: Json = {"id": "fake", "object": "model", "output_modalities": ["text", "image"]}
_STEPS = 4
_SIDE = 8


class FakeGateway(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Pass it as `Vermeil(http=FakeGateway())`, or to AsyncVermeil; look at `requests` afterwards.

    `files` are those of its model and of its dataset, by path.
    """

    def __init__(self, *, job_error: Json | None = None) -> None:
        self.requests: list[tuple[str, str, Json]] = []
        self.jobs: dict[str, Json] = {}
        self.files: dict[str, bytes] = {"config.json": b"{}", "weights/0.bin": b"abc" * 1000}
        self._by_request: dict[str, str] = {}
        self._job_error = job_error

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        body = json.loads(request.content) if request.content else {}
        path = request.url.path
        self.requests.append((request.method, path, body))
        starts = {"/v1/ingestions": "ingest", "/v1/trainings": "train", "/v1/evaluations": "evaluate"}
        if request.method == "POST" and path in starts:
            return httpx.Response(202, json={"job": self._start(starts[path], body)})
        if path == "/v1/encodings":
            return httpx.Response(202, json={"job": self._start("embed", {"request_id": repr(body)})})
        if path in _ANSWERS:
            return _ANSWERS[path](body)
        if path.startswith("/v1/jobs/"):
            return self._job(path.removeprefix("/v1/"))
        if path.startswith("/v1/evaluations/"):
            return self._report(path.split("/")[3])
        return self._list(path, dict(request.url.params))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request of AsyncVermeil."""
        return self.handle_request(request)

    def _start(self, verb: str, body: Json) -> Json:
        name = self._by_request.setdefault(body["request_id"], f"jobs/{len(self.jobs) + 1}")
        results: dict[str, Json] = {
            "ingest": {"dataset_version": "datasets/fake/versions/1"},
            "train": {"model_version": "models/fake/versions/1", "steps": 1.0},
            "embed": {"width": 8.0},
            "evaluate": {"model": "models/fake/versions/1", "task": "perplexity@1", "metrics": []},
        }
        job: Json = {"name": name, "kind": f"vermeil.fake.v1.{verb}", "request_id": body["request_id"]}
        job |= {"progress": {"done": "1", "total": "1", "unit": "steps"}, "result": results[verb]}
        job |= {"owner": "owners/default", "priority": body.get("priority", "JOB_PRIORITY_NORMAL")}
        job["state"] = "JOB_STATE_FAILED" if self._job_error else "JOB_STATE_SUCCEEDED"
        if self._job_error:
            job["error"] = self._job_error
        return self.jobs.setdefault(name, job)

    def _job(self, path: str) -> httpx.Response:
        number, _, action = path.removeprefix("jobs/").partition("/")
        job = self.jobs.get(f"jobs/{number}")
        if job is None:
            return _not_found(f"no job jobs/{number}")
        if action == "events":
            return httpx.Response(200, text=f"data: {json.dumps(job)}\n\n")
        if action == "logs":
            line = {"time": "2026-01-01T00:00:00Z", "level": "info", "text": "done"}
            return httpx.Response(200, json={"lines": [line], "next_page_token": ""})
        return httpx.Response(200, json=job)

    def _stored(self, path: str) -> httpx.Response:
        if path in self.files:
            return httpx.Response(200, content=self.files[path])
        listed = [
            {"path": path, "num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for path, content in self.files.items()
        ]
        return httpx.Response(200, json={"files": listed})

    def _report(self, job: str) -> httpx.Response:
        found = self.jobs.get(f"jobs/{job}")
        if found is None:
            return _not_found(f"no job jobs/{job}")
        return httpx.Response(200, json={"report": found["result"], "page": f"<!doctype html><p>{job}"})

    def _list(self, path: str, query: Json) -> httpx.Response:
        if "/files" in path:
            return self._stored(path.partition("/files")[2].removeprefix("/"))
        version = {"name": "datasets/fake/versions/1", "card": {"num_samples": 1.0}}
        lists: dict[str, Json] = {
            "/v1/datasets": {
                "datasets": [{"name": "datasets/fake", "latest_version": "datasets/fake/versions/1"}]
            },
            "/v1/datasets/fake": {"name": "datasets/fake", "latest_version": "datasets/fake/versions/1"},
            "/v1/datasets/fake/versions": {"versions": [version]},
            "/v1/models": {"object": "list", "data": [_MODEL]},
            "/v1/models/fake": _MODEL | {"name": "models/fake/versions/1"},
            "/v1/model-versions/fake": {"versions": [{"name": "models/fake/versions/1"}]},
            "/v1/recipes": {"recipes": [{"name": "nano", "description": "small"}]},
            "/v1/evaluation-tasks": {"tasks": [{"name": "perplexity", "version": 1}]},
        }
        if path == "/v1/jobs":
            return httpx.Response(200, json=self._page_of_jobs(query))
        if path in lists:
            return httpx.Response(200, json=lists[path])
        return _not_found(f"nothing at {path}")

    def _page_of_jobs(self, query: Json) -> Json:
        """Pages of one, so that callers that forget the next page are found out."""
        jobs = list(reversed(self.jobs.values()))
        start = int(query.get("page_token") or 0)
        following = str(start + 1) if start + 1 < len(jobs) else ""
        return {"jobs": jobs[start : start + 1], "next_page_token": following}


def _not_found(message: str) -> httpx.Response:
    return httpx.Response(404, json={"error": {"message": message, "code": "NOT_FOUND", "violations": []}})


def _hits(body: Json) -> httpx.Response:
    """As many as are asked for, each named by what was looked for."""
    looked_for = body.get("text") or "a picture"
    preview = base64.b64encode(_square(0)).decode() if body.get("previews") else ""
    hits = [
        {"sample": f"{looked_for}/{place}", "split": "train", "score": 0.5, "captions": [looked_for]}
        | {"preview": preview}
        for place in range(body["num_hits"])
    ]
    return httpx.Response(200, json={"hits": hits, "dataset": "", "model": ""})


def _comparison(body: Json) -> httpx.Response:
    """A job is as good as itself, and better than any other."""
    gap = -1.0 if body["first"] != body["second"] else 0.0
    verdict = "first is better" if gap else "no difference shown"
    difference = {"name": "bits_per_byte", "first": 2.0 + gap, "second": 2.0, "difference": gap, "low": gap}
    difference |= {
        "high": gap,
        "level": 0.95,
        "p_value": 1.0 + gap,
        "lower_is_better": True,
        "verdict": verdict,
    }
    found = {"task": "perplexity@1", "first_model": body["first"], "second_model": body["second"]}
    found |= {"num_items": "3", "differences": [difference], "left_out": {"perplexity": "tokens differ"}}
    return httpx.Response(200, json={"comparison": found})


def _pictures(body: Json) -> httpx.Response:
    """Squares of one grey, which is the seed; the size of every one is 8 × 8."""
    count, first = body.get("n") or 1, body.get("seed") or 0
    images = [
        {"b64_json": base64.b64encode(_square(first + index)).decode(), "seed": first + index}
        for index in range(count)
    ]
    if not body.get("stream"):
        return httpx.Response(200, json={"created": 0, "model": "fake@1", "data": images})
    events: list[Json] = [
        {"type": "image_generation.progress", "steps_done": step * count, "steps_total": _STEPS * count}
        for step in range(_STEPS + 1 if body.get("progress") else 0)
    ]
    events += [
        {"type": "image_generation.completed", "image_index": index, **image}
        for index, image in enumerate(images)
    ]
    return httpx.Response(200, text="".join(f"data: {json.dumps(event)}\n\n" for event in events))


def _square(grey: int) -> bytes:
    return encode_png(np.full((_SIDE, _SIDE, 1), grey % 256, np.uint8))


def _stream(text: str, choice: Callable[[str], Json]) -> httpx.Response:
    words = text.split(" ")
    pieces = [word if index == 0 else f" {word}" for index, word in enumerate(words)]
    events = [{"choices": [choice(piece) | {"index": 0, "finish_reason": None}]} for piece in pieces]
    events.append({"choices": [choice("") | {"index": 0, "finish_reason": "stop"}]})
    lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return httpx.Response(200, text=f"{lines}data: [DONE]\n\n")


def _chat(body: Json) -> httpx.Response:
    """What was said last, ▢ for each picture; to `draw` also a square."""
    content = body["messages"][-1]["content"]
    parts = [{"text": content}] if isinstance(content, str) else content
    text = "".join(part.get("text", "▢") for part in parts)
    answer = _stream(text, lambda piece: {"delta": {"content": piece}})
    if text != "draw":
        return answer
    url = f"data:image/png;base64,{base64.b64encode(_square(0)).decode()}"
    image = {"type": "image_url", "image_url": {"url": url}, "index": 0, "offset": len(text)}
    event = {"choices": [{"index": 0, "delta": {"images": [image]}, "finish_reason": None}]}
    return httpx.Response(
        200, text=f"{answer.text.replace('data: [DONE]', f'data: {json.dumps(event)}')}\n\n"
    )


def _keys(body: Json) -> httpx.Response:
    """The new key, or all there are: one."""
    key: Json = {"name": "keys/fake", "owner": "owners/default", "scopes": ["read"]}
    if body:
        return httpx.Response(201, json={"key": key | body["key"], "secret": "s3cret"})
    return httpx.Response(200, json={"keys": [key | {"usage": {"tokens_in_total": "1234"}}]})


def _revoked(_body: Json) -> httpx.Response:
    return httpx.Response(200, json={"name": "keys/fake", "revoke_time": "2026-01-01T00:00:00Z"})


def _audit_events(_body: Json) -> httpx.Response:
    event = {"time": "2026-01-01T00:00:00Z", "caller": "keys/fake", "action": "POST /v1/trainings"}
    return httpx.Response(200, json={"events": [event | {"resource": "jobs/1", "status": 202}]})


_QUOTA: Json = {
    "owner": "owners/fake",
    "limits": {"max_running": "2", "max_waiting": "100"},
    "is_default": False,
    "num_running": "1",
    "num_waiting": "17",
}

_ANSWERS: dict[str, Callable[[Json], httpx.Response]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": lambda body: _stream(body["prompt"], lambda text: {"text": text}),
    "/v1/images/generations": _pictures,
    "/v1/audit-events": _audit_events,
    "/v1/keys": _keys,
    "/v1/keys/fake/revoke": _revoked,
    "/v1/quotas/fake": lambda body: httpx.Response(200, json=_QUOTA | body),
    "/v1/quotas/fake/reset": lambda _: httpx.Response(200, json=_QUOTA),
    "/v1/quotas": lambda _: httpx.Response(200, json={"quotas": [_QUOTA]}),
    "/v1/search": _hits,
    "/v1/evaluation-comparisons": _comparison,
}
"""What is answered at once, by path."""
