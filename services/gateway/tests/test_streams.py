"""A client that goes away stops the work, at once and everywhere."""

import asyncio
import io
import json
import socket
from collections.abc import AsyncGenerator
from typing import cast
from urllib.parse import urlsplit

import pytest
import uvicorn
from fastapi import FastAPI
from uvicorn.server import ServerState
from vermeil.content.v1.content_pb2 import Part
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest, GenerateResponse
from vermeil.job.v1.job_pb2 import JobState
from vermeil.training.v1.recipe_pb2 import Recipe
from vermeil_gateway import bounded_http
from vermeil_gateway.clients import Clients
from vermeil_gateway.disconnect import kept_alive
from vermeil_gateway.generate import PIECES_AHEAD, begin
from vermeil_gateway.spent import Spent
from vermeil_gateway.testing import Running, eventually, running_gateway
from vermeil_telemetry import configure


def request_and_leave(gateway: Running, path: str, body: dict[str, object] | None, *, after: bytes) -> None:
    """Send a request, read until `after` came, or wait until it is under way, close the connection."""
    generation, place = gateway.backends.generation, urlsplit(gateway.url)
    data = json.dumps(body).encode() if body is not None else b""
    head = (
        f"{'POST' if body is not None else 'GET'} {path} HTTP/1.1\r\nhost: {place.netloc}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(head.encode() + data)
        seen = b""
        while after and after not in seen:
            piece = connection.recv(4096)
            assert piece, seen
            seen += piece
        if not after:
            eventually(lambda: bool(generation.requests or generation.image_requests))


CHAT = {"model": "vermeil-nano", "messages": [{"role": "user", "content": "wait"}]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {**CHAT, "stream": True}),
        ("/v1/completions", {"model": "vermeil-nano", "prompt": "wait", "stream": True}),
        ("/v1/completions", {"model": "vermeil-nano", "prompt": ["wait", "wait"], "stream": True}),
    ],
)
def test_leaving_a_stream_cancels_the_call_at_once(
    gateway: Running, path: str, body: dict[str, object]
) -> None:
    request_and_leave(gateway, path, body, after=b"Hello")
    eventually(lambda: gateway.backends.generation.num_active == 0)


def test_leaving_before_a_picture_is_drawn_cancels_the_call_too(gateway: Running) -> None:
    wanted: dict[str, object] = {"model": "vermeil-pictures", "prompt": "wait"}
    request_and_leave(gateway, "/v1/images/generations", wanted, after=b"")
    eventually(lambda: gateway.backends.generation.num_active == 0)
    streamed = {**wanted, "stream": True, "progress": True}
    request_and_leave(gateway, "/v1/images/generations", streamed, after=b"steps_done")
    eventually(lambda: gateway.backends.generation.num_active == 0)


def test_leaving_before_a_whole_answer_cancels_the_call_too(gateway: Running) -> None:
    request_and_leave(gateway, "/v1/chat/completions", CHAT, after=b"")
    eventually(lambda: gateway.backends.generation.num_active == 0)


@pytest.mark.parametrize("num_requests", [1, 2])
def test_a_client_that_takes_nothing_of_its_answer_is_left(
    num_requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "READER_SECONDS", 0.1)
    log = io.StringIO()
    configure("gateway", level="INFO", format="json", stream=log)
    with running_gateway() as gateway, socket.socket() as connection:
        generation = gateway.backends.generation
        generation.words = ("x" * 100_000,) * 1_000_000
        place = urlsplit(gateway.url)
        data = json.dumps({**CHAT, "messages": [{"role": "user", "content": "Hi"}], "stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json"
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((place.hostname, place.port))
        connection.sendall((f"{head}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data) * num_requests)
        eventually(lambda: len(generation.requests) == 1)
        eventually(lambda: generation.num_active == 0)
        eventually(lambda: '"unread": true' in log.getvalue())
        assert "vermeil_gateway_answers_unread_total" in gateway.http.get("/metrics").text


class Reader:
    """A connection whose client takes what it likes."""

    left = 100_000
    is_aborted = False

    def get_extra_info(self, _: str) -> None:
        """Nothing is known."""

    def get_write_buffer_size(self) -> int:
        return self.left

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


def test_a_client_that_reads_slowly_is_waited_for() -> None:
    async def live() -> None:
        reader = Reader()
        connection = bounded_http.BoundedHttp(uvicorn.Config(FastAPI(), log_config=None), ServerState(), {})
        connection.connection_made(cast("asyncio.Transport", reader))
        connection.pause_writing()
        reader.left -= 1
        connection._look(100_000)
        connection.resume_writing()
        connection._look(reader.left)
        assert not reader.is_aborted
        connection.pause_writing()
        connection._look(reader.left)
        assert reader.is_aborted

    asyncio.run(live())


def test_a_failing_prompt_stops_its_neighbours(gateway: Running) -> None:
    assert gateway.complete(prompt=["wait", "fail"]).status_code == 400
    eventually(lambda: gateway.backends.generation.num_active == 0)


def test_a_watched_job_tells_every_change_and_ends_with_the_last(gateway: Running) -> None:
    jobs = gateway.backends.jobs
    job = jobs.start("vermeil.trainer.v1.train", Recipe(name="x"), "r")
    states = []
    with gateway.http.stream("GET", f"/v1/{job.name}/events") as answer:
        lines = (line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: "))
        states.append(json.loads(next(lines))["state"])
        gateway.run(jobs.change(job.name, state=JobState.JOB_STATE_RUNNING))
        states.append(json.loads(next(lines))["state"])
        gateway.run(jobs.change(job.name, state=JobState.JOB_STATE_SUCCEEDED))
        states += [json.loads(line)["state"] for line in lines]
    assert states == ["JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"]


def test_leaving_a_watch_ends_it_behind_the_gateway(gateway: Running) -> None:
    job = gateway.backends.jobs.start("k", Recipe(), "r")
    request_and_leave(gateway, f"/v1/{job.name}/events", None, after=b"PENDING")
    eventually(lambda: gateway.backends.jobs.num_watching == 0)


def test_watching_an_unknown_job_is_a_plain_404(gateway: Running) -> None:
    assert gateway.http.get("/v1/jobs/none/events").status_code == 404


def test_an_idle_stream_says_that_it_lives_and_ends_when_the_process_stops() -> None:
    async def follow() -> list[bytes]:
        stopping = asyncio.Event()

        async def events():
            yield b"one"
            await asyncio.Event().wait()

        seen = []
        async for item in kept_alive(events(), stopping, seconds=0.01):
            seen.append(item)
            if len(seen) == 3:
                stopping.set()
        return seen

    seen = asyncio.run(asyncio.wait_for(follow(), 60))
    assert seen[0] == b"one"
    assert set(seen[1:]) == {b": still here\n\n"}


def test_answers_to_several_prompts_do_not_pile_up_before_a_client_that_reads_slowly() -> None:
    class Endless:
        """Never has enough of its own words."""

        num_pieces = 0

        async def generate(self, _: GenerateRequest) -> AsyncGenerator[GenerateResponse, None]:
            while True:
                self.num_pieces += 1
                yield GenerateResponse(delta=Part(text="x"))
                await asyncio.sleep(0)

    async def read_one() -> None:
        endless = Endless()
        answer = await begin(cast("Clients", endless), [GenerateRequest()] * 4, 4, Spent())
        await anext(answer.pieces)
        for _ in range(1000):
            await asyncio.sleep(0)
        assert endless.num_pieces < PIECES_AHEAD + 8
        await answer.pieces.aclose()

    asyncio.run(asyncio.wait_for(read_one(), 60))
