"""Asking conversations and sorting what they tell: what the tests of them share."""

from collections.abc import Sequence

import torch
from vermeil_model import (
    BrokenEvent,
    Conversations,
    DrawingParameters,
    Markers,
    PictureEvent,
    Request,
    SamplingParameters,
    TokenEvent,
    to_pixels,
)
from vermeil_model.testing import small_images

MARKERS = Markers(58, 59)
QUICK = DrawingParameters(steps=3)
CALLS = {MARKERS.begin: 1e4}
QUIET = {MARKERS.begin: -1e4}


def pictures(count: int) -> list[torch.Tensor]:
    return [pixels_HWC.permute(2, 0, 1) for pixels_HWC in to_pixels(small_images(count))]


def asked(prompt: Sequence[int], *shown: torch.Tensor, **changes: object) -> Request:
    options = {"temperature": 0, "max_tokens": 5, "logit_bias": QUIET, **changes}
    return Request(prompt, SamplingParameters(**options), shown)


def shown_then(*tokens: int) -> list[int]:
    return [1, *MARKERS, *tokens]


Events = list[TokenEvent | PictureEvent | BrokenEvent]


def answers(conversations: Conversations, requests: Sequence[Request]) -> list[Events]:
    """The events of each request; they enter one after the other as there are places."""
    told: dict[int, Events] = {}
    order: list[int] = []
    waiting = list(requests)
    while waiting or conversations.sequences:
        arriving, waiting = waiting[: conversations.num_free], waiting[conversations.num_free :]
        order += conversations.add(arriving)
        for event in conversations.step():
            told.setdefault(event.sequence, []).append(event)
    return [told[number] for number in order]


def tokens_of(events: Events) -> list[int]:
    return [event.token for event in events if isinstance(event, TokenEvent)]


def drawn_in(events: Events) -> list[torch.Tensor]:
    return [event.image_CHW for event in events if isinstance(event, PictureEvent)]
