"""Continuous batching: sequences come and go, and every step gives each of them one token.

A sequence takes a row of the cache while it runs; rows stay dense, so a step computes for live
sequences only. It knows nothing of text, queues or clients; it is not thread-safe: one caller steps it.
Unusual: prompts are read laid end to end without padding, whatever their lengths.

Letters: N sequences, T tokens of all prompts laid end to end, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from vermeil_errors import InvalidInput, NotFound, Overloaded

from vermeil_model.cache import DecodingCache, KeyValueCache, PromptAttention, Span
from vermeil_model.grouped_cache import GroupedCache
from vermeil_model.packed_model import PackedModel
from vermeil_model.sampling import Continuation, SamplingParameters, SamplingPlan, TokenGuide, Uniforms
from vermeil_model.text_model import TextModel

FinishReason = Literal["stop", "length"]


class TokenLogprob(NamedTuple):
    """A token and the natural logarithm of its probability, before any sampling parameter."""

    token: int
    logprob: float


class TokenEvent(NamedTuple):
    """One new token of one sequence."""

    sequence: int
    """The number that `Decoder.add` gave, or in `generate` the place of the prompt in the list."""
    token: int
    """Its id; a stop token is reported like any other."""
    logprob: float | None = None
    """Log-probability of the token; None unless asked for."""
    top_logprobs: tuple[TokenLogprob, ...] = ()
    """The likeliest tokens, best first, as many as asked for."""
    finish_reason: FinishReason | None = None
    """On the last token: why it is the last. The sequence has then left the decoder."""
    num_cached: int = 0
    """On the first token: how much of the prompt had been read before, in tokens and patches."""


class Request(NamedTuple):
    """A prompt and how to continue it."""

    prompt: Sequence[int]
    parameters: SamplingParameters
    pictures: Sequence[Tensor] = ()
    """Given pictures, uint8 (C, H, W), one for each <boi> of the prompt; of fused models only."""
    guide: TokenGuide | None = None
    """Which tokens may come; of this request alone, for it remembers what came."""


@dataclass
class _Sequence:
    number: int
    parameters: SamplingParameters
    tokens: list[int]
    num_given: int
    num_left: int
    guide: TokenGuide | None
    uniforms: Uniforms = field(repr=False)


class Decoder:
    """Room for `num_slots` running sequences of up to `length` tokens, prompt included."""

    def __init__(
        self, model: TextModel | PackedModel, *, num_slots: int = 32, length: int | None = None
    ) -> None:
        if num_slots < 1:
            raise InvalidInput.for_field("num_slots", num_slots, "is below 1", "Use 1 or more.")
        self._model = model if isinstance(model, PackedModel) else PackedModel(model)
        self._cache = _make_cache(self._model, num_slots, length)
        self._running: list[_Sequence] = []
        self._arriving: list[_Sequence] = []
        self._num_added = 0
        self._plan: SamplingPlan | None = None
        self._last_N1 = torch.zeros(0, 1, dtype=torch.long, device=self._model.device)

    @property
    def num_free(self) -> int:
        """Slots that `add` can fill now."""
        return len(self._cache.lengths) - len(self._running) - len(self._arriving)

    @property
    def sequences(self) -> tuple[int, ...]:
        """Numbers of the running sequences."""
        return tuple(sequence.number for sequence in (*self._running, *self._arriving))

    def add(self, requests: Sequence[Request]) -> list[int]:
        """The numbers of new sequences, one a request; `step` reads their prompts."""
        self._check(requests)
        added = [
            _Sequence(
                number=self._num_added + index,
                parameters=parameters,
                tokens=list(prompt),
                num_given=len(prompt),
                num_left=min(parameters.max_tokens, self._cache.capacity - len(prompt)),
                guide=guide,
                uniforms=Uniforms(parameters.seed),
            )
            for index, (prompt, parameters, _, guide) in enumerate(requests)
        ]
        self._num_added += len(added)
        self._arriving += added
        return [sequence.number for sequence in added]

    @torch.inference_mode()
    def step(self) -> list[TokenEvent]:
        """One more token for every running sequence; the first one for those whose prompt has been read."""
        events = self._continue() if self._running else []
        if self._arriving:
            events += self._begin()
        return events

    def _begin(self) -> list[TokenEvent]:
        arriving, self._arriving = self._arriving, []
        logits_NV = self._read_prompts([sequence.tokens for sequence in arriving], len(self._running))
        self._running += arriving
        self._plan = None
        return self._emit(arriving, logits_NV, self._make_plan(arriving))

    def _continue(self) -> list[TokenEvent]:
        if self._plan is None:
            self._plan = self._make_plan(self._running)
            last = [[sequence.tokens[-1]] for sequence in self._running]
            self._last_N1 = torch.tensor(last, device=self._model.device)
        num_rows = len(self._running)
        attend = self._cache.attend_step(num_rows)
        hidden_ND = self._model.hidden(self._last_N1, attend.positions, attend)
        for row in range(num_rows):
            self._cache.lengths[row] += 1
        return self._emit(list(self._running), self._model.readout(hidden_ND), self._plan)

    def remove(self, sequence: int) -> None:
        """Stop a running sequence; its slot is free at once."""
        for row, running in enumerate(self._running):
            if running.number == sequence:
                self._free(row)
                return
        for place, arriving in enumerate(self._arriving):
            if arriving.number == sequence:
                del self._arriving[place]
                return
        raise NotFound("is not running", field="sequence", value=sequence)

    def _check(self, requests: Sequence[Request]) -> None:
        if len(requests) > self.num_free:
            raise Overloaded(f"{len(requests)} sequences do not fit into {self.num_free} free slots")
        vocab_size, capacity = self._model.config.vocab_size, self._cache.capacity
        for prompt, parameters, pictures, _ in requests:
            if pictures:
                raise InvalidInput.for_field(
                    "pictures", len(pictures), "cannot be read", "Use a fused model and Conversations."
                )
            if not prompt:
                raise InvalidInput.for_field("prompt", None, "is empty", "Begin with a <bos> token.")
            if len(prompt) >= capacity:
                raise InvalidInput.for_field(
                    "prompt", len(prompt), f"leaves no room in a context of {capacity} tokens", "Shorten it."
                )
            for name, tokens in (("prompt", prompt), ("logit_bias", parameters.logit_bias)):
                if not all(0 <= token < vocab_size for token in tokens):
                    raise InvalidInput.for_field(
                        name, max(tokens), "is no token of the model", f"Use 0 to {vocab_size - 1}."
                    )

    def _read_prompts(self, prompts: list[list[int]], first_row: int) -> Tensor:
        ends = list(itertools.accumulate(map(len, prompts)))
        spans = [
            Span(row, slice(end - len(prompt), end))
            for row, (prompt, end) in enumerate(zip(prompts, ends, strict=True), start=first_row)
        ]
        device = self._model.device
        tokens_1T = torch.tensor([[token for prompt in prompts for token in prompt]], device=device)
        positions_T = torch.cat([torch.arange(len(prompt), device=device) for prompt in prompts])
        hidden_TD = self._model.hidden(tokens_1T, positions_T, PromptAttention(self._cache, spans))
        return self._model.readout(hidden_TD[torch.tensor(ends, device=device) - 1])

    def _make_plan(self, sequences: list[_Sequence]) -> SamplingPlan:
        continuations = [Continuation(s.parameters, s.tokens, s.num_given, s.guide) for s in sequences]
        return SamplingPlan(continuations, self._model.config.vocab_size, self._model.device)

    def _emit(self, sequences: list[_Sequence], logits_NV: Tensor, plan: SamplingPlan) -> list[TokenEvent]:
        uniforms = [0.0 if s.parameters.greedy else s.uniforms.next() for s in sequences]
        tokens_N = plan.choose(logits_NV, uniforms)
        self._last_N1 = tokens_N[:, None]
        tokens: list[int] = tokens_N.tolist()
        logprobs = _logprobs(sequences, logits_NV, tokens)
        events = []
        for sequence, token, (logprob, top) in zip(sequences, tokens, logprobs, strict=True):
            sequence.tokens.append(token)
            sequence.num_left -= 1
            reason: FinishReason | None = None
            if token in sequence.parameters.stop_ids:
                reason = "stop"
            elif sequence.num_left == 0:
                reason = "length"
            if reason is not None:
                self._free(self._running.index(sequence))
            events.append(TokenEvent(sequence.number, token, logprob, top, reason))
        return events

    def _free(self, row: int) -> None:
        last = len(self._running) - 1
        if row != last:
            self._running[row] = self._running[last]
            self._cache.move_row(last, row)
        self._running.pop()
        self._cache.lengths[last] = 0
        self._plan = None


def _make_cache(model: PackedModel, num_slots: int, length: int | None) -> DecodingCache:
    """The quickest cache: on a CPU, float32 for one sequence, grouped heads for many in bfloat16."""
    if model.device.type != "cpu":
        return KeyValueCache(model.config, num_slots, length, dtype=model.dtype, device=model.device)
    if model.dtype == torch.bfloat16 and num_slots > 1:
        return GroupedCache(model.config, num_slots, length)
    return KeyValueCache(model.config, num_slots, length)


_NO_LOGPROBS: tuple[None, tuple[TokenLogprob, ...]] = (None, ())


def _logprobs(
    sequences: list[_Sequence], logits_NV: Tensor, tokens: list[int]
) -> list[tuple[float | None, tuple[TokenLogprob, ...]]]:
    """Log-probability of each token and the likeliest ones, for the sequences that asked."""
    wanted = [row for row, s in enumerate(sequences) if s.parameters.num_logprobs is not None]
    found: list[tuple[float | None, tuple[TokenLogprob, ...]]] = [_NO_LOGPROBS] * len(sequences)
    if not wanted:
        return found
    logprobs_NV = logits_NV[wanted].log_softmax(-1)
    counts = [min(sequences[row].parameters.num_logprobs or 0, logits_NV.shape[-1]) for row in wanted]
    best, best_tokens = logprobs_NV.topk(max(counts), dim=-1)
    chosen = logprobs_NV[range(len(wanted)), [tokens[row] for row in wanted]].tolist()
    for row, count, logprob, values, ids in zip(
        wanted, counts, chosen, best.tolist(), best_tokens.tolist(), strict=True
    ):
        top = tuple(TokenLogprob(*pair) for pair in zip(ids[:count], values[:count], strict=True))
        found[row] = (logprob, top)
    return found
