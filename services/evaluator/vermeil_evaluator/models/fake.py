"""A model that answers by formula and counts what it is asked, for tests of tasks and of the framework."""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from vermeil_data import TextTokenizer

from vermeil_evaluator.models.model import Check, PictureSize
from vermeil_evaluator.requests import (
    Answer,
    Continuation,
    Embed,
    Embedding,
    FlowLoss,
    GenerateUntil,
    ImageLoss,
    Loglikelihood,
    Picture,
    Request,
    SampleImage,
    TokenLikelihoods,
    content,
)


class FakeModel:
    """Every byte of a text is a token that costs `nats_per_byte`, more or less; answers are looked up.

    Args:
        digest: What it is kept under.
        answers: Continuations by prompt; another prompt is continued by its own last word, and pictures
            without one by the first letters of their content.
        likes: Texts that it finds likelier than others, and pictures so called easier.
        nats_per_byte: What a byte of other texts costs on average.
        batch: Requests answered together.
        condition: What its pictures are asked for by.
        class_names: Of the classes it tells apart.
        picture_size: Of the pictures it says it draws or looks at.
        space: What it says its features are good for.
    """

    def __init__(
        self,
        digest: str = "sha256:fake",
        *,
        answers: Mapping[str, str] | None = None,
        likes: Sequence[str] = (),
        nats_per_byte: float = 2.0,
        batch: int = 4,
        condition: str = "class",
        class_names: Sequence[str] = (),
        picture_size: PictureSize | None = None,
        space: str = "small",
    ) -> None:
        self.digest = digest
        self.about = "a fake"
        self.condition = condition
        self.class_names = tuple(class_names)
        self.picture_size = picture_size
        self.space = space
        self.asked: list[Request] = []
        """Everything it was asked, in order."""
        self._answers = dict(answers or {})
        self._likes = frozenset(likes)
        self._nats_per_byte = nats_per_byte
        self._batch = batch

    def answer(self, requests: Iterable[Request], check: Check) -> Iterator[Sequence[Answer]]:
        """A few at a time."""
        batch: list[Answer] = []
        for request in requests:
            self.asked.append(request)
            batch.append(self._one(request))
            if len(batch) == self._batch:
                yield batch
                check()
                batch = []
        if batch:
            yield batch

    def decode(self, ids: Sequence[int]) -> str:
        """Ids are bytes."""
        return bytes(ids).decode(errors="replace")

    def reads(self, tokenizer: bytes) -> bool:
        """Byte tokenizers are its own."""
        return TextTokenizer.parse(tokenizer, b"{}").kind in ("byte", "other")

    def _one(self, request: Request) -> Answer:
        noise = hashlib.sha256((self.digest + content(request)).encode()).digest()
        match request:
            case Loglikelihood():
                ids = np.frombuffer(request.text.encode(), np.uint8).astype(np.uint32)
                ids = np.array(request.ids[1:], np.uint32) if request.ids else ids
                scale = 0.1 if request.text in self._likes else 1.0
                nats = scale * self._nats_per_byte * (1 + 0.5 * np.sin(np.arange(len(ids)) + noise[0]))
                return TokenLikelihoods(ids, nats.astype(np.float32))
            case GenerateUntil():
                plain = hashlib.sha256(b"".join(request.images)).hexdigest()[:4]
                text = self._answers.get(request.prompt, (request.prompt.split() or [plain])[-1])
                places = [place for stop in request.stop if (place := text.find(stop)) >= 0]
                return Continuation(text[: min(places, default=len(text))], "stop", len(text))
            case SampleImage():
                return Picture(_grey_png(noise[:16] * 4))
            case ImageLoss():
                return FlowLoss(0.5 + noise[1] / 512 - 0.25 * (request.condition in self._likes))
            case Embed():
                shade = hashlib.sha256(request.image or request.text.encode()).digest()
                vector = np.frombuffer(shade[:8], np.uint8).astype(np.float32)
                return Embedding(vector, vector[:2])


def _grey_png(pixels_64: bytes) -> bytes:
    """An 8×8 picture."""
    rows = b"".join(b"\0" + pixels_64[start : start + 8] for start in range(0, 64, 8))

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
