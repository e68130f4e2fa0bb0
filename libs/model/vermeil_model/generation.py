"""Continuing a list of prompts, token by token, as a stream of events.

A thin loop over the Decoder: prompts wait for a slot, and leaving the loop leaves nothing running.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vermeil_errors import InvalidInput

from vermeil_model.decoder import Decoder, Request, TokenEvent
from vermeil_model.packed_model import PackedModel
from vermeil_model.sampling import SamplingParameters
from vermeil_model.text_model import TextModel


def generate(
    model: TextModel | PackedModel,
    prompts: Sequence[Sequence[int]],
    parameters: SamplingParameters | Sequence[SamplingParameters] = SamplingParameters(),  # noqa: B008
    *,
    num_slots: int = 32,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[TokenEvent]:
    """Events of all prompts as they come; an event's `sequence` is the prompt's place in the list.

    `parameters` is one for all or one per prompt. `should_stop` is asked before every step.
    """
    each = [parameters] * len(prompts) if isinstance(parameters, SamplingParameters) else list(parameters)
    if len(each) != len(prompts):
        raise InvalidInput.for_field(
            "parameters", len(each), f"do not match {len(prompts)} prompts", "Give one, or one per prompt."
        )
    requests = [Request(prompt, chosen) for prompt, chosen in zip(prompts, each, strict=True)]
    decoder = Decoder(model, num_slots=max(1, min(num_slots, len(requests))))
    return _run(decoder, requests, should_stop or _never)


def _run(decoder: Decoder, requests: list[Request], should_stop: Callable[[], bool]) -> Iterator[TokenEvent]:
    num_added = 0
    while (num_added < len(requests) or decoder.sequences) and not should_stop():
        num_added += len(decoder.add(requests[num_added : num_added + decoder.num_free]))
        yield from decoder.step()


def _never() -> bool:
    return False
