"""Continuous batching: sequences come and go, and every step gives each of them one token.

A sequence takes a row of the cache while it runs; rows stay dense, so a step computes for live
sequences only. Long prompts are read in parts between the steps of others. Where memory ends, those that
came last wait, and the newest give up their rows and read again later: nothing is lost and every answer
stays the same. It knows nothing of text, queues or clients; it is not thread-safe: one caller steps it.
Unusual: prompts are read laid end to end without padding, whatever their lengths.

Letters: N sequences, T tokens of all prompts laid end to end, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from vermeil_errors import InvalidInput, NotFound, Overloaded

from vermeil_model.bfloat16 import multiplies_bfloat16
from vermeil_model.cache import DecodingCache, KeyValueCache, PromptAttention, Span, checked_length
from vermeil_model.grouped_cache import GroupedCache
from vermeil_model.logprobs import TokenLogprob, logprobs_of
from vermeil_model.packed_adapter import PackedAdapter, RowAdapters, row_adapters
from vermeil_model.packed_model import PackedModel
from vermeil_model.prefix_pool import BLOCK, PrefixPool, name_blocks
from vermeil_model.row_memory import RowMemory
from vermeil_model.sampling import Continuation, SamplingParameters, SamplingPlan, TokenGuide, Uniforms
from vermeil_model.text_model import TextModel

CHUNK = 256
"""Prompt tokens read between two steps: what others then wait is a few steps' time on a CPU."""
ALONE = 2048
"""The same while nobody waits for a token."""

FinishReason = Literal["stop", "length"]


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
    adapter: PackedAdapter | None = None
    """What the model is changed by; None is the model as it is."""


@dataclass(eq=False)
class _Sequence:
    number: int
    parameters: SamplingParameters
    tokens: list[int]
    """The prompt, then what came after it so far."""
    num_given: int
    num_left: int
    guide: TokenGuide | None
    adapter: PackedAdapter | None
    uniforms: Uniforms = field(repr=False)
    names: list[bytes] = field(default_factory=list, repr=False)
    """Of its whole blocks, as far as they have been asked for."""
    num_cached: int | None = None
    """How much of the prompt was taken from the pool; None before it has begun."""

    def blocks(self, num_tokens: int) -> list[bytes]:
        """Names of the whole blocks of its first tokens, which no two adapters have in common."""
        root = b"" if self.adapter is None else self.adapter.key
        return name_blocks(self.names, self.tokens, num_tokens, root)


class _Part(NamedTuple):
    """Tokens of one sequence that are read together."""

    sequence: _Sequence
    start: int
    end: int
    shared: Sequence[Tensor]
    """Blocks before `start` that the row still lacks."""


class Decoder:
    """Room for `num_slots` sequences of up to `length` tokens, prompt included.

    Args:
        model: Packed, unless it is already.
        num_slots: Sequences at once; how many run depends on memory too.
        length: Most tokens of a sequence; the model's context unless told.
        memory_bytes: Most keys and values of running sequences; by default enough for all at full length.
        kept_bytes: Keys and values that are kept for prompts that begin alike; by default none.
        chunk: Most prompt tokens that are read between two steps of running sequences.
    """

    def __init__(
        self,
        model: TextModel | PackedModel,
        *,
        num_slots: int = 32,
        length: int | None = None,
        memory_bytes: int | None = None,
        kept_bytes: int = 0,
        chunk: int = CHUNK,
    ) -> None:
        for name, value in (("num_slots", num_slots), ("chunk", chunk)):
            if value < 1:
                raise InvalidInput.for_field(name, value, "is below 1", "Use 1 or more.")
        self._model = packed = model if isinstance(model, PackedModel) else PackedModel(model)
        self._capacity = checked_length(packed.config, length)

        def make(num_rows: int, length: int) -> DecodingCache:
            return _make_cache(packed, num_rows, length, alone=num_slots == 1)

        self._rows = RowMemory(make, num_slots, self._capacity, memory_bytes)
        self._pool = PrefixPool(kept_bytes)
        self._num_slots, self._chunk = num_slots, chunk
        self._running: list[_Sequence] = []
        self._partly_read: _Sequence | None = None
        """It has the row after those that run."""
        self._has_read = False
        """The last step told first tokens: now it is the turn of those that run."""
        self._arriving: deque[_Sequence] = deque()
        self._num_added = 0
        self._plan: SamplingPlan | None = None
        self._adapters: RowAdapters | None = None
        """Of the rows that run, as of the plan."""
        self._last_N1 = torch.zeros(0, 1, dtype=torch.long, device=self._model.device)

    @property
    def num_free(self) -> int:
        """Sequences that `add` can take now."""
        return self._num_slots - len(self._in_rows) - len(self._arriving)

    @property
    def sequences(self) -> tuple[int, ...]:
        """Numbers of all sequences that have not ended, those that wait for memory included."""
        return tuple(sequence.number for sequence in (*self._in_rows, *self._arriving))

    @property
    def num_bytes(self) -> int:
        """Keys and values in memory now, kept ones included."""
        return self._rows.cache.num_bytes + self._pool.num_bytes

    def add(self, requests: Sequence[Request]) -> list[int]:
        """The numbers of new sequences, one a request; `step` reads their prompts."""
        self._check(requests)
        added = [
            _Sequence(
                number=self._num_added + index,
                parameters=parameters,
                tokens=list(prompt),
                num_given=len(prompt),
                num_left=min(parameters.max_tokens, self._capacity - len(prompt)),
                guide=guide,
                adapter=adapter,
                uniforms=Uniforms(parameters.seed),
            )
            for index, (prompt, parameters, _, guide, adapter) in enumerate(requests)
        ]
        self._num_added += len(added)
        self._arriving += added
        return [sequence.number for sequence in added]

    @torch.inference_mode()
    def step(self) -> list[TokenEvent]:
        """The first token of those whose prompt has been read now, or one more for every running sequence.

        Reading and running take turns. First tokens are told before the others go on, so who comes new
        does not wait for one more token of everybody; a prompt in parts, of which none is told, does not
        hold up the running.
        """
        if not self._has_read and (first := self._read()):
            self._has_read = bool(self._running)
            return first
        self._has_read = False
        return self._continue() if self._running else []

    @torch.inference_mode()
    def remove(self, sequence: int) -> None:
        """Stop a sequence; its place is free at once."""
        for known in (*self._in_rows, *self._arriving):
            if known.number == sequence:
                if known in self._arriving:
                    self._arriving.remove(known)
                else:
                    self._free(known)
                return
        raise NotFound("is not running", field="sequence", value=sequence)

    @property
    def _in_rows(self) -> list[_Sequence]:
        """By row."""
        return self._running if self._partly_read is None else [*self._running, self._partly_read]

    def _check(self, requests: Sequence[Request]) -> None:
        if len(requests) > self.num_free:
            raise Overloaded(f"{len(requests)} sequences do not fit into {self.num_free} free slots")
        vocab_size, capacity = self._model.config.vocab_size, self._capacity
        for prompt, parameters, pictures, *_ in requests:
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

    def _continue(self) -> list[TokenEvent]:
        self._make_room()
        if self._plan is None:
            self._plan = self._make_plan(self._running)
            self._adapters = row_adapters([sequence.adapter for sequence in self._running], self._adapters)
            last = [[sequence.tokens[-1]] for sequence in self._running]
            self._last_N1 = torch.tensor(last, device=self._model.device)
        num_rows, cache = len(self._running), self._rows.cache
        attend = cache.attend_step(num_rows)
        hidden_ND = self._model.hidden(self._last_N1, attend.positions, attend, self._adapters)
        for row in range(num_rows):
            cache.lengths[row] += 1
        return self._emit(list(self._running), self._model.readout(hidden_ND), self._plan)

    def _make_room(self) -> None:
        """For one more token in every row; while there is none, the newest waits to be read again."""
        held = self._in_rows
        while not self._rows.fits(len(held), _longest(held)):
            newest = max(held, key=lambda sequence: sequence.number)
            self._keep(newest)
            self._free(newest)
            self._arriving.appendleft(newest)
            held = self._in_rows
        self._rows.reserve(len(held), _longest(held))

    def _read(self) -> list[TokenEvent]:
        """Read on where reading stopped, then who came first; those who are through get a token."""
        parts = self._next_parts()
        if not parts:
            return []
        first_row = len(self._running)
        sequences = [part.sequence for part in parts]
        ends = [*self._rows.cache.lengths[:first_row], *(part.end for part in parts)]
        self._rows.reserve(first_row + len(parts), max(ends))
        hidden_TD = self._read_parts(parts, first_row)
        through = [part.sequence for part in parts if part.end == len(part.sequence.tokens)]
        self._running += through
        self._partly_read = sequences[-1] if len(through) < len(parts) else None
        for sequence in sequences:
            self._keep(sequence)
        if not through:
            return []
        self._plan = None
        ends = list(itertools.accumulate(part.end - part.start for part in parts))[: len(through)]
        logits_NV = self._model.readout(hidden_TD[torch.tensor(ends, device=self._model.device) - 1])
        return self._emit(through, logits_NV, self._make_plan(through))

    def _next_parts(self) -> list[_Part]:
        """What is read now: a bounded number of tokens, of several sequences if they are short."""
        left = self._chunk if self._running else max(self._chunk, ALONE)
        parts: list[_Part] = []
        being_read: set[bytes] = set()
        if self._partly_read is not None:
            start = self._rows.cache.lengths[len(self._running)]
            parts.append(_part(self._partly_read, start, left, ()))
        while (left_now := left - sum(part.end - part.start for part in parts)) > 0 and self._arriving:
            being_read.update(name for part in parts[-1:] for name in self._names(part.sequence, part.end))
            held = [*self._running, *(part.sequence for part in parts), self._arriving[0]]
            if not self._rows.fits(len(held), min(_longest(held) + 1, self._capacity)):
                break
            names = self._names(self._arriving[0], len(self._arriving[0].tokens) - 1)
            shared = self._pool.find(names)
            if being_read.intersection(names[len(shared) :]):
                break  # what it shares with these can be taken from the pool once they are read
            sequence = self._arriving.popleft()
            if sequence.num_cached is None:
                sequence.num_cached = len(shared) * BLOCK
            parts.append(_part(sequence, len(shared) * BLOCK, left_now, shared))
        return parts

    def _read_parts(self, parts: Sequence[_Part], first_row: int) -> Tensor:
        """Hidden states of all tokens; the rows hold them from then on."""
        cache, device = self._rows.cache, self._model.device
        ends = itertools.accumulate(part.end - part.start for part in parts)
        spans = []
        for row, (part, end) in enumerate(zip(parts, ends, strict=True), start=first_row):
            if part.shared:
                cache.paste(row, torch.cat(list(part.shared), dim=-2))
            spans.append(Span(row, slice(end - (part.end - part.start), end), part.start))
        tokens = [token for part in parts for token in part.sequence.tokens[part.start : part.end]]
        positions_T = torch.cat([torch.arange(part.start, part.end, device=device) for part in parts])
        attend = PromptAttention(cache, spans, device)
        adapters = row_adapters([p.sequence.adapter for p in parts for _ in range(p.start, p.end)])
        return self._model.hidden(torch.tensor([tokens], device=device), positions_T, attend, adapters)

    def _names(self, sequence: _Sequence, num_tokens: int) -> list[bytes]:
        return sequence.blocks(num_tokens) if self._pool.keeps else []

    def _keep(self, sequence: _Sequence) -> None:
        """Put what its row holds into the pool."""
        if self._pool.keeps:
            row, cache = self._in_rows.index(sequence), self._rows.cache
            names = sequence.blocks(cache.lengths[row])
            self._pool.keep(names, lambda place: cache.cut(row, place * BLOCK, (place + 1) * BLOCK))

    def _make_plan(self, sequences: list[_Sequence]) -> SamplingPlan:
        continuations = [Continuation(s.parameters, s.tokens, s.num_given, s.guide) for s in sequences]
        return SamplingPlan(continuations, self._model.config.vocab_size, self._model.device)

    def _emit(self, sequences: list[_Sequence], logits_NV: Tensor, plan: SamplingPlan) -> list[TokenEvent]:
        uniforms = [0.0 if s.parameters.greedy else s.uniforms.next() for s in sequences]
        tokens_N = plan.choose(logits_NV, uniforms)
        self._last_N1 = tokens_N[:, None]
        tokens: list[int] = tokens_N.tolist()
        counts = [sequence.parameters.num_logprobs for sequence in sequences]
        logprobs = logprobs_of(tokens, logits_NV, counts)
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
                self._keep(sequence)
                self._free(sequence)
            num_cached, sequence.num_cached = sequence.num_cached or 0, 0
            events.append(TokenEvent(sequence.number, token, logprob, top, reason, num_cached))
        return events

    def _free(self, sequence: _Sequence) -> None:
        """Close the gap that it leaves among the rows."""
        cache, last = self._rows.cache, len(self._running) - 1
        if sequence is self._partly_read:
            self._partly_read = None
            cache.lengths[last + 1] = 0
        else:
            row = self._running.index(sequence)
            if row != last:
                self._running[row] = self._running[last]
                cache.move_row(last, row)
            self._running.pop()
            cache.lengths[last] = 0
            self._plan = None
            if self._partly_read is not None:
                cache.move_row(last + 1, last)
                cache.lengths[last + 1] = 0
        if not self._in_rows:
            self._rows.clear()
            self._adapters = None


def _part(sequence: _Sequence, start: int, most_tokens: int, shared: Sequence[Tensor]) -> _Part:
    return _Part(sequence, start, min(len(sequence.tokens), start + most_tokens), shared)


def _longest(sequences: Sequence[_Sequence]) -> int:
    """Tokens that the longest row must hold in the next step."""
    return max(len(sequence.tokens) for sequence in sequences)


def _make_cache(model: PackedModel, num_rows: int, length: int, *, alone: bool) -> DecodingCache:
    """The quickest cache: on a CPU that multiplies bfloat16, grouped heads for many; else float32."""
    if model.device.type != "cpu":
        return KeyValueCache(model.config, num_rows, length, dtype=model.dtype, device=model.device)
    if model.dtype == torch.bfloat16 and multiplies_bfloat16("cpu") and not alone:
        return GroupedCache(model.config, num_rows, length)
    return KeyValueCache(model.config, num_rows, length)
