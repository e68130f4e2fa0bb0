"""Gateway and generator together: OpenAI's client and lm-eval ask a tiny model of random weights."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from vermeil.generation.v1.generation_service_pb2 import ListLoadedModelsRequest
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from vermeil_artifacts import LocalStore
from vermeil_data import TextTokenizer
from vermeil_gateway.fakes import VERSION, FakeBackends
from vermeil_gateway.testing import Running, eventually, running_gateway
from vermeil_generator.fakes import FakeNames, publish_tiny_model
from vermeil_generator.settings import GeneratorSettings
from vermeil_generator.turnstile import before_steps
from vermeil_generator.wiring import build
from vermeil_model import Decoder, TextModel, load_checkpoint, score
from vermeil_rpc import Service, connect

CONTEXT = 256
TURNS: list[Any] = [{"role": "user", "content": "to be, or not to be?"}]
TEXTS = ("that is the question", "whether 'tis nobler", "héllo ✓ to be")


@dataclass
class House:
    """A running pair of gateway and generator, and the model by itself."""

    gateway: Running
    folder: Path
    model: TextModel
    tokenizer: TextTokenizer

    def num_active(self) -> int:
        """Requests that the generator works on."""
        with connect(self.gateway.services_address) as channel:
            answer = GenerationServiceStub(channel).ListLoadedModels(ListLoadedModelsRequest(), timeout=30)
        return sum(model.num_active for model in answer.models)

    def logprob(self, context: str, continuation: str) -> float:
        """What the model itself thinks of a continuation."""
        before, after = self.tokenizer.encode(context), self.tokenizer.encode(continuation)
        scores = score(self.model, [*before, *after])
        return sum(each.logprob or 0.0 for each in scores[len(before) :])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("serving")
    store = LocalStore(folder / "artifacts")
    ref = publish_tiny_model(store, folder / "model", context_length=CONTEXT)
    names = FakeNames()
    names.add(VERSION, ref)
    model = load_checkpoint(folder / "model")

    def services(backends: FakeBackends) -> list[Service]:
        others = [each for each in backends.services() if each.servicer is not backends.generation]
        return [*others, *build(GeneratorSettings.model_construct(), names=names, store=store)]

    with running_gateway(services) as gateway:
        yield House(gateway, folder / "model", model, TextTokenizer.load(folder / "model"))


@pytest.fixture
def client(house: House) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_a_streamed_chat_says_what_a_whole_one_does(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "vermeil-nano", "messages": TURNS, "seed": 7, "max_tokens": 40}
    whole = client.chat.completions.create(**asked)
    stream = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert whole.usage is not None
    assert chunks[-1].usage == whole.usage
    assert whole.usage.completion_tokens > 0
    assert whole.model == "vermeil-nano@3"


def test_an_echoed_prompt_comes_with_the_model_s_own_logprobs(house: House, client: openai.OpenAI) -> None:
    ids = house.tokenizer.encode(TEXTS[0], add_bos=True)
    answer = client.completions.create(model="vermeil-nano", prompt=ids, echo=True, logprobs=1, max_tokens=0)
    told = answer.choices[0].logprobs
    assert told is not None
    expected = [each.logprob for each in score(house.model, ids)]
    assert told.token_logprobs is not None
    assert told.token_logprobs[0] is expected[0] is None
    assert told.token_logprobs[1:] == pytest.approx(expected[1:])
    assert answer.choices[0].text == TEXTS[0]


def test_a_stop_string_never_leaks_into_a_stream(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "vermeil-nano", "prompt": "to be", "seed": 3, "max_tokens": 60}
    free = client.completions.create(**asked).choices[0].text
    stop = free[10:13]
    pieces = [chunk.choices[0] for chunk in client.completions.create(**asked, stop=[stop], stream=True)]
    assert "".join(piece.text for piece in pieces) == free[: free.index(stop)]
    assert pieces[-1].finish_reason == "stop"


def test_errors_of_the_generator_reach_the_client_with_field_value_and_fix(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="context of 256 tokens") as refused:
        client.completions.create(model="vermeil-nano", prompt="whether " * 400)
    assert refused.value.param == "prompt"
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    turns: list[Any] = [{"role": "user", "content": [picture]}]
    with pytest.raises(openai.BadRequestError, match="reads text only"):
        client.chat.completions.create(model="vermeil-nano", messages=turns)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=TURNS)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_closing_a_stream_frees_the_generator_s_slot(house: House, path: str) -> None:
    endless = {str(token): -100 for token in house.tokenizer.stop_ids}
    body = {"model": "vermeil-nano", "stream": True, "max_tokens": 250, "logit_bias": endless}
    body |= {"messages": TURNS} if "chat" in path else {"prompt": ["to", "be"], "n": 4}
    place = urlsplit(house.gateway.url)
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {place.netloc}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    )
    with before_steps(Decoder) as turnstile:
        turnstile.let(20)  # an answer begins with these and ends after 250
        with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
            connection.sendall(head.encode() + data)
            assert b"200 OK" in connection.recv(100)
        eventually(lambda: house.num_active() == 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("num_concurrent", [1, 4])
def test_lm_eval_scores_as_the_model_itself_does(house: House, num_concurrent: int) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    judge = LocalCompletionsAPI(
        base_url=f"{house.gateway.url}/v1/completions",
        model="vermeil-nano",
        tokenizer=str(house.folder),
        tokenizer_backend="huggingface",
        max_length=CONTEXT,
        num_concurrent=num_concurrent,
        batch_size=2,
        max_retries=1,
    )
    pairs = [("to be", " or not"), (TEXTS[0], " to suffer"), ("héllo", " ✓")]
    asked = [Instance("loglikelihood", {}, pair, place) for place, pair in enumerate(pairs)]
    found = judge.loglikelihood(asked, disable_tqdm=True)
    assert [each[0] for each in found] == pytest.approx([house.logprob(*pair) for pair in pairs], rel=1e-4)

    rolling = [Instance("loglikelihood_rolling", {}, (text,), place) for place, text in enumerate(TEXTS)]
    sums = judge.loglikelihood_rolling(rolling, disable_tqdm=True)
    bos = house.tokenizer.bos_id
    expected = [
        sum(each.logprob or 0.0 for each in score(house.model, [bos, *house.tokenizer.encode(text)]))
        for text in TEXTS
    ]
    assert sums == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_lm_eval_generates_and_sends_strings_too(house: House) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    judge = LocalCompletionsAPI(
        base_url=f"{house.gateway.url}/v1/completions",
        model="vermeil-nano",
        tokenizer=str(house.folder),
        tokenizer_backend="huggingface",
        tokenized_requests=False,
        max_length=CONTEXT,
        max_retries=1,
    )
    asked = [Instance("generate_until", {}, ("to be", {"until": ["\n"], "max_gen_toks": 5}), 0)]
    (text,) = judge.generate_until(asked, disable_tqdm=True)
    assert isinstance(text, str)
    pair = ("to be", " or not")
    ((found, _),) = judge.loglikelihood([Instance("loglikelihood", {}, pair, 0)], disable_tqdm=True)
    before, after = house.tokenizer.encode(pair[0], add_bos=True), house.tokenizer.encode(pair[1])
    scores = score(house.model, [*before, *after])
    assert found == pytest.approx(sum(each.logprob or 0.0 for each in scores[len(before) :]), rel=1e-4)
