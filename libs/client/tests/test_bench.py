"""Load: what is asked, whether an answer is whole, what is counted, and a client that knows its own lag."""

import asyncio
import json
from array import array
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from vermeil_client.bench.figures import goodput_from, summary
from vermeil_client.bench.load import Pace, Run, Target, apply
from vermeil_client.bench.mixture import CHAT_PATH, Ask, Lengths, Mixture, shares_for, shares_from
from vermeil_client.bench.outcome import End, Outcome
from vermeil_client.bench.plots import draw_run, draw_sweep
from vermeil_client.bench.reading import reading
from vermeil_client.bench.sweep import sweep, verdict
from vermeil_errors import InvalidInput

_ALL = "short,read,write,turns,json,look,draw"
_MIXTURE = Mixture("m", {"short": 1.0}, Lengths(4, 8, 4, 8))
_FINISH = '{"id":"a","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
_USAGE = '{"id":"a","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}'
_DONE = "[DONE]"


def _says(text: str, id_: str = "a", **more: Any) -> str:
    return json.dumps({"id": id_, "choices": [{"index": 0, "delta": {"content": text}, **more}]})


_WHOLE = [_says(""), _says("Hel"), _says("lo"), _FINISH, _USAGE, _DONE]


def _judged(*events: str, kind: str = "short", counts: bool = False) -> Outcome:
    outcome = Outcome("r", kind, 0.0, 0.0)
    reader = reading(Ask(kind, CHAT_PATH, b"", 8, counts))
    for event in events:
        data = f"data: {event}\n\n".encode()
        reader.feed(data[:7])  # wherever the network cuts
        reader.feed(data[7:])
    reader.judge(outcome)
    return outcome


def test_the_same_seed_asks_the_same_and_another_asks_something_else() -> None:
    first, again, other = (Mixture("m", shares_from(_ALL), seed=seed) for seed in (1, 1, 2))
    asks = list(islice(first.asks(), 50))
    assert asks == list(islice(again.asks(), 50))
    assert asks != list(islice(other.asks(), 50))
    assert {ask.kind for ask in asks} == set(_ALL.split(","))


def test_conversations_share_their_beginning_and_long_prompts_are_longer() -> None:
    asks = list(islice(Mixture("m", shares_from("turns,short,read"), Lengths(4, 400)).asks(), 60))
    bodies = {kind: [json.loads(ask.body) for ask in asks if ask.kind == kind] for kind in ("turns", "short")}
    assert len({json.dumps(body["messages"][0]) for body in bodies["turns"]}) == 1
    roles = {tuple(turn["role"] for turn in body["messages"]) for body in bodies["turns"]}
    assert {("system", "user"), ("system", "user", "assistant", "user")} <= roles
    assert min(len(ask.body) for ask in asks if ask.kind == "read") > max(
        len(ask.body) for ask in asks if ask.kind == "short"
    )


@pytest.mark.parametrize(
    ("takes", "gives", "kinds"),
    [
        (["text"], ["text"], {"short", "read", "write", "turns", "json"}),
        (["text"], ["image"], {"draw"}),
        (["text", "image"], ["text"], {"short", "read", "write", "turns", "json", "look"}),
        (["text", "image"], ["text", "image"], set(_ALL.split(","))),
    ],
)
def test_a_model_is_asked_what_it_can_do(takes: list[str], gives: list[str], kinds: set[str]) -> None:
    assert set(shares_for(takes, gives)) == kinds


@pytest.mark.parametrize("text", ["sing=1", "short=-1", "short=many", "short=inf"])
def test_a_wrong_mixture_is_refused_by_its_part(text: str) -> None:
    with pytest.raises(InvalidInput, match=text.partition("=")[0]):
        shares_from(text)


def test_a_whole_answer_completes_and_tells_its_tokens() -> None:
    outcome = _judged(*_WHOLE)
    assert (outcome.end, outcome.prompt_tokens, outcome.output_tokens) == (End.COMPLETED, 5, 2)


@pytest.mark.parametrize(
    ("events", "end", "problem"),
    [
        (_WHOLE[:3], End.LOST, "without finish_reason"),
        (_WHOLE[:-1], End.LOST, "[DONE]"),
        ([*_WHOLE, *_WHOLE], End.WRONG, "after [DONE]"),
        ([*_WHOLE[:4], _FINISH, _USAGE, _DONE], End.WRONG, "finished 2 times"),
        ([*_WHOLE[:4], _says("!"), _USAGE, _DONE], End.WRONG, "after the answer was finished"),
        ([_says("Hello"), _FINISH, _DONE], End.WRONG, "usage was told 0 times"),
        ([_says("a"), _says("b"), _says("c"), _FINISH, _USAGE, _DONE], End.WRONG, "2 tokens, and 3 pieces"),
        ([_says("a", "b"), *_WHOLE], End.WRONG, "several ids"),
        ([_says("a"), '{"error":{"code":"UNAVAILABLE","message":"gone"}}'], End.BROKEN_OFF, "gone"),
        ([_says("a"), "{half", _DONE], End.WRONG, "not JSON"),
    ],
)
def test_an_answer_that_is_not_whole_says_why(events: list[str], end: End, problem: str) -> None:
    outcome = _judged(*events)
    assert outcome.end == end
    assert problem in outcome.problem


def test_tokens_that_are_told_are_counted_against_usage() -> None:
    told = {"logprobs": {"content": [{"token": "x"}]}}
    assert _judged(_says("a", **told), _says("b", **told), *_WHOLE[3:], counts=True).end == End.COMPLETED
    short = _judged(_says("a", **told), *_WHOLE[3:], counts=True)
    assert (short.end, short.problem) == (End.WRONG, "usage says 2 tokens, and 1 came")


def test_a_structured_answer_that_is_no_json_is_wrong() -> None:
    assert _judged(_says('{"a"'), _says(":1}"), *_WHOLE[3:], kind="json").end == End.COMPLETED
    assert _judged(_says("so"), *_WHOLE[3:], kind="json").end == End.WRONG


def test_figures_have_the_names_and_definitions_of_vllm() -> None:
    whole = Outcome("1", "short", 0.0, 1.0, 1.2, 2.0, array("f", [0.5, 0.3]), End.COMPLETED, output_tokens=5)
    other = Outcome("2", "short", 0.0, 1.0, 1.4, 2.4, array("f", [1.0]), End.COMPLETED, output_tokens=3)
    shed = Outcome("3", "read", 2.0, 2.0, None, 2.1, end=End.SHED, code="429 OVERLOADED")
    run = Run(Pace(num_prompts=3), [whole, other, shed], max_concurrent=2)
    found = summary(run, {"ttft": 300.0})
    assert (found["completed"], found["failed"], found["total_output_tokens"]) == (2, 1, 8)
    assert found["duration"] == pytest.approx(2.4)
    assert found["request_goodput"] == pytest.approx(1 / 2.4), "the second was too late"
    assert found["mean_ttft_ms"] == pytest.approx(300)
    assert found["mean_tpot_ms"] == pytest.approx((200 + 500) / 2), "time after the first token, by tokens"
    assert found["mean_itl_ms"] == pytest.approx((500 + 300 + 1000) / 3, rel=1e-6)
    assert found["p99_e2el_ms"] == pytest.approx(1396)
    assert found["ends"] == {"completed": 2, "shed": 1}
    assert found["kinds"]["read"] == {"num_prompts": 1, "completed": 0}
    width = found["duration"] / len(found["timeline"]["seconds"])
    assert sum(found["timeline"]["ended_per_second"]["shed"]) * width == pytest.approx(1)


def test_limits_are_written_as_for_vllm() -> None:
    assert goodput_from("ttft:200 tpot:50,e2el:2000") == {"ttft": 200, "tpot": 50, "e2el": 2000}
    with pytest.raises(InvalidInput, match="speed:1"):
        goodput_from("speed:1")


def test_saturation_is_the_last_rate_that_was_kept_up_with() -> None:
    def step(rate: float, completed: int, ttft: float) -> dict[str, Any]:
        return {"request_rate": rate, "num_prompts": 100, "completed": completed, "median_ttft_ms": ttft}

    steps = [step(4.0, 60, 9.0), step(1.0, 100, 12.0), step(2.0, 99, 18.0), step(3.0, 100, 40.0)]
    found = verdict(steps, {"median_ttft_ms": 10.0}, 3.5)
    assert (found["saturation_rate"], found["ttft_over_idle_at_saturation"]) == (2.0, 1.8)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _loaded(handler: Handler, pace: Pace, mixture: Mixture = _MIXTURE, timeout: float = 60.0) -> Run:
    """A load on a server of this process."""

    async def scenario() -> Run:
        app = web.Application()
        app.router.add_post(CHAT_PATH, handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)  # of handlers that never end
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        try:
            return await apply(Target(f"http://{host}:{port}", "key", timeout), mixture, pace, name="t")
        finally:
            await runner.cleanup()

    return asyncio.run(scenario())


def _ends(run: Run) -> set[tuple[str, str]]:
    return {(each.end.value, each.code) for each in run.outcomes}


async def _answers(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"x-request-id": request.headers["x-request-id"]})
    await answer.prepare(request)
    for event in _WHOLE:
        await answer.write(f"data: {event}\n\n".encode())
        await asyncio.sleep(0.002)
    return answer


def test_every_request_has_an_id_of_its_own_and_is_answered_once() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers["x-request-id"])
        assert request.headers["authorization"] == "Bearer key"
        return await _answers(request)

    run = _loaded(answer, Pace(concurrency=4, num_prompts=30))
    assert _ends(run) == {("completed", "")}
    assert sorted(seen) == sorted(each.id for each in run.outcomes)
    assert len(set(seen)) == 30
    assert run.max_concurrent <= 4
    assert all(each.sent < (each.first or 0.0) < each.ended for each in run.outcomes)


def test_each_of_so_many_at_once_asks_even_where_time_is_over_before_it_begins() -> None:
    run = _loaded(_answers, Pace(concurrency=3, duration=0.0))
    assert [each.end for each in run.outcomes] == [End.COMPLETED] * 3


def test_a_rate_is_kept_whether_or_not_the_server_keeps_up() -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    run = _loaded(never, Pace(rate=100.0, duration=0.5), timeout=0.3)
    assert 25 < len(run.outcomes) < 80, "50 on the average"
    assert _ends(run) == {("timed out", "timeout")}
    gaps = [b.scheduled - a.scheduled for a, b in zip(run.outcomes, run.outcomes[1:], strict=False)]
    assert min(gaps) < 0.005 < max(gaps), "arrivals of a Poisson process are uneven"


def test_refusals_are_told_apart_by_what_a_client_can_do() -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        number = int(request.headers["x-request-id"].rpartition("-")[2])
        status = (429, 503, 429, 400, 500)[number]
        headers = {"retry-after": "1"} if number < 2 else {}
        return web.json_response({"error": {"code": "X", "message": "no"}}, status=status, headers=headers)

    run = _loaded(refuse, Pace(concurrency=1, num_prompts=5))
    ends = ["shed", "shed", "failed", "refused", "failed"]
    assert [each.end.value for each in run.outcomes] == ends
    assert run.outcomes[0].code == "429 X"


def test_a_connection_that_is_cut_is_a_lost_answer_once_it_had_begun() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        if request.headers["x-request-id"] == "t-1":
            await answer.prepare(request)
            await answer.write(f"data: {_says('a')}\n\n".encode())
        assert request.transport is not None
        request.transport.close()
        return answer

    run = _loaded(cut, Pace(concurrency=1, num_prompts=2))
    assert [each.end for each in run.outcomes] == [End.UNREACHABLE, End.LOST]


def test_somebody_elses_answer_is_wrong() -> None:
    async def other(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"x-request-id": "other"})
        await answer.prepare(request)
        await answer.write("".join(f"data: {event}\n\n" for event in _WHOLE).encode())
        return answer

    assert _ends(_loaded(other, Pace(concurrency=1, num_prompts=1))) == {("wrong", "other id")}


def test_a_client_that_cannot_keep_up_says_so() -> None:
    run = Run(Pace(rate=1.0), [Outcome("1", "short", 0.0, 0.5, ended=0.6)], wall_seconds=1.0)
    assert summary(run, {})["client"]["is_late"] is True


def test_a_sweep_goes_from_idle_to_too_much_and_is_drawn(tmp_path: Path) -> None:
    async def scenario() -> dict[str, Any]:
        app = web.Application()
        app.router.add_post(CHAT_PATH, _answers)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        pace = Pace(concurrency=4, duration=0.3)
        target = Target(f"http://{host}:{port}")
        try:
            return await sweep(target, _MIXTURE, pace, name="t", goodput={}, rates=[10.0, 20.0])
        finally:
            await runner.cleanup()

    found = asyncio.run(scenario())
    assert [step["step"] for step in found["steps"]] == ["idle", "full", "rate0", "rate1"]
    assert found["capacity"] > 0
    draw_sweep(tmp_path / "sweep.png", found)
    whole = Outcome("1", "short", 0.0, 0.0, 0.2, 1.0, array("f", [0.5]), End.COMPLETED, output_tokens=5)
    draw_run(tmp_path / "run.png", summary(Run(Pace(), [whole]), {}), [whole])
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
