"""Sampling against a naive numpy reading of its rules, over many seeds at once."""

import math

import numpy as np
import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import SamplingParameters
from vermeil_model.sampling import Continuation, SamplingPlan, TokenGuide, Uniforms

VOCAB_SIZE = 700
NUM_DRAWS = 4_000
CASES = {
    "plain": SamplingParameters(),
    "cool": SamplingParameters(temperature=0.6),
    "hot top-k": SamplingParameters(temperature=1.7, top_k=5),
    "top-k of all": SamplingParameters(top_k=10_000),
    "top-p": SamplingParameters(top_p=0.7),
    "wide top-p": SamplingParameters(top_p=0.999, temperature=3.0),
    "tiny top-p": SamplingParameters(top_p=1e-6),
    "tinier top-p": SamplingParameters(top_p=1e-300),
    "hardly warm": SamplingParameters(temperature=1e-300),
    "hardly warm top-k": SamplingParameters(temperature=1e-300, top_k=5),
    "min-p": SamplingParameters(min_p=0.2),
    "all": SamplingParameters(temperature=1.3, top_k=20, top_p=0.8, min_p=0.05),
    "bias and penalty": SamplingParameters(logit_bias={3: 5.0, 7: -100.0}, repetition_penalty=1.8, top_k=9),
    "frequency": SamplingParameters(frequency_penalty=0.7),
    "presence": SamplingParameters(presence_penalty=-1.5, temperature=0.8),
    "all penalties": SamplingParameters(
        repetition_penalty=1.3, frequency_penalty=-0.4, presence_penalty=1.1, top_p=0.9, min_p=0.01
    ),
}
PROMPT = [1, 2, 5]
SAID = [5, 5, 9, 88]


class Among:
    """Allows the same tokens at every place."""

    def __init__(self, *tokens: int, vocab_size: int = VOCAB_SIZE) -> None:
        self.tokens = torch.zeros(vocab_size, dtype=torch.bool)
        self.tokens[list(tokens)] = True
        self.taken: list[int] = []

    def allowed(self) -> torch.Tensor:
        return self.tokens

    def take(self, token: int) -> None:
        self.taken.append(token)


def continued(parameters: SamplingParameters, guide: TokenGuide | None = None) -> Continuation:
    return Continuation(parameters, [*PROMPT, *SAID], len(PROMPT), guide)


def logits() -> torch.Tensor:
    wave = torch.sin(torch.arange(VOCAB_SIZE, dtype=torch.float64) ** 1.3) * 3
    return (wave + 2 * torch.cos(torch.arange(VOCAB_SIZE) * 0.11)).float()


def naive_shares(parameters: SamplingParameters, among: tuple[int, ...] = ()) -> np.ndarray:
    scores = logits().double().numpy()
    if among:
        scores[np.setdiff1d(np.arange(VOCAB_SIZE), among)] = -np.inf
    for token, bias in parameters.logit_bias.items():
        scores[token] += bias
    for token in {*PROMPT, *SAID}:
        penalty = parameters.repetition_penalty
        scores[token] = scores[token] / penalty if scores[token] > 0 else scores[token] * penalty
    for token in SAID:
        scores[token] -= parameters.frequency_penalty
    for token in set(SAID):
        scores[token] -= parameters.presence_penalty
    scores /= parameters.temperature
    order = np.argsort(-scores, kind="stable")
    kept = order[: parameters.top_k or None]
    shares = np.exp(scores - scores.max())
    shares[np.setdiff1d(order, kept)] = 0
    shares /= shares.sum()
    total, nucleus = 0.0, []
    for token in kept:
        if total >= parameters.top_p:
            break
        nucleus.append(token)
        total += shares[token]
    shares[np.setdiff1d(order, nucleus)] = 0
    shares[shares < parameters.min_p * shares.max()] = 0
    return shares / shares.sum()


def draw(parameters: SamplingParameters, guide: TokenGuide | None = None) -> np.ndarray:
    plan = SamplingPlan([continued(parameters, guide)] * NUM_DRAWS, VOCAB_SIZE)
    uniforms = ((np.arange(NUM_DRAWS) + 0.5) / NUM_DRAWS).tolist()
    tokens = plan.choose(logits().expand(NUM_DRAWS, -1), uniforms)
    return np.bincount(tokens.numpy(), minlength=VOCAB_SIZE) / NUM_DRAWS


@pytest.mark.parametrize("case", CASES)
def test_shares_of_tokens_are_those_of_the_naive_reference(case: str) -> None:
    drawn, expected = draw(CASES[case]), naive_shares(CASES[case])
    np.testing.assert_allclose(drawn, expected, atol=2 / NUM_DRAWS)
    assert np.all(drawn[expected == 0] == 0)


def test_every_sequence_keeps_its_own_rules_in_a_mixed_batch() -> None:
    parameters = [*CASES.values(), SamplingParameters(temperature=0)]
    uniforms = [(7 * row % 10) / 10 + 0.03 for row in range(len(parameters))]
    many = logits().expand(len(parameters), -1)
    together = SamplingPlan([continued(one) for one in parameters], VOCAB_SIZE).choose(many, uniforms)
    for row, one in enumerate(parameters):
        alone = SamplingPlan([continued(one)], VOCAB_SIZE).choose(many[:1], uniforms[row : row + 1])
        assert alone[0] == together[row]
    assert together[-1] == logits().argmax()


@pytest.mark.parametrize("case", ["plain", "hot top-k", "top-p", "min-p", "all", "all penalties"])
def test_a_guide_leaves_the_shares_of_the_tokens_that_it_allows(case: str) -> None:
    among = (2, 5, 9, 88, 431)
    drawn, expected = draw(CASES[case], Among(*among)), naive_shares(CASES[case], among)
    np.testing.assert_allclose(drawn, expected, atol=2 / NUM_DRAWS)
    assert np.all(drawn[expected == 0] == 0)


def test_a_guide_binds_its_own_sequence_and_hears_what_was_chosen() -> None:
    guide, greedy = Among(4, 11), SamplingParameters(temperature=0)
    many = logits().expand(3, -1)
    plan = SamplingPlan([continued(greedy), continued(greedy, guide), continued(greedy)], VOCAB_SIZE)
    free, guided, other = plan.choose(many, [0.0] * 3).tolist()
    assert free == other == logits().argmax()
    assert guide.taken == [guided] == [max((4, 11), key=logits().__getitem__)]


@pytest.mark.parametrize(
    ("penalty", "expected"),
    [("repetition_penalty", [0, 1, 0]), ("frequency_penalty", [0, 1, 0]), ("presence_penalty", [0, 1, 0])],
)
def test_tokens_chosen_by_a_plan_are_penalised_from_then_on(penalty: str, expected: list[int]) -> None:
    scores = torch.tensor([[2.0, 1.9, 0.0]])
    parameters = SamplingParameters(temperature=0, **{penalty: 1.5})
    plan = SamplingPlan([Continuation(parameters, [2], num_given=1)], 3)
    assert [int(plan.choose(scores, [0.0])[0]) for _ in range(3)] == expected


def test_frequency_counts_each_time_and_presence_once() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0]])
    for penalty, expected in (("frequency_penalty", [0, 0, 1]), ("presence_penalty", [0, 0, 0])):
        parameters = SamplingParameters(temperature=0, **{penalty: 0.6})
        plan = SamplingPlan([Continuation(parameters, [0, 0, 0], num_given=3)], 3)
        assert [int(plan.choose(scores, [0.0])[0]) for _ in range(3)] == expected


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_the_ends_of_the_unit_interval_never_reach_an_impossible_token(uniform: float) -> None:
    scores = torch.tensor([[-math.inf, 1.0, 2.0, -math.inf]])
    for parameters in (SamplingParameters(), SamplingParameters(top_k=2), SamplingParameters(top_p=0.99)):
        plan = SamplingPlan([Continuation(parameters, [], num_given=0)], 4)
        assert int(plan.choose(scores, [uniform])[0]) in (1, 2)


def test_uniform_numbers_depend_on_the_seed_alone() -> None:
    torch.manual_seed(0)
    first, second = Uniforms(9), Uniforms(9)
    torch.rand(5)
    drawn = [first.next() for _ in range(600)]
    assert drawn == [second.next() for _ in range(600)]
    assert 0 <= min(drawn) < 0.01
    assert 0.99 < max(drawn) < 1
    assert Uniforms(None).next() != Uniforms(None).next()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.inf),
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("min_p", 1.5),
        ("max_tokens", 0),
        ("num_logprobs", -1),
        ("repetition_penalty", 0.0),
        ("frequency_penalty", math.nan),
        ("presence_penalty", math.inf),
        ("logit_bias", {1: math.nan}),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match="out of range") as caught:
        SamplingParameters(**{field: value})
    assert caught.value.field == field
