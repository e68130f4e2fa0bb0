"""What is asked under load: a mixture of kinds of requests, the same for the same seed.

Request number i is a function of mixture and seed alone, whenever it is sent and whatever came back, so
two servers can be asked the same. Texts are of common words: how many tokens a word has, the server says.
"""

import base64
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
from vermeil_errors import InvalidInput
from vermeil_media import encode_png

Json = dict[str, Any]

CHAT_PATH = "/v1/chat/completions"
IMAGES_PATH = "/v1/images/generations"
DEFAULT_SHARES: Mapping[str, float] = {
    "short": 4, "read": 2, "write": 2, "turns": 2, "json": 1, "look": 2, "draw": 1,
}  # fmt: skip
"""By kind, of a model that can do all of them."""
_NEEDS: Mapping[str, tuple[str, str]] = {"look": ("image", "text"), "draw": ("", "image")}
"""What a model must take and give beside text, by kind."""
_WORDS = (
    *("the", "of", "and", "to", "in", "is", "you", "that", "it", "he", "was", "for", "on", "are", "as"),
    *("with", "his", "they", "at", "be", "this", "have", "from", "or", "one", "had", "by", "word", "but"),
    *("not", "what", "all", "were", "we", "when", "your", "can", "said", "there", "use", "an", "each"),
    *("which", "she", "do", "how", "their", "if", "will", "up", "other", "about", "out", "many", "then"),
)
_SCHEMA: Json = {
    "type": "object",
    "properties": {"word": {"enum": ["yes", "no", "maybe"]}, "sure": {"type": "boolean"}},
    "required": ["word", "sure"],
    "additionalProperties": False,
}
_NUM_PICTURES = 16
_PICTURE_SIDE = 32


@dataclass(frozen=True)
class Ask:
    """One request, ready to be sent."""

    kind: str
    """Of the mixture."""
    path: str
    body: bytes
    """JSON."""
    max_tokens: int
    """That the answer may have; 0 where it is a picture."""
    counts_tokens: bool = False
    """Whether the answer tells every token, so that they can be counted."""


@dataclass(frozen=True)
class Lengths:
    """How long prompts and answers are; each varies evenly between half and one and a half of it."""

    short_input: int = 16
    """Words."""
    long_input: int = 64
    short_output: int = 16
    """Tokens at most."""
    long_output: int = 64


@dataclass(frozen=True)
class Mixture:
    """Kinds of requests and how often each is asked."""

    model: str
    shares: Mapping[str, float]
    """By kind; any positive numbers."""
    lengths: Lengths = Lengths()
    seed: int = 0
    counts_tokens: bool = False
    """Ask for log-probabilities, so that every token of an answer is told."""
    drawings: Sequence[str] = ("a red circle", "two blue squares")
    """What kind "draw" asks for: texts, or names of classes of the model."""

    def asks(self) -> Iterator[Ask]:
        """Requests without end."""
        kinds, weights = list(self.shares), list(self.shares.values())
        for number in count():
            chance = random.Random(f"{self.seed}/{number}")  # noqa: S311 no secret
            yield self._ask(chance.choices(kinds, weights)[0], chance)

    def _ask(self, kind: str, chance: random.Random) -> Ask:
        return _KINDS[kind](self, chance)

    def _chat(
        self, kind: str, chance: random.Random, messages: Sequence[Json], output: int, **more: object
    ) -> Ask:
        max_tokens = _about(output, chance)
        body: Json = {
            "model": self.model,
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": 1.0,
            "seed": chance.randrange(2**31),
            "stream": True,
            "stream_options": {"include_usage": True},
            **more,
        }
        if self.counts_tokens:
            body["logprobs"] = True
        return Ask(kind, CHAT_PATH, json.dumps(body).encode(), max_tokens, self.counts_tokens)

    def _short(self, chance: random.Random) -> Ask:
        turns = [_said("user", _text(self.lengths.short_input, chance))]
        return self._chat("short", chance, turns, self.lengths.short_output)

    def _read(self, chance: random.Random) -> Ask:
        turns = [_said("user", _text(self.lengths.long_input, chance))]
        return self._chat("read", chance, turns, self.lengths.short_output)

    def _write(self, chance: random.Random) -> Ask:
        turns = [_said("user", _text(self.lengths.short_input, chance))]
        return self._chat("write", chance, turns, self.lengths.long_output)

    def _turns(self, chance: random.Random) -> Ask:
        """One of eight conversations, from its beginning up to its first, second or third question."""
        talk = random.Random(f"{self.seed}/talk/{chance.randrange(8)}")  # noqa: S311
        each = max(1, self.lengths.long_input // 6)
        turns = [_said("system", _text(each, random.Random(f"{self.seed}/system")))]  # noqa: S311
        for _ in range(chance.randrange(3)):
            turns += [_said("user", _text(each, talk)), _said("assistant", _text(each, talk))]
        turns.append(_said("user", _text(each, talk)))
        return self._chat("turns", chance, turns, self.lengths.short_output)

    def _json(self, chance: random.Random) -> Ask:
        turns = [_said("user", _text(self.lengths.short_input, chance))]
        wanted = {
            "type": "json_schema",
            "json_schema": {"name": "opinion", "schema": _SCHEMA, "strict": True},
        }
        return self._chat("json", chance, turns, self.lengths.long_output, response_format=wanted)

    def _look(self, chance: random.Random) -> Ask:
        url = {"url": chance.choice(self._pictures)}
        question = {"type": "text", "text": _text(max(1, self.lengths.short_input // 2), chance)}
        turns = [{"role": "user", "content": [{"type": "image_url", "image_url": url}, question]}]
        return self._chat("look", chance, turns, self.lengths.short_output)

    def _draw(self, chance: random.Random) -> Ask:
        prompt = chance.choice(self.drawings)
        body = {"model": self.model, "prompt": prompt, "n": 1, "response_format": "b64_json"}
        return Ask("draw", IMAGES_PATH, json.dumps(body).encode(), 0)

    @cached_property
    def _pictures(self) -> list[str]:
        """Coloured squares as data: URLs."""
        noise = np.random.default_rng(self.seed)
        sides = (_NUM_PICTURES, 4, 4, 3)
        grids = noise.integers(0, 256, sides, dtype=np.uint8).repeat(_PICTURE_SIDE // 4, 1)
        files = (encode_png(picture.repeat(_PICTURE_SIDE // 4, 1)) for picture in grids)
        return [f"data:image/png;base64,{base64.b64encode(file).decode()}" for file in files]


_KINDS: Mapping[str, Callable[[Mixture, random.Random], Ask]] = {
    "short": Mixture._short,
    "read": Mixture._read,
    "write": Mixture._write,
    "turns": Mixture._turns,
    "json": Mixture._json,
    "look": Mixture._look,
    "draw": Mixture._draw,
}


def shares_for(takes: Sequence[str], gives: Sequence[str]) -> dict[str, float]:
    """The default mixture, as far as a model can do it."""
    possible = {}
    for kind, share in DEFAULT_SHARES.items():
        wanted, wants = _NEEDS.get(kind, ("", "text"))
        if (not wanted or wanted in takes) and wants in gives:
            possible[kind] = share
    return possible


def shares_from(text: str) -> dict[str, float]:
    """A mixture as it is written: `short=4,look=1`; a kind alone counts once."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        kind, _, share = part.strip().partition("=")
        if kind not in _KINDS:
            raise InvalidInput.for_field("--mix", kind, "is no kind", f"one of {', '.join(_KINDS)}")
        try:
            shares[kind] = float(share or 1)
        except ValueError:
            shares[kind] = -1.0
        if not 0 < shares[kind] < float("inf"):
            raise InvalidInput.for_field("--mix", part, "is no share", "write such as short=4,look=1")
    return shares


def _said(role: str, text: str) -> Json:
    return {"role": role, "content": text}


def _text(num_words: int, chance: random.Random) -> str:
    return " ".join(chance.choices(_WORDS, k=_about(num_words, chance)))


def _about(number: int, chance: random.Random) -> int:
    return max(1, chance.randint(number - number // 2, number + number // 2))
