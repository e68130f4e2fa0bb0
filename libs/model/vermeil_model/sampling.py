"""How the next token is chosen: parameters of one sequence, and a plan for many at once.

Randomness is one uniform number per token from a generator of the sequence's own, turned into a token
by the inverse of the cumulative distribution: the same seed gives the same text in any company.
Order: guide, logit bias, repetition, frequency and presence penalty, temperature, top-k, top-p, min-p.

Letters: N sequences, M those cut short by top-k or top-p, V vocabulary, W candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from vermeil_errors import InvalidInput

LEAST = 1e-6
"""Of a temperature or top-p: it leaves the likeliest token alone. Far smaller ones are 0 in float32."""
FIRST_CANDIDATES = 512
"""How many of the likeliest tokens top-p looks at before it sorts them all."""


@dataclass(frozen=True)
class SamplingParameters:
    """How one sequence is continued."""

    temperature: float = 1.0
    """Divides the logits; 0 always takes the likeliest token."""
    top_k: int = 0
    """Keep only this many of the likeliest tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the fewest tokens whose probabilities sum to this; in (0, 1]."""
    min_p: float = 0.0
    """Drop tokens less likely than this times the likeliest; in [0, 1]."""
    seed: int | None = None
    """Makes sampling repeatable; None draws a fresh one."""
    max_tokens: int = 128
    """Most tokens to produce; at least 1."""
    stop_ids: frozenset[int] = frozenset()
    """The sequence ends with the first of these (which is still reported)."""
    num_logprobs: int | None = None
    """None: no log-probabilities; n: of the chosen token and of the n likeliest."""
    repetition_penalty: float = 1.0
    """Above 1, tokens of prompt and continuation become less likely."""
    frequency_penalty: float = 0.0
    """Taken from the logit of a token for each time the continuation has it; below 0 it favours them."""
    presence_penalty: float = 0.0
    """Taken once from the logit of a token that the continuation has; below 0 it favours them."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of these tokens."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop_ids", frozenset(self.stop_ids))
        checks = (
            ("temperature", 0 <= self.temperature < math.inf, "0 or more; 0 is greedy"),
            ("top_k", self.top_k >= 0, "0 (all tokens) or a count"),
            ("top_p", 0 < self.top_p <= 1, "a share above 0, at most 1"),
            ("min_p", 0 <= self.min_p <= 1, "a share from 0 to 1"),
            ("max_tokens", self.max_tokens >= 1, "1 or more"),
            ("num_logprobs", self.num_logprobs is None or self.num_logprobs >= 0, "0 or more, or none"),
            ("repetition_penalty", 0 < self.repetition_penalty < math.inf, "a positive number; 1 is off"),
            ("frequency_penalty", math.isfinite(self.frequency_penalty), "a finite number; 0 is off"),
            ("presence_penalty", math.isfinite(self.presence_penalty), "a finite number; 0 is off"),
            ("logit_bias", all(map(math.isfinite, self.logit_bias.values())), "finite numbers"),
        )
        for name, holds, expected in checks:
            if not holds:
                raise InvalidInput.for_field(name, getattr(self, name), "is out of range", f"Use {expected}.")

    @property
    def greedy(self) -> bool:
        """Always the likeliest token."""
        return self.temperature == 0


class TokenGuide(Protocol):
    """Which tokens may come next in one sequence, such as those that a grammar allows."""

    def allowed(self) -> Tensor:
        """Bool (V) on the CPU, True for at least one; asked once before each token."""

    def take(self, token: int) -> None:
        """The token that was chosen."""


@dataclass(frozen=True)
class Continuation:
    """One sequence as sampling sees it."""

    parameters: SamplingParameters
    tokens: Sequence[int]
    """The prompt, then what came after it so far."""
    num_given: int
    """How many of these are the prompt."""
    guide: TokenGuide | None = None


class Uniforms:
    """The uniform numbers of one sequence, in [0, 1), drawn in blocks from its own generator."""

    _BLOCK = 256

    def __init__(self, seed: int | None) -> None:
        self._generator = torch.Generator()
        if seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(seed)
        self._drawn: list[float] = []

    def next(self) -> float:
        """The next one."""
        if not self._drawn:
            self._drawn = torch.rand(self._BLOCK, generator=self._generator).tolist()
            self._drawn.reverse()
        return self._drawn.pop()


class SamplingPlan:
    """Parameters of N sequences as tensors, made anew whenever the company changes."""

    def __init__(
        self, continuations: Sequence[Continuation], vocab_size: int, device: torch.device | str = "cpu"
    ) -> None:
        parameters = [each.parameters for each in continuations]
        self._device = torch.device(device)
        self._all_greedy = all(p.greedy for p in parameters)
        self._greedy_N = torch.tensor([p.greedy for p in parameters], device=device)
        self._guides = [(row, each.guide) for row, each in enumerate(continuations) if each.guide is not None]
        self._bias_NV = self._biases(parameters, vocab_size)
        self._remember(continuations, vocab_size)
        self._temperature_N1 = self._column(
            [max(p.temperature, LEAST) if p.temperature else 1.0 for p in parameters], neutral=1.0
        )
        self._log_min_p_N1 = self._column(
            [math.log(p.min_p) if p.min_p else -math.inf for p in parameters], -math.inf
        )
        cut = [not p.greedy and (p.top_k > 0 or p.top_p < 1) for p in parameters]
        self._cut_M = torch.tensor([row for row, is_cut in enumerate(cut) if is_cut], device=device)
        self._none_cut, self._all_cut = not any(cut), all(cut)
        cutting = [p for p, is_cut in zip(parameters, cut, strict=True) if is_cut]
        self._top_k_M1 = torch.tensor([[p.top_k or vocab_size] for p in cutting], device=device)
        self._top_p_M1 = torch.tensor([[max(p.top_p, LEAST)] for p in cutting], device=device)
        self._bounded = all(p.top_k > 0 for p in cutting)
        self._most_k = max((min(p.top_k, vocab_size) for p in cutting), default=0)

    def _remember(self, continuations: Sequence[Continuation], vocab_size: int) -> None:
        """What penalties need of the past: which tokens were seen, and how often they were said."""
        size = (len(continuations), vocab_size)
        self._penalty_N1 = self._column([c.parameters.repetition_penalty for c in continuations], neutral=1.0)
        self._seen_NV = None
        if self._penalty_N1 is not None:
            self._seen_NV = torch.zeros(size, dtype=torch.bool, device=self._device)
            for row, each in enumerate(continuations):
                self._seen_NV[row, list(each.tokens)] = True
        frequency = [c.parameters.frequency_penalty for c in continuations]
        presence = [c.parameters.presence_penalty for c in continuations]
        self._counts_NV = None
        if any(frequency) or any(presence):
            self._frequency_N1 = torch.tensor(frequency, device=self._device)[:, None]
            self._presence_N1 = torch.tensor(presence, device=self._device)[:, None]
            said = [torch.tensor(each.tokens[each.num_given :], dtype=torch.long) for each in continuations]
            counts = [tokens.bincount(minlength=vocab_size) for tokens in said]
            self._counts_NV = torch.stack(counts).float().to(self._device)

    def choose(self, logits_NV: Tensor, uniforms: Sequence[float]) -> Tensor:
        """The next token of every sequence, (N); `uniforms` holds one number in [0, 1) for each."""
        scores_NV = self._adjust(self._guided(logits_NV))
        tokens_N = scores_NV.argmax(-1)
        if not self._all_greedy:
            uniforms_N1 = torch.tensor(uniforms, dtype=torch.float64, device=self._device)[:, None]
            tokens_N = torch.where(self._greedy_N, tokens_N, self._sample(scores_NV, uniforms_N1))
        if self._seen_NV is not None:
            self._seen_NV.scatter_(1, tokens_N[:, None], value=True)
        if self._counts_NV is not None:
            self._counts_NV.scatter_add_(1, tokens_N[:, None], torch.ones_like(self._counts_NV[:, :1]))
        for row, guide in self._guides:
            guide.take(int(tokens_N[row]))
        return tokens_N

    def _guided(self, logits_NV: Tensor) -> Tensor:
        if not self._guides:
            return logits_NV
        allowed_NV = torch.ones(logits_NV.shape, dtype=torch.bool)
        for row, guide in self._guides:
            allowed_NV[row] = guide.allowed()
        return logits_NV.masked_fill(~allowed_NV.to(self._device), -math.inf)

    def _adjust(self, logits_NV: Tensor) -> Tensor:
        scores_NV = logits_NV if self._bias_NV is None else logits_NV + self._bias_NV
        if self._penalty_N1 is not None and self._seen_NV is not None:
            penalised_NV = torch.where(
                scores_NV > 0, scores_NV / self._penalty_N1, scores_NV * self._penalty_N1
            )
            scores_NV = torch.where(self._seen_NV, penalised_NV, scores_NV)
        if self._counts_NV is not None:
            scores_NV = scores_NV - self._frequency_N1 * self._counts_NV
            scores_NV = scores_NV - self._presence_N1 * (self._counts_NV > 0)
        return scores_NV

    def _sample(self, scores_NV: Tensor, uniforms_N1: Tensor) -> Tensor:
        if self._temperature_N1 is not None:
            scores_NV = scores_NV / self._temperature_N1
        if self._all_cut:
            return self._sample_cut(scores_NV, uniforms_N1)
        kept_NV = scores_NV
        if self._log_min_p_N1 is not None:
            lowest_N1 = scores_NV.amax(-1, keepdim=True) + self._log_min_p_N1
            kept_NV = scores_NV.masked_fill(scores_NV < lowest_N1, -math.inf)
        tokens_N = _pick(torch.softmax(kept_NV, -1), uniforms_N1)
        if self._none_cut:
            return tokens_N
        return tokens_N.index_copy(
            0, self._cut_M, self._sample_cut(scores_NV[self._cut_M], uniforms_N1[self._cut_M])
        )

    def _sample_cut(self, scores_MV: Tensor, uniforms_M1: Tensor) -> Tensor:
        """Sampling among the likeliest tokens, in order of likelihood."""
        vocab_size = scores_MV.shape[-1]
        width = self._most_k if self._bounded else min(vocab_size, max(self._most_k, FIRST_CANDIDATES))
        while True:
            best_MW, tokens_MW = scores_MV.topk(width, dim=-1)
            ranks_W = torch.arange(width, device=self._device)
            best_MW = best_MW.masked_fill(ranks_W >= self._top_k_M1, -math.inf)
            whole_M1 = best_MW.logsumexp(-1, keepdim=True)
            if not self._bounded:
                whole_M1 = torch.where(
                    self._top_k_M1 < vocab_size, whole_M1, scores_MV.logsumexp(-1, keepdim=True)
                )
            shares_MW = (best_MW - whole_M1).exp()
            before_MW = shares_MW.cumsum(-1) - shares_MW
            enough = self._bounded or width == vocab_size or bool((before_MW[:, -1:] >= self._top_p_M1).all())
            if enough:
                break
            width = vocab_size
        shares_MW = shares_MW.masked_fill(before_MW >= self._top_p_M1, 0)
        if self._log_min_p_N1 is not None:
            log_min_p_M1 = self._log_min_p_N1 if self._all_cut else self._log_min_p_N1[self._cut_M]
            shares_MW = shares_MW.masked_fill(best_MW < best_MW[:, :1] + log_min_p_M1, 0)
        return tokens_MW.gather(1, _pick(shares_MW, uniforms_M1)[:, None])[:, 0]

    def _column(self, values: list[float], neutral: float) -> Tensor | None:
        if all(value == neutral for value in values):
            return None
        return torch.tensor(values, device=self._device)[:, None]

    def _biases(self, parameters: Sequence[SamplingParameters], vocab_size: int) -> Tensor | None:
        if not any(p.logit_bias for p in parameters):
            return None
        bias_NV = torch.zeros(len(parameters), vocab_size, device=self._device)
        for row, p in enumerate(parameters):
            for token, value in p.logit_bias.items():
                bias_NV[row, token] = value
        return bias_NV


def _pick(shares: Tensor, uniforms_N1: Tensor) -> Tensor:
    """The first column whose running sum exceeds the uniform share of the whole; float64 keeps it below."""
    running = shares.cumsum(-1, dtype=torch.float64)
    return (running <= uniforms_N1 * running[:, -1:]).sum(-1).clamp_max(shares.shape[-1] - 1)
