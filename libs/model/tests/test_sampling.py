"""Sampling against a naive numpy reading of its rules, over many seeds at once."""

import math

import numpy as np
import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import SamplingParameters
from vermeil_model.sampling import SamplingPlan, Uniforms

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
    "min-p": SamplingParameters(min_p=0.2),
    "all": SamplingParameters(temperature=1.3, top_k=20, top_p=0.8, min_p=0.05),
    "bias and penalty": SamplingParameters(logit_bias={3: 5.0, 7: -100.0}, repetition_penalty=1.8, top_k=9),
}
HISTORY = [1, 2, 5, 5]


def logits() -> torch.Tensor:
    wave = torch.sin(torch.arange(VOCAB_SIZE, dtype=torch.float64) ** 1.3) * 3
    return (wave + 2 * torch.cos(torch.arange(VOCAB_SIZE) * 0.11)).float()


def naive_shares(parameters: SamplingParameters) -> np.ndarray:
    scores = logits().double().numpy()
    for token, bias in parameters.logit_bias.items():
        scores[token] += bias
    for token in set(HISTORY):
        penalty = parameters.repetition_penalty
        scores[token] = scores[token] / penalty if scores[token] > 0 else scores[token] * penalty
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


def draw(parameters: SamplingParameters) -> np.ndarray:
    plan = SamplingPlan([parameters] * NUM_DRAWS, [HISTORY] * NUM_DRAWS, VOCAB_SIZE)
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
    together = SamplingPlan(parameters, [HISTORY] * len(parameters), VOCAB_SIZE).choose(many, uniforms)
    for row, one in enumerate(parameters):
        alone = SamplingPlan([one], [HISTORY], VOCAB_SIZE).choose(many[:1], uniforms[row : row + 1])
        assert alone[0] == together[row]
    assert together[-1] == logits().argmax()


def test_tokens_chosen_by_a_plan_are_penalised_from_then_on() -> None:
    scores = torch.tensor([[2.0, 1.9, 0.0]])
    plan = SamplingPlan([SamplingParameters(temperature=0, repetition_penalty=1.5)], [[2]], 3)
    assert [int(plan.choose(scores, [0.0])[0]) for _ in range(3)] == [0, 1, 0]


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_the_ends_of_the_unit_interval_never_reach_an_impossible_token(uniform: float) -> None:
    scores = torch.tensor([[-math.inf, 1.0, 2.0, -math.inf]])
    for parameters in (SamplingParameters(), SamplingParameters(top_k=2), SamplingParameters(top_p=0.99)):
        assert int(SamplingPlan([parameters], [[]], 4).choose(scores, [uniform])[0]) in (1, 2)


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
        ("logit_bias", {1: math.nan}),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidInput, match="out of range") as caught:
        SamplingParameters(**{field: value})
    assert caught.value.field == field
