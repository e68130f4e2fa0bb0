"""A gateway in memory with something of everything, so that every page has something to show.

Like that of the SDK, which it extends, it echoes what it is told and draws squares of one grey.
"""

import json
import math
from pathlib import Path
from typing import Any

import httpx
from vermeil_client.testing import FakeGateway

Json = dict[str, Any]

_THEN = 1_800_000_000
_TRAIN, _EVALUATE = "vermeil.trainer.v1.train", "vermeil.evaluator.v1.evaluate"
_PAGE = "<!doctype html><title>Report</title><p>perplexity of nano"
_OUTPUTS = "/v1/jobs/training/outputs/log"
_PICTURE = Path(__file__).parent / "pictures" / "a-blue-circle.png"
_MODELS: tuple[tuple[str, list[str], list[str]], ...] = (
    ("nano", ["text"], ["text"]),
    ("shapes-image", ["text"], ["image"]),
    ("fused-shapes", ["text", "image"], ["text", "image"]),
    ("dual-shapes", ["text", "image"], ["embedding"]),
)


class FakeVermeil(FakeGateway):
    """Pass it as `Vermeil(http=FakeVermeil())`; with `empty` there is nothing yet."""

    def __init__(self, *, empty: bool = False) -> None:
        super().__init__()
        self.empty = empty
        self.step = 400
        """Where the running training is."""
        self.unreachable = False
        """Set it, and nothing answers."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        if self.unreachable:
            raise httpx.ConnectError("connection refused")
        body = json.loads(request.content) if request.content else {}
        answer = self._own(request.url.path, request.url.params.get("kind", ""))
        if answer is None:
            return super().handle_request(request)
        self.requests.append((request.method, request.url.path, body))
        if isinstance(answer, bytes):
            return httpx.Response(200, content=answer)
        return httpx.Response(200, json=answer)

    def _own(self, path: str, kind: str) -> Json | bytes | None:
        """What only this fake knows; None for all else."""
        if path.startswith("/v1/model-versions/"):
            return {"versions": [_version(path.rpartition("/")[2])]}
        if self.empty:
            return {"/v1/models": {"data": []}, "/v1/datasets": {"datasets": []}, "/v1/jobs": {}}.get(path)
        if path.startswith(_OUTPUTS):
            return self._file(path.removeprefix(_OUTPUTS))
        steps = range(100, self.step + 1, 100)
        jobs = [self._training(), _evaluation()]
        known: dict[str, Json] = {
            "/v1/models": {"object": "list", "data": [_model(*each) for each in _MODELS]},
            "/v1/jobs": {"jobs": [job for job in jobs if kind in ("", job["kind"])]},
            "/v1/jobs/training": jobs[0],
            "/v1/jobs/training/logs": {"lines": [_line(step) for step in steps]},
            "/v1/evaluations/evaluation/report": {"report": _report(), "page": _PAGE},
        }
        return known.get(path)

    def _training(self) -> Json:
        metrics = {"loss": _loss(self.step) + 0.1, "tokens_per_second": 41_000.0}
        progress = {"done": str(self.step), "total": "2000", "unit": "steps", "metrics": metrics}
        spec = {"recipe": {"name": "nano", "task": "text"}}
        # Another log after each validation has another digest.
        log = {"digest": f"sha256:{self.step // 100:064x}", "kind": "log"}
        return _job("training", _TRAIN, "RUNNING", spec=spec, progress=progress, outputs={"log": log})

    def _file(self, path: str) -> Json | bytes | None:
        """A file of the log that the training has shown at its last validation."""
        validated = self.step - self.step % 100
        files = {
            "metrics.jsonl": _metrics(validated),
            "fusion.json": json.dumps(_gates(validated)).encode(),
            **{
                f"samples/step-{step:08d}.png": _PICTURE.read_bytes()
                for step in range(100, validated + 1, 100)
            },
        }
        return files[path.removeprefix("/")] if path else {"files": [{"path": name} for name in files]}


def _metrics(last_step: int) -> bytes:
    lines: list[Json] = [{"step": step, "loss": _loss(step) + 0.1} for step in range(10, last_step + 1, 10)]
    for step in range(100, last_step + 1, 100):
        tasks = {"validation_loss_text": _loss(step), "validation_loss_captioning/seen/text": _loss(step) / 2}
        lines.append({"step": step, "validation_loss": _loss(step), **tasks})
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def _gates(step: int) -> Json:
    """As the trainer writes them."""
    table = {"value": "tanh(g)", "rows": ["layer 2", "layer 4"], "columns": ["attention", "feed-forward"]}
    values = [[0.46, 0.51], [0.62, 0.38]]
    names = ("text looks at pictures", "pictures look at text")
    tables = [{"name": name, **table, "values": values} for name in names]
    return {"fusion": "cross_attention", "step": step, "openness": 1.0, "tables": tables}


def _loss(step: int) -> float:
    return 2.0 + 3.0 * math.exp(-step / 500)


def _job(id_: str, kind: str, state: str, **more: Any) -> Json:
    times = {"create_time": "2026-11-23T04:00:00Z", "start_time": "2026-11-23T04:00:01Z"}
    return {"name": f"jobs/{id_}", "kind": kind, "state": f"JOB_STATE_{state}", **times, **more}


def _evaluation() -> Json:
    result = {"model": "models/nano/versions/1", "task": "perplexity@1"}
    return _job("evaluation", _EVALUATE, "SUCCEEDED", result=result)


def _model(id_: str, takes: list[str], gives: list[str]) -> Json:
    return {
        "id": id_,
        "object": "model",
        "created": _THEN,
        "name": f"models/{id_}",
        "version": 1,
        "input_modalities": takes,
        "output_modalities": gives,
    }


def _version(model: str) -> Json:
    recipe: Json = {"name": model, "task": "text", "run": {"steps": 2000}}
    if model.startswith("fused"):
        backbones = {"text": "models/nano/versions/1", "image": "models/shapes-image/versions/1"}
        recipe |= {"task": "fusion", "fusion": {"kind": "alloy", **backbones}}
    return {
        "name": f"models/{model}/versions/1",
        "artifact": {"digest": f"sha256:{'5' * 64}", "kind": "model", "num_bytes": "4830064"},
        "job": "jobs/training",
        "recipe": json.dumps(recipe),
        "code_version": "0.1.0+1a2b3c4",
        "datasets": ["datasets/fake/versions/1"],
        "seed": "0",
        "metrics": {"steps": 2000.0, "validation_loss": 2.07, "seconds": 214.0},
        "create_time": "2026-11-23T04:30:00Z",
    }


def _report() -> Json:
    interval = {"level": 0.95, "lower_is_better": True, "statistic": "mean"}
    return {
        "model": "models/nano/versions/1",
        "model_digest": f"sha256:{'5' * 64}",
        "task": "perplexity@1",
        "data": "datasets/fake/versions/1#validation",
        "num_items": "64",
        "metrics": [
            {"name": "bits_per_byte", "value": 1.62, "low": 1.58, "high": 1.67, **interval},
            {"name": "perplexity", "value": 24.1, "low": 22.6, "high": 25.9, **interval},
        ],
    }


def _line(step: int) -> Json:
    text = f"step {step}: validation loss {_loss(step):.4f}"
    return {"time": "2026-11-23T04:01:00Z", "level": "info", "text": text}
