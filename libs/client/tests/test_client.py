"""The SDK against the gateway in memory."""

import asyncio
import json

import httpx
import pytest
from vermeil_client import AsyncVermeil, DrawingProgress, Picture, Vermeil
from vermeil_client.names import resource_name
from vermeil_client.resources import Job
from vermeil_client.testing import FakeGateway
from vermeil_errors import (
    AttemptsExhausted,
    Cancelled,
    Internal,
    InvalidInput,
    NotFound,
    PermissionDenied,
    PredecessorFailed,
    Unavailable,
    VermeilError,
)
from vermeil_media import decode_image


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def client(gateway: FakeGateway) -> Vermeil:
    return Vermeil("http://gateway", http=gateway)


def test_an_ingestion_names_its_dataset_in_full(client: Vermeil, gateway: FakeGateway) -> None:
    job = client.ingest("peps", [{"uri": "/data/peps"}], validation_fraction=0.1)
    assert job.finished
    assert gateway.requests[0][2]["spec"] == {
        "dataset": "datasets/peps",
        "sources": [{"uri": "/data/peps"}],
        "validation_fraction": 0.1,
    }


def test_the_same_request_id_is_sent_on_and_gives_the_same_job(client: Vermeil) -> None:
    first = client.train({"name": "a"}, request_id="once")
    assert client.train({"name": "a"}, request_id="once").name == first.name
    assert client.train({"name": "a"}).name != first.name


def test_waiting_returns_the_job_in_its_final_state(client: Vermeil) -> None:
    assert client.wait(client.train({"name": "a"}).name).result["steps"] == 1.0


def test_waiting_for_a_failed_job_raises_its_error_with_its_fields() -> None:
    error = {
        "reason": "INVALID_INPUT",
        "message": "bad",
        "violations": [{"field": "run.steps", "description": "0"}],
    }
    client = Vermeil("http://gateway", http=FakeGateway(job_error=error))
    with pytest.raises(InvalidInput) as caught:
        client.wait(client.train({"name": "a"}).name)
    assert caught.value.violations[0].field == "run.steps"


@pytest.mark.parametrize("cls", [PredecessorFailed, AttemptsExhausted])
def test_a_job_that_others_or_its_attempts_failed_says_so_in_public(cls: type[VermeilError]) -> None:
    error = {"reason": cls.reason, "message": "jobs/1, which must succeed first, has failed"}
    job = Job.from_json({"name": "jobs/2", "state": "JOB_STATE_FAILED", "error": error})
    with pytest.raises(cls) as caught:
        job.raise_for_state()
    assert caught.value.public_message == error["message"]


def test_a_job_that_failed_without_a_word_is_no_success() -> None:
    with pytest.raises(Internal):
        Job.from_json({"name": "jobs/1", "state": "JOB_STATE_FAILED"}).raise_for_state()


def test_a_cancelled_job_raises_cancelled() -> None:
    with pytest.raises(Cancelled):
        Job.from_json({"name": "jobs/1", "state": "JOB_STATE_CANCELLED"}).raise_for_state()


def test_lists_follow_every_page(client: Vermeil) -> None:
    names = [client.train({"name": "a"}).name for _ in range(3)]
    assert [job.name for job in client.jobs()] == names[::-1]


def test_chat_streams_pieces_and_ends_with_a_reason(client: Vermeil) -> None:
    pieces = list(client.chat("fake", "hello there"))
    assert "".join(piece.text for piece in pieces) == "hello there"
    assert pieces[-1].finish_reason == "stop"


def test_drawing_tells_progress_and_then_the_pictures_with_their_seeds(client: Vermeil) -> None:
    *progress, first, second = client.draw("fake", "7", n=2, seed=40)
    assert progress[0] == DrawingProgress(0, 8)
    assert progress[-1] == DrawingProgress(8, 8)
    assert isinstance(first, Picture)
    assert isinstance(second, Picture)
    assert [(each.index, each.seed, each.preview) for each in (first, second)] == [
        (0, 40, None),
        (1, 41, None),
    ]
    assert decode_image(second.png).max() == 41


def test_a_preview_says_which_one_it_is() -> None:
    event = {"b64_json": "", "image_index": 3, "seed": 4, "partial_image_index": 1}
    assert Picture.from_json(event) == Picture(3, b"", 4, preview=1)


def test_an_unknown_name_raises_not_found(client: Vermeil) -> None:
    with pytest.raises(NotFound, match="no job jobs/9"):
        client.job("9")


def test_no_gateway_says_how_to_start_one(unused_port: int) -> None:
    with pytest.raises(Unavailable, match="vermeil up"):
        Vermeil(f"http://127.0.0.1:{unused_port}").models()


def test_an_error_inside_a_stream_is_raised() -> None:
    body = 'data: {"error": {"message": "no slot", "code": "OVERLOADED"}}\n\n'
    http = httpx.MockTransport(lambda _: httpx.Response(200, text=body))
    with pytest.raises(Exception, match="no slot") as caught:
        list(Vermeil("http://gateway", http=http).chat("fake", "hi"))
    assert type(caught.value).__name__ == "Overloaded"


def test_a_page_that_is_no_gateway_is_told_apart() -> None:
    http = httpx.MockTransport(lambda _: httpx.Response(502, text="<html>bad gateway</html>"))
    with pytest.raises(Unavailable, match="502"):
        Vermeil("http://gateway", http=http).models()


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("nano", "models/nano"),
        ("nano@3", "models/nano/versions/3"),
        ("models/nano/versions/3", "models/nano/versions/3"),
    ],
)
def test_models_are_named_short_or_in_full(given: str, full: str) -> None:
    assert resource_name(given) == full


def test_answers_that_are_awaited_are_those_of_the_plain_sdk(client: Vermeil, gateway: FakeGateway) -> None:
    awaited = AsyncVermeil("http://gateway", http=gateway)

    async def told() -> tuple[list[object], list[object]]:
        said: list[object] = [piece async for piece in awaited.chat("fake", "one two")]
        return said, [event async for event in awaited.draw("fake", "7", n=2, seed=3)]

    said, drawn = asyncio.run(told())
    assert said == list(client.chat("fake", "one two"))
    assert drawn == list(client.draw("fake", "7", n=2, seed=3))


def test_an_awaited_answer_says_what_went_wrong_as_the_plain_one_does() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"error": {"message": "no such model", "code": "NOT_FOUND"}})

    async def chat() -> None:
        async for _ in AsyncVermeil("http://gateway", http=httpx.MockTransport(refuse)).chat("gone", "Hi"):
            pass

    with pytest.raises(NotFound, match="no such model"):
        asyncio.run(chat())


def _answering(answer: httpx.Response) -> Vermeil:
    return Vermeil("http://gateway", http=httpx.MockTransport(lambda _: answer))


@pytest.mark.parametrize(
    ("answer", "cls", "text"),
    [
        (httpx.Response(404, json={"error": "model not found"}), NotFound, "model not found"),
        (httpx.Response(404, json={"error": {"message": "no x", "code": 404}}), NotFound, "no x"),
        (httpx.Response(403, text="<html>"), PermissionDenied, "403"),
        (httpx.Response(308, headers={"location": "https://a/"}), Unavailable, "https://a/.*VERMEIL_URL"),
        (httpx.Response(200, text="<html>"), Unavailable, "does not answer like a Vermeil gateway"),
    ],
)
def test_what_another_server_answers_is_an_error_of_the_tree_too(
    answer: httpx.Response, cls: type[VermeilError], text: str
) -> None:
    with pytest.raises(cls, match=text) as caught:
        _answering(answer).models()
    assert type(caught.value) is cls


def test_a_stream_that_breaks_off_within_an_event_says_so() -> None:
    with pytest.raises(Unavailable, match="broke off"):
        list(_answering(httpx.Response(200, text='data: {"choi\n\n')).chat("fake", "hi"))


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "gateway", "http://a:b", "http://", "ftp://a"])
def test_what_is_no_address_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(InvalidInput, match="VERMEIL_URL"):
        Vermeil(url)


def test_a_key_with_the_line_end_of_its_file_is_sent_without_it_and_no_other_stranger_is_shown() -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"data": []})

    Vermeil("http://gateway", "k3y\n", http=httpx.MockTransport(answer)).models()
    Vermeil("http://gateway", "beta-ß", http=httpx.MockTransport(answer)).models()
    assert [each.headers["authorization"] for each in sent] == ["Bearer k3y", "Bearer beta-ß"]
    with pytest.raises(InvalidInput, match="VERMEIL_API_KEY") as caught:
        Vermeil("http://gateway", "k3y\nmore")
    assert "k3y" not in str(caught.value)


def test_waiting_goes_on_at_the_next_gateway_where_one_stops_before_the_job_ends() -> None:
    running, ended = ({"name": "jobs/1", "state": f"JOB_STATE_{state}"} for state in ("RUNNING", "SUCCEEDED"))
    streams = iter([running, running, ended])

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return httpx.Response(200, text=f"data: {json.dumps(next(streams))}\n\n")
        return httpx.Response(200, json=running)

    with Vermeil("http://gateway", http=httpx.MockTransport(answer)) as client:
        assert client.wait("1").state == "SUCCEEDED"


def test_a_file_of_any_name_is_asked_for_by_that_name() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, content=b"x")

    with Vermeil("http://gateway", http=httpx.MockTransport(answer)) as client:
        client.output_file("1", "log", "a#1 50%?.txt")
    assert asked == ["/v1/jobs/1/outputs/log/a#1 50%?.txt"]


class Restarting(httpx.BaseTransport):
    """A gateway that tells of a running job once, and is away when it is asked again."""

    def __init__(self, *, comes_back: bool) -> None:
        self.looks = 0
        self.comes_back = comes_back

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Its stream ends before the job, as that of a gateway does which is told to stop."""
        self.looks += 1
        if self.looks == 1:
            return httpx.Response(200, text='data: {"name": "jobs/1", "state": "JOB_STATE_RUNNING"}\n\n')
        if self.looks == 2 or not self.comes_back:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(200, text='data: {"name": "jobs/1", "state": "JOB_STATE_SUCCEEDED"}\n\n')


def test_a_job_is_followed_across_a_restart_of_the_gateway() -> None:
    client = Vermeil("http://gateway", http=Restarting(comes_back=True))
    assert [job.state for job in client.watch("1")] == ["RUNNING", "SUCCEEDED"]


def test_a_gateway_that_does_not_come_back_is_said_to_be_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vermeil_client.client._PATIENCE", 0.0)
    gone = Restarting(comes_back=False)
    with pytest.raises(Unavailable, match="no answer from http://gateway"):
        list(Vermeil("http://gateway", http=gone).watch("1"))
    before = gone.looks
    with pytest.raises(Unavailable):
        next(iter(Vermeil("http://gateway", http=gone).watch("1")))  # one that never answered
    assert gone.looks == before + 1
