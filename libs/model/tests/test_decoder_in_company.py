"""The decoder under random arrival, cancellation and want of memory: every answer is the naive forward's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from vermeil_model import Decoder, PackedModel, Request, SamplingParameters
from vermeil_model.testing import SMALL, small_model, small_tokens

MODEL = small_model(context_length=150)
PACKED = PackedModel(MODEL)
SLOTS = 5
ROW_BYTES = 2 * MODEL.config.depth * MODEL.config.num_key_value_heads * MODEL.config.head_width * 4
BEGINNINGS = [small_tokens(1, 70, start=29 * number)[0].tolist() for number in range(3)]
"""Prompts share up to 70 tokens, four blocks and a bit; rows grow at 64."""


class Every:
    """A guide: only every third token, then the next third, and so on."""

    def __init__(self) -> None:
        self.place = 0

    def allowed(self) -> torch.Tensor:
        return torch.arange(SMALL.vocab_size) % 3 == self.place % 3

    def take(self, token: int) -> None:
        assert token % 3 == self.place % 3
        self.place += 1


@torch.no_grad()
def naive(
    prompt: Sequence[int], said: Sequence[int], parameters: SamplingParameters, *, guided: bool
) -> list[int]:
    """What the whole forward says in each place of an answer, by the definitions of penalties and guides."""
    output = MODEL(torch.tensor([[*prompt, *said]]))
    assert output.logits is not None
    guide = Every() if guided else None
    best = []
    for place, token in enumerate(said):
        logits = output.logits[0, len(prompt) - 1 + place].clone()
        if guide is not None:
            logits[~guide.allowed()] = -torch.inf
            guide.take(token)
        seen = sorted({*prompt, *said[:place]})
        penalty = parameters.repetition_penalty
        logits[seen] = torch.where(logits[seen] > 0, logits[seen] / penalty, logits[seen] * penalty)
        counts = torch.tensor(said[:place], dtype=torch.long).bincount(minlength=SMALL.vocab_size)
        logits -= parameters.frequency_penalty * counts + parameters.presence_penalty * (counts > 0)
        best.append(int(logits.argmax()))
    return best


@dataclasses.dataclass
class Asked:
    """A request that is under way."""

    prompt: list[int]
    parameters: SamplingParameters
    guided: bool
    said: list[int] = dataclasses.field(default_factory=list)


asked = st.builds(
    Asked,
    prompt=st.builds(
        lambda which, length, rest: BEGINNINGS[which][:length] + rest,
        st.integers(0, 2),
        st.integers(1, 70),
        st.lists(st.integers(0, 60), max_size=30),
    ),
    parameters=st.builds(
        SamplingParameters,
        temperature=st.just(0.0),
        max_tokens=st.integers(1, 60),
        stop_ids=st.frozensets(st.integers(0, 60), max_size=2),
        repetition_penalty=st.sampled_from([1.0, 1.0, 1.3]),
        frequency_penalty=st.sampled_from([0.0, 0.0, 0.2]),
        presence_penalty=st.sampled_from([0.0, 0.0, 0.3]),
    ),
    guided=st.booleans(),
)


class Company(RuleBasedStateMachine):
    """Who comes, who leaves and what is short is drawn by chance."""

    rows_in_memory = 2
    kept_blocks = 6

    def __init__(self) -> None:
        super().__init__()
        self.memory = self.rows_in_memory * MODEL.config.context_length * ROW_BYTES
        self.kept = self.kept_blocks * 16 * ROW_BYTES
        self.decoder = Decoder(
            PACKED, num_slots=SLOTS, memory_bytes=self.memory, kept_bytes=self.kept, chunk=11
        )
        self.under_way: dict[int, Asked] = {}

    @precondition(lambda self: self.decoder.num_free > 0)
    @rule(arriving=st.lists(asked, min_size=1, max_size=SLOTS))
    def arrive(self, arriving: list[Asked]) -> None:
        arriving = arriving[: self.decoder.num_free]
        requests = [
            Request(each.prompt, each.parameters, guide=Every() if each.guided else None) for each in arriving
        ]
        self.under_way.update(zip(self.decoder.add(requests), arriving, strict=True))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.under_way)))
        self.decoder.remove(number)
        del self.under_way[number]

    @rule(num_steps=st.integers(1, 30))
    def step(self, num_steps: int) -> None:
        for _ in range(num_steps):
            self.take_step()

    def take_step(self) -> None:
        for event in self.decoder.step():
            mine = self.under_way[event.sequence]
            mine.said.append(event.token)
            if event.finish_reason is not None:
                self.check(mine, event.finish_reason)
                del self.under_way[event.sequence]

    def check(self, mine: Asked, ended: str) -> None:
        most = min(mine.parameters.max_tokens, MODEL.config.context_length - len(mine.prompt))
        is_stopped = mine.said[-1] in mine.parameters.stop_ids
        assert ended == ("stop" if is_stopped else "length")
        assert is_stopped or len(mine.said) == most
        assert not mine.parameters.stop_ids.intersection(mine.said[:-1])
        assert mine.said == naive(mine.prompt, mine.said, mine.parameters, guided=mine.guided)

    @invariant()
    def nobody_is_lost(self) -> None:
        assert sorted(self.decoder.sequences) == sorted(self.under_way)
        assert self.decoder.num_free == SLOTS - len(self.under_way)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.decoder.num_bytes <= self.memory + self.kept

    def teardown(self) -> None:
        """Whoever is left gets an answer, however little memory there is."""
        for _ in range(2000):
            if not self.under_way:
                break
            self.take_step()
        assert not self.under_way
        assert self.decoder.num_bytes <= 64 * ROW_BYTES + self.kept


class Roomy(Company):
    """The same with room for all, and for all that was read."""

    rows_in_memory = SLOTS
    kept_blocks = 1000


class Crammed(Company):
    """Room for one at full length, and nothing is kept."""

    rows_in_memory = 1
    kept_blocks = 0


@pytest.mark.parametrize("company", [Roomy, Company, Crammed])
def test_every_answer_is_that_of_the_naive_forward(company: type[Company]) -> None:
    short = settings(max_examples=6, stateful_step_count=8, deadline=None)
    run_state_machine_as_test(company, settings=short)


@pytest.mark.slow
@pytest.mark.parametrize("company", [Roomy, Company, Crammed])
def test_every_answer_is_that_of_the_naive_forward_at_length(company: type[Company]) -> None:
    long = settings(max_examples=12, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(company, settings=long)
