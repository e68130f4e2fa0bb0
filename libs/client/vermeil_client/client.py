"""The SDK: one method for each thing a person asks of Vermeil."""

import base64
import math
import re
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx
from vermeil_errors import InvalidInput, Unavailable

from vermeil_client.download import Progress, download, unheard
from vermeil_client.names import full_name, resource_name
from vermeil_client.resources import (
    AnswerImage,
    CreatedKey,
    Dataset,
    DrawingProgress,
    Hit,
    Job,
    Model,
    Picture,
    Piece,
)
from vermeil_client.settings import ClientSettings
from vermeil_client.transport import AsyncTransport, Json, Transport

PRIORITIES = ("low", "normal", "high")
"""How soon work is handed to a worker; high takes an admin's key."""
_BEFORE_ANOTHER_LOOK, _PATIENCE = 0.5, 60.0
"""Seconds, where a stream of a job has ended before the job; and how long its gateway may be away."""
_URI = re.compile(r"(digits|shapes|file|s3):")


class Vermeil:
    """A connection to one gateway.

    Args:
        url: Its address; default from VERMEIL_URL, the running local Vermeil, or http://127.0.0.1:8080.
        api_key: Default from VERMEIL_API_KEY.
        http: Transport of httpx to use instead of the network, for tests.

    Every method raises classes of `vermeil_errors`: Unavailable where nothing answers, InvalidInput
    with its violations where the request is wrong, NotFound for unknown names.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        http: httpx.BaseTransport | None = None,
    ) -> None:
        self.transport = Transport(*_address(url, api_key), http=http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.close()

    def ingest(self, dataset: str, sources: Sequence[Mapping[str, Any]], **options: Any) -> Job:
        """Turn raw media into a new version of a dataset.

        Args:
            dataset: Its id, such as `peps`.
            sources: Messages vermeil.ingest.v1.Source, such as `{"uri": "/data/peps"}`.
            options: Other fields of vermeil.ingest.v1.IngestSpec, request_id, and priority.
        """
        request_id, priority = options.pop("request_id", None), options.pop("priority", "normal")
        spec = {"dataset": full_name("datasets", dataset), "sources": list(sources), **options}
        return self._start("/v1/ingestions", {"spec": spec}, request_id, priority)

    def train(
        self, recipe: Mapping[str, Any], *, request_id: str | None = None, priority: str = "normal"
    ) -> Job:
        """Train a model by a recipe (vermeil.training.v1.Recipe); priority is low, normal or high."""
        return self._start("/v1/trainings", {"recipe": dict(recipe)}, request_id, priority)

    def evaluate(
        self,
        model: str,
        task: str = "perplexity",
        *,
        request_id: str | None = None,
        priority: str = "normal",
        **options: Any,
    ) -> Job:
        """Measure a model; options are other fields of vermeil.evaluation.v1.EvaluationSpec."""
        spec = {"model": resource_name(model), "task": task, **options}
        return self._start("/v1/evaluations", {"spec": spec}, request_id, priority)

    def report(self, job: str) -> Json:
        """What an evaluation found: `report` (vermeil.evaluation.v1.Report) and `page`, an HTML file."""
        name = job.removeprefix("jobs/")
        return self.transport.get(f"/v1/evaluations/{name}/report")

    def compare(self, first: str, second: str, *, seed: int = 0) -> Json:
        """Two evaluations item by item (vermeil.evaluation.v1.Comparison), first minus second."""
        body = {"first": full_name("jobs", first), "second": full_name("jobs", second), "seed": seed}
        comparison: Json = self.transport.post("/v1/evaluation-comparisons", body)["comparison"]
        return comparison

    def embed(self, dataset: str, model: str) -> Job:
        """Embed every picture of a dataset by a dual model; what is done or under way is not begun again."""
        spec = {"dataset": full_name("datasets", dataset), "embedding_model": resource_name(model)}
        return Job.from_json(self.transport.post("/v1/encodings", {"spec": spec})["job"])

    def search(
        self,
        dataset: str,
        text: str = "",
        *,
        model: str,
        image: bytes = b"",
        num_hits: int = 10,
        previews: bool = False,
    ) -> list[Hit]:
        """The samples of an embedded dataset nearest to a text, or to a picture's file, nearest first."""
        looked_for: Json = {"text": text}
        if image:
            looked_for = {"image": {"inline": base64.b64encode(image).decode()}}
        body = {"dataset": full_name("datasets", dataset), "model": resource_name(model), **looked_for}
        answer = self.transport.post("/v1/search", {**body, "num_hits": num_hits, "previews": previews})
        return [Hit.from_json(hit) for hit in answer.get("hits") or ()]

    def job(self, name: str) -> Job:
        """One job, by `jobs/{id}` or its id."""
        return Job.from_json(self.transport.get(f"/v1/{full_name('jobs', name)}"))

    def jobs(self, state: str = "", kind: str = "") -> Iterator[Job]:
        """All jobs, newest first."""
        wanted = f"JOB_STATE_{state.upper()}" if state else ""
        for body in self._pages("/v1/jobs", "jobs", state=wanted, kind=kind):
            yield Job.from_json(body)

    def cancel(self, name: str) -> Job:
        """Ask a job to stop."""
        return Job.from_json(self.transport.post(f"/v1/{full_name('jobs', name)}/cancel"))

    def watch(self, name: str) -> Iterator[Job]:
        """The job now, after every change, and at last in its final state; its gateway may start anew."""
        until = 0.0
        while True:  # a gateway that stops ends its streams before the job does
            try:
                for body in self.transport.events("GET", f"/v1/{full_name('jobs', name)}/events"):
                    until = math.inf
                    job = Job.from_json(body)
                    yield job
                    if job.finished:
                        return
            except Unavailable:
                until = min(until, time.monotonic() + _PATIENCE)
                if time.monotonic() > until:
                    raise
            time.sleep(_BEFORE_ANOTHER_LOOK)

    def wait(self, name: str) -> Job:
        """Wait for the end of a job and return it; raises what it failed with."""
        job = self.job(name)
        for job in self.watch(name):  # noqa: B007 the last one is the answer
            pass
        return job.raise_for_state()

    def logs(self, name: str) -> Iterator[Json]:
        """The job's log lines, oldest first: time, level, text."""
        yield from self._pages(f"/v1/{full_name('jobs', name)}/logs", "lines")

    def output_files(self, job: str, role: str) -> list[str]:
        """Paths of the files of what a job made, by role such as `log`; while it runs, those so far."""
        body = self.transport.get(f"/v1/{full_name('jobs', job)}/outputs/{role}")
        return [each["path"] for each in body["files"]]

    def output_file(self, job: str, role: str, path: str) -> bytes:
        """One of those files, such as `metrics.jsonl` of the role `log`."""
        return self.transport.read(f"/v1/{full_name('jobs', job)}/outputs/{role}/{quote(path)}")

    def datasets(self) -> Iterator[Dataset]:
        """All datasets by name."""
        for body in self._pages("/v1/datasets", "datasets"):
            yield Dataset.from_json(body)

    def dataset_versions(self, dataset: str) -> Iterator[Json]:
        """Versions of a dataset, newest first, with their data cards."""
        yield from self._pages(f"/v1/{full_name('datasets', dataset)}/versions", "versions")

    def models(self) -> list[Model]:
        """All models."""
        return [Model(body["id"], body) for body in self.transport.get("/v1/models")["data"]]

    def model_versions(self, model: str) -> Iterator[Json]:
        """Versions of a model, newest first, with recipe, data and figures."""
        yield from self._pages(f"/v1/model-versions/{model.removeprefix('models/')}", "versions")

    def download(self, name: str, folder: Path, progress: Progress = unheard) -> str:
        """Bring the files of a model or a dataset here, each checked by its hash; the version's name.

        Args:
            name: `nano` for a model's newest version, `nano@3`, `datasets/peps`, or a version's full name.
            folder: Where to; made if it is not there. Files that are there already are not fetched again.
            progress: Is told how many bytes are here, and how many there are in all.
        """
        return download(self.transport, name, folder, progress)

    def recipes(self) -> list[Json]:
        """The recipes that come with the trainer."""
        return list(self._pages("/v1/recipes", "recipes"))

    def tasks(self) -> list[Json]:
        """What can be measured."""
        return list(self._pages("/v1/evaluation-tasks", "tasks"))

    def create_key(
        self, display_name: str = "", scopes: Sequence[str] = ("inference",), **options: Any
    ) -> CreatedKey:
        """A new key of the gateway, with its secret, which nobody can show again.

        Args:
            display_name: What it is for.
            scopes: Some of inference, read, submit and admin.
            options: Other fields of vermeil.registry.v1.ApiKey (owner, limits, expire_time), and request_id.
        """
        request_id = options.pop("request_id", None) or uuid.uuid4().hex
        key = {"display_name": display_name, "scopes": list(scopes), **options}
        answer = self.transport.post("/v1/keys", {"key": key, "request_id": request_id})
        return CreatedKey(answer["key"]["name"], answer["secret"], answer["key"])

    def api_keys(self) -> Iterator[Json]:
        """All keys of the gateway, newest first, with what each has done (vermeil.registry.v1.ApiKey)."""
        yield from self._pages("/v1/keys", "keys")

    def revoke_key(self, name: str) -> Json:
        """End a key for good."""
        return self.transport.post(f"/v1/{full_name('keys', name)}/revoke")

    def quotas(self) -> Iterator[Json]:
        """How many jobs each owner may have at once, and has (vermeil.job.v1.Quota), by name."""
        yield from self._pages("/v1/quotas", "quotas")

    def quota(self, owner: str) -> Json:
        """One owner's quota."""
        return self.transport.get(f"/v1/quotas/{owner.removeprefix('owners/')}")

    def set_quota(self, owner: str, *, max_running: int = 0, max_waiting: int = 0) -> Json:
        """Give an owner limits of its own; 0 for no bound."""
        limits = {"max_running": max_running, "max_waiting": max_waiting}
        return self.transport.post(f"/v1/quotas/{owner.removeprefix('owners/')}", {"limits": limits})

    def reset_quota(self, owner: str) -> Json:
        """Take an owner's own limits away: the defaults hold again."""
        return self.transport.post(f"/v1/quotas/{owner.removeprefix('owners/')}/reset")

    def audit_events(self, caller: str = "", resource: str = "") -> Iterator[Json]:
        """Who changed what, newest first (vermeil.registry.v1.AuditEvent)."""
        wanted = {"caller": caller, "resource": resource}
        given = {name: value for name, value in wanted.items() if value}
        yield from self._pages("/v1/audit-events", "events", **given)

    def chat(
        self, model: str, messages: str | Sequence[Mapping[str, Any]], **options: Any
    ) -> Iterator[Piece]:
        """Stream the answer to a conversation; options are those of OpenAI's chat completions.

        `user_turn` makes a turn with pictures.
        """
        for event in self.transport.events(*chat_request(model, messages, options)):
            yield from pieces_in(event)

    def complete(self, model: str, prompt: str, **options: Any) -> Iterator[Piece]:
        """Stream the continuation of a text; options are those of OpenAI's completions."""
        body = {"model": model, "prompt": prompt, "stream": True, **options}
        for event in self.transport.events("POST", "/v1/completions", body):
            for choice in event.get("choices", ()):
                yield Piece(choice.get("text") or "", choice.get("finish_reason"))

    def draw(self, model: str, prompt: str = "", **options: Any) -> Iterator[DrawingProgress | Picture]:
        """Progress, then pictures of a text or a class; none lets the model choose.

        Args:
            model: A model that gives images.
            prompt: What they show.
            options: Those of OpenAI's image generation, and seed, steps, guidance, solver.
        """
        yield from map(drawn, self.transport.events(*drawing_request(model, prompt, options)))

    def _start(self, path: str, body: Json, request_id: str | None, priority: str) -> Job:
        if priority not in PRIORITIES:
            raise InvalidInput.for_field(
                "priority", priority, "is no priority", f"write {', '.join(PRIORITIES)}"
            )
        sent = {**body, "request_id": request_id or uuid.uuid4().hex}
        answer = self.transport.post(path, {**sent, "priority": f"JOB_PRIORITY_{priority.upper()}"})
        return Job.from_json(answer["job"])

    def _pages(self, path: str, key: str, **query: str | int) -> Iterator[Json]:
        token = ""
        while True:
            page = self.transport.get(path, page_token=token, **query)
            yield from page.get(key) or ()
            token = page.get("next_page_token") or ""
            if not token:
                return


class AsyncVermeil:
    """Answers that grow, for programs with an event loop: who closes one ends the work behind it at once.

    Arguments are those of Vermeil.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        http: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.transport = AsyncTransport(*_address(url, api_key), http=http)

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.close()

    async def chat(
        self, model: str, messages: str | Sequence[Mapping[str, Any]], **options: Any
    ) -> AsyncGenerator[Piece, None]:
        """As Vermeil.chat."""
        async with aclosing(self.transport.events(*chat_request(model, messages, options))) as events:
            async for event in events:
                for piece in pieces_in(event):
                    yield piece

    async def draw(
        self, model: str, prompt: str = "", **options: Any
    ) -> AsyncGenerator[DrawingProgress | Picture, None]:
        """As Vermeil.draw."""
        async with aclosing(self.transport.events(*drawing_request(model, prompt, options))) as events:
            async for event in events:
                yield drawn(event)


def chat_request(
    model: str, messages: str | Sequence[Mapping[str, Any]], options: Mapping[str, Any]
) -> tuple[str, str, Json]:
    """Method, path and body of a streamed conversation."""
    turns = [user_turn(messages)] if isinstance(messages, str) else list(messages)
    return "POST", "/v1/chat/completions", {"model": model, "messages": turns, "stream": True, **options}


def pieces_in(event: Json) -> Iterator[Piece]:
    """The pieces in an event of a streamed conversation."""
    for choice in event.get("choices", ()):
        delta = choice["delta"]
        images = tuple(AnswerImage.from_json(image) for image in delta.get("images") or ())
        yield Piece(delta.get("content") or "", choice.get("finish_reason"), images)


def drawing_request(model: str, prompt: str, options: Mapping[str, Any]) -> tuple[str, str, Json]:
    """Method, path and body of a streamed drawing."""
    body = {"model": model, "prompt": prompt, "stream": True, "progress": True, **options}
    return "POST", "/v1/images/generations", body


def drawn(event: Json) -> DrawingProgress | Picture:
    """What an event of a streamed drawing tells."""
    if event["type"] == "image_generation.progress":
        return DrawingProgress(event["steps_done"], event["steps_total"])
    return Picture.from_json(event)


def _address(url: str | None, api_key: str | None) -> tuple[str, str | None]:
    """Where the gateway is and its key, as given or by the settings."""
    settings = ClientSettings.load()
    key = api_key or (settings.api_key.get_secret_value() if settings.api_key else None)
    return url or settings.gateway_url(), key


def user_turn(text: str, images: Sequence[bytes] = ()) -> Json:
    """A turn of a conversation: files of pictures, and what is said of them."""
    if not images:
        return {"role": "user", "content": text}
    urls = (f"data:image/png;base64,{base64.b64encode(file).decode()}" for file in images)
    parts: list[Json] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}] if text else parts}


def is_uri(path: str) -> bool:
    """Whether ingest knows this as it is, without this machine's folders."""
    return _URI.match(path) is not None


def source(path: str, **options: Any) -> Json:
    """A vermeil.ingest.v1.Source for a file or folder of this machine, or a URI such as digits: or s3://…."""
    uri = path if is_uri(path) else str(Path(path).expanduser().absolute())
    return {"uri": uri, **options}
