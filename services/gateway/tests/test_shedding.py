"""Too much at once is refused, and an end is orderly: nobody is left without a word."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest
from vermeil.training.v1.recipe_pb2 import Recipe
from vermeil_errors import Overloaded
from vermeil_gateway.admission import Admission
from vermeil_gateway.testing import Running, events_of, eventually, running_gateway

WAIT = {"model": "vermeil-nano", "messages": [{"role": "user", "content": "wait"}], "stream": True}


@contextmanager
def streaming(gateway: Running, prompt: str) -> Iterator[Iterator[str]]:
    """A stream whose first piece has come, on a connection of its own."""
    body = WAIT | {"messages": [{"role": "user", "content": prompt}]}
    with (
        httpx.Client(base_url=gateway.url, timeout=60) as http,
        http.stream("POST", "/v1/chat/completions", json=body) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        yield lines


def test_requests_over_the_bound_are_refused_at_once_and_those_inside_end_well() -> None:
    with running_gateway(gateway_max_requests=2) as gateway:
        with streaming(gateway, "hold") as first, streaming(gateway, "hold"):
            refused = gateway.chat()
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            assert refused.json()["error"]["code"] == "OVERLOADED"
            assert gateway.http.get("/healthz").status_code == 200
            for path in ("/v1/models", "/v1/jobs", "/v1/datasets"):  # counted apart
                assert gateway.http.get(path).status_code == 200
            gateway.run(gateway.backends.generation.release())
            assert "[DONE]" in list(first)[-2]
        eventually(lambda: gateway.chat().status_code == 200)
        shown = gateway.http.get("/metrics").text
        assert 'vermeil_gateway_requests_shed_total{why="requests"}' in shown


def test_streams_of_jobs_keep_no_room_from_those_who_chat() -> None:
    with running_gateway(gateway_max_requests=1) as gateway:
        job = gateway.backends.jobs.start("vermeil.trainer.v1.train", Recipe(name="x"), "r")
        with gateway.http.stream("GET", f"/v1/{job.name}/events") as answer:
            assert answer.status_code == 200
            assert gateway.chat().status_code == 200
            refused = gateway.http.get("/v1/jobs")
            assert refused.status_code == 429
            assert "requests beside those to models" in refused.json()["error"]["message"]


def test_when_the_generator_will_have_room_again_is_told(gateway: Running) -> None:
    gateway.backends.generation.refusal = Overloaded("many wait", metadata={"retry_after": "7"})
    for refused in (gateway.chat(), gateway.chat(stream=True), gateway.complete(prompt=["a", "b"])):
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "7"


def test_a_flood_costs_its_senders_and_not_the_gateway() -> None:
    with running_gateway(gateway_max_requests=4) as gateway, httpx.Client(base_url=gateway.url) as http:

        def ask(_: int) -> int:
            body = {"model": "vermeil-nano", "prompt": "x" * 100_000}
            return http.post("/v1/completions", json=body, timeout=60).status_code

        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(ask, range(200)))
        assert set(statuses) <= {200, 429}
        assert 200 in statuses
        eventually(lambda: gateway.chat().status_code == 200)


def test_bodies_over_what_memory_may_hold_are_refused_until_others_end() -> None:
    body = {"model": "vermeil-nano", "prompt": ["wait", "x" * 6000], "stream": True}
    with running_gateway(gateway_max_held_bytes=10_000) as gateway:
        with gateway.http.stream("POST", "/v1/completions", json=body) as answer:
            lines = answer.iter_lines()  # kept: the answer ends with its reader
            next(lines)
            refused = gateway.complete(prompt="x" * 6000)
            assert refused.status_code == 429
            assert "bytes" in refused.json()["error"]["message"]
            assert gateway.complete(prompt="x").status_code == 200
        eventually(lambda: gateway.complete(prompt="x" * 6000).status_code == 200)


@pytest.mark.parametrize("stream", [True, False])
def test_a_generator_that_dies_midway_gives_an_error_that_says_try_again(
    gateway: Running, stream: bool
) -> None:
    turns = [{"role": "user", "content": "die"}]
    answer = gateway.chat(messages=turns, stream=stream)
    if stream:
        last = events_of(answer.text)[-1]
        assert last["error"]["code"] == "UNAVAILABLE"
        assert last["error"]["type"] == "server_error"
        with (
            openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any") as client,
            pytest.raises(openai.APIError, match="asked to die"),
        ):
            list(client.chat.completions.create(model="vermeil-nano", messages=turns, stream=True))  # type: ignore[call-overload]
    else:
        assert answer.status_code == 503
        assert answer.headers["retry-after"]


def stopping(gateway: Running) -> Any:
    return asyncio.run_coroutine_threadsafe(gateway.gateway.stop(), gateway.loop)


def test_streams_under_way_are_finished_while_new_requests_are_refused() -> None:
    with running_gateway(gateway_drain_timeout=60.0) as gateway, streaming(gateway, "hold") as lines:
        with httpx.Client(base_url=gateway.url, timeout=60) as kept_alive:
            assert kept_alive.get("/readyz").status_code == 200
            stopped = stopping(gateway)
            eventually(lambda: gateway.http.get("/readyz").json()["status"] == "draining")
            assert kept_alive.get("/readyz").status_code == 503
            for http in (kept_alive, gateway.http):
                refused = http.get("/v1/models")
                assert refused.status_code == 503
                assert refused.headers["retry-after"]
            gateway.run(gateway.backends.generation.release())
            told = [line for line in lines if line]
        assert told[-1] == "data: [DONE]"
        assert "".join(
            json.loads(line[6:])["choices"][0]["delta"].get("content", "") for line in told[:-1]
        ).endswith("world")
        stopped.result(60)


def test_what_is_not_finished_in_time_is_told_to_come_again() -> None:
    with running_gateway(gateway_drain_timeout=0.2) as gateway, streaming(gateway, "wait") as lines:
        whole: list[httpx.Response] = []

        def ask() -> None:
            with httpx.Client(base_url=gateway.url, timeout=60) as http:
                whole.append(http.post("/v1/chat/completions", json=WAIT | {"stream": False}))

        asking = threading.Thread(target=ask)
        asking.start()
        eventually(lambda: gateway.backends.generation.num_active == 2)
        stopped = stopping(gateway)
        error = json.loads([line for line in lines if line][-1].removeprefix("data: "))["error"]
        assert error["code"] == "UNAVAILABLE"
        asking.join(60)
        assert whole[0].status_code == 503
        assert whole[0].headers["retry-after"]
        stopped.result(60)


def test_a_refused_body_is_not_counted() -> None:
    async def live() -> None:
        admission = Admission(1, 100)
        for _ in range(3):
            with admission.enter(computes=True) as ticket:
                ticket.hold(50)
                with pytest.raises(Overloaded, match="bytes"):
                    ticket.hold(101)
        assert await admission.emptied(0.1)
        with admission.enter(computes=True):
            assert not await admission.emptied(0.01)

    asyncio.run(live())
