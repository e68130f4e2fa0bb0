"""What a task may ask of a model, and what it gets: five kinds of requests, an answer for each.

Requests are plain values: the same ones have the same `content`, which is what answers are kept under.
They know no tokenizer and no network; `models/` does.
"""

# ruff: noqa: N815

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from vermeil_errors import DataCorrupted

Windows = Literal["half", "rolling"]
"""How a text longer than the model's context C is cut: windows of C, each half a window on; or of C - 1
that overlap by one token, which are lm-eval's."""


@dataclass(frozen=True)
class Loglikelihood:
    """How likely is this text, after that context? Every token of the text is judged once."""

    text: str
    """What is judged."""
    context: str = ""
    """What stands before it, and is not judged."""
    windows: Windows = "half"
    """For texts longer than the model's context; never needed with a context, which is shortened instead."""
    ids: tuple[int, ...] = ()
    """Tokens of the model's own tokenizer, <bos> first, in place of `text`."""


@dataclass(frozen=True)
class GenerateUntil:
    """How does this text go on, until one of these strings comes?"""

    prompt: str
    """What is continued; with pictures a question about them, or empty: what do they show?"""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of them; the end of a document always ends it."""
    max_tokens: int = 128
    """At most this many."""
    temperature: float = 0.0
    """0 takes the likeliest token."""
    seed: int = 0
    """Of sampling, where the temperature is not 0."""
    images: tuple[bytes, ...] = ()
    """Encoded pictures, which stand before the prompt."""


@dataclass(frozen=True)
class SampleImage:
    """What picture belongs to this class or caption?"""

    condition: str = ""
    """Name of a class, or a caption; empty for no condition."""
    seed: int = 0
    """The same seed gives the same picture, in any company."""
    steps: int = 0
    """Steps of the solver; 0 for as many as the model was made for."""
    guidance: float = -1.0
    """Weight of the condition; 1 leaves it as it is, -1 is what the model was made for."""
    solver: str = "heun"
    """heun or euler."""


@dataclass(frozen=True)
class ImageLoss:
    """How far off is the model when it takes the noise out of this picture?"""

    image: bytes
    """An encoded picture."""
    condition: str = ""
    """What it is told the picture shows: a class or a caption; empty for nothing."""
    seed: int = 0
    """Of the noise: the same seed and picture, the same noise, whatever the condition."""


@dataclass(frozen=True)
class Embed:
    """Where in the model's space lies this text, or this picture?"""

    text: str = ""
    """A text, or"""
    image: bytes = b""
    """an encoded picture."""


Request = Loglikelihood | GenerateUntil | SampleImage | ImageLoss | Embed


@dataclass(frozen=True)
class TokenLikelihoods:
    """Answers Loglikelihood."""

    ids_N: npt.NDArray[np.uint32]
    """The tokens that were judged, those of the context not."""
    nats_N: npt.NDArray[np.float32]
    """-ln p of each."""

    @property
    def nats(self) -> float:
        """Of the whole text."""
        return float(self.nats_N.sum(dtype=np.float64))


@dataclass(frozen=True)
class Continuation:
    """Answers GenerateUntil."""

    text: str
    """Without the prompt and the stop string."""
    finish_reason: str
    """stop or length."""
    num_tokens: int
    """Tokens that were made."""


@dataclass(frozen=True)
class Picture:
    """Answers SampleImage."""

    png: bytes
    """The picture as a PNG."""


@dataclass(frozen=True)
class FlowLoss:
    """Answers ImageLoss."""

    value: float
    """Mean squared error of the velocity over times as they are drawn in training; 0 or more."""


@dataclass(frozen=True)
class Embedding:
    """Answers Embed."""

    vector_D: npt.NDArray[np.float32]
    """The place: features of a classifier, or a unit vector of an encoder."""
    logits_C: npt.NDArray[np.float32]
    """Of a classifier, one a class; empty otherwise."""


Answer = TokenLikelihoods | Continuation | Picture | FlowLoss | Embedding


def content(request: Request) -> str:
    """Canonical JSON: equal for equal requests, and for nothing else."""
    fields = {name: _plain(value) for name, value in asdict(request).items()}
    if not fields.get("images", True):
        del fields["images"]  # so that answers about text alone stay known
    return json.dumps({"request": type(request).__name__, **fields}, sort_keys=True, ensure_ascii=False)


def to_bytes(answer: Answer) -> bytes:
    """An answer as JSON; arrays and pictures in base64."""
    fields = {name: _plain(value) for name, value in vars(answer).items()}
    return json.dumps({"answer": type(answer).__name__, **fields}, ensure_ascii=False).encode()


def from_bytes(data: bytes) -> Answer:
    """The answer that `to_bytes` wrote."""
    try:
        fields: Mapping[str, Any] = json.loads(data)
        match fields["answer"]:
            case "TokenLikelihoods":
                return TokenLikelihoods(
                    _array(fields["ids_N"], np.uint32), _array(fields["nats_N"], np.float32)
                )
            case "Continuation":
                return Continuation(fields["text"], fields["finish_reason"], fields["num_tokens"])
            case "Picture":
                return Picture(base64.b64decode(fields["png"]))
            case "FlowLoss":
                return FlowLoss(float(fields["value"]))
            case "Embedding":
                vector, logits = (_array(fields[name], np.float32) for name in ("vector_D", "logits_C"))
                return Embedding(vector, logits)
            case other:
                raise DataCorrupted(f"is no kind of answer: {other}")
    except (ValueError, KeyError, TypeError) as error:
        raise DataCorrupted(f"is not an answer: {error}") from error


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return base64.b64encode(value.astype(value.dtype.newbyteorder("<")).tobytes()).decode()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _array(text: str, kind: "type[np.uint32 | np.float32]") -> "npt.NDArray[Any]":
    return np.frombuffer(base64.b64decode(text), np.dtype(kind).newbyteorder("<")).astype(kind)


def key(model_digest: str, task: str, request: Request) -> bytes:
    """What an answer is kept under: sha256 of the model, the task with its version, and the request."""
    digest = hashlib.sha256()
    for part in (model_digest, task, content(request)):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()
