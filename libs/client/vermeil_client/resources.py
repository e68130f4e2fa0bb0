"""What the gateway answers with, as frozen values.

The gateway speaks the JSON mapping of the contracts; 64-bit integers arrive as strings there.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from vermeil_errors import Cancelled, Internal, VermeilError, Violation, from_reason

FINAL_STATES = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


@dataclass(frozen=True)
class CreatedKey:
    """A key of the gateway as it was made."""

    name: str
    """keys/{key}"""
    secret: str
    """What clients send as their API key; nobody can show it again."""
    raw: Mapping[str, Any]
    """The key as it came."""


@dataclass(frozen=True)
class Job:
    """Long work and how far it has come."""

    name: str
    """jobs/{job}"""
    kind: str
    """Such as vermeil.trainer.v1.train."""
    state: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or CANCELLED."""
    done: int
    """Units done."""
    total: int
    """Units in all; 0 while unknown."""
    unit: str
    """What a unit is."""
    message: str
    """A sentence about what it does now."""
    metrics: Mapping[str, float]
    """Latest figures."""
    after: tuple[str, ...]
    """Jobs that go before it."""
    result: Mapping[str, Any]
    """Figures and names it ended with."""
    outputs: Mapping[str, str]
    """Digests of the artifacts it made, by role."""
    error: VermeilError | None
    """Why it failed."""
    raw: Mapping[str, Any]
    """The answer as it came."""

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read the JSON of a vermeil.job.v1.Job."""
        progress = body.get("progress") or {}
        return cls(
            name=body["name"],
            kind=body.get("kind", ""),
            state=str(body.get("state", "")).removeprefix("JOB_STATE_"),
            done=int(progress.get("done", 0)),
            total=int(progress.get("total", 0)),
            unit=progress.get("unit", ""),
            message=progress.get("message", ""),
            metrics=dict(progress.get("metrics") or {}),
            after=tuple(body.get("after") or ()),
            result=dict(body.get("result") or {}),
            outputs={role: ref["digest"] for role, ref in (body.get("outputs") or {}).items()},
            error=_job_error(body.get("error")),
            raw=body,
        )

    @property
    def finished(self) -> bool:
        """Whether its state can no longer change."""
        return self.state in FINAL_STATES

    def raise_for_state(self) -> Self:
        """Return the job if it succeeded; raise what it failed with otherwise."""
        if self.state == "CANCELLED":
            raise Cancelled(f"{self.name} was cancelled")
        if self.error is not None:
            raise self.error
        if self.state == "FAILED":
            raise Internal(f"{self.name} failed without a word", fix="look at its logs")
        return self


def _job_error(error: Mapping[str, Any] | None) -> VermeilError | None:
    if not error or not error.get("reason"):
        return None
    violations = [
        Violation(each.get("field", ""), each.get("description", ""))
        for each in error.get("violations") or []
    ]
    return from_reason(error["reason"], error.get("message", ""), violations)


@dataclass(frozen=True)
class Dataset:
    """A named line of dataset versions."""

    name: str
    """datasets/{dataset}"""
    latest_version: str
    """datasets/{dataset}/versions/{version}"""
    description: str
    """A sentence for people."""

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read the JSON of a vermeil.registry.v1.Dataset."""
        return cls(body["name"], body.get("latest_version", ""), body.get("description", ""))


@dataclass(frozen=True)
class Model:
    """A model as an application names it."""

    id: str
    """What goes into the `model` field of a request."""
    raw: Mapping[str, Any]
    """The answer as it came."""

    @property
    def takes(self) -> tuple[str, ...]:
        """Kinds of content it reads: text, image."""
        return tuple(self.raw.get("input_modalities") or ())

    @property
    def gives(self) -> tuple[str, ...]:
        """Kinds of content it answers with: text, image, embedding, class."""
        return tuple(self.raw.get("output_modalities") or ())

    @property
    def version(self) -> int:
        """Number of its newest version; 0 if it has none."""
        return int(self.raw.get("version") or 0)

    @property
    def created(self) -> int:
        """When it was first named, in seconds since 1970."""
        return int(self.raw.get("created") or 0)


@dataclass(frozen=True)
class DrawingProgress:
    """How far all pictures of a request are."""

    steps_done: int
    """Summed over the pictures."""
    steps_total: int
    """Steps times pictures."""


@dataclass(frozen=True)
class Picture:
    """A picture, or how it looks on its way."""

    index: int
    """Which of the request's pictures, from 0."""
    png: bytes
    """The file."""
    seed: int
    """Gives this picture again."""
    preview: int | None = None
    """Which preview of the picture this is; None for the picture itself."""

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read an event of /v1/images/generations."""
        png = base64.b64decode(body["b64_json"])
        return cls(body.get("image_index", 0), png, body.get("seed", 0), body.get("partial_image_index"))


@dataclass(frozen=True)
class Hit:
    """A sample that a search found."""

    sample: str
    """Its id."""
    split: str
    """Its split, such as train."""
    score: float
    """How near it is, -1 to 1."""
    class_name: str
    """Its class, if it has one."""
    captions: tuple[str, ...]
    """What is said of it."""
    preview: bytes
    """A small PNG, if asked for."""

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read the JSON of a vermeil.encoder.v1.SearchHit."""
        return cls(
            sample=body.get("sample", ""),
            split=body.get("split", ""),
            score=float(body.get("score", 0)),
            class_name=body.get("class_name", ""),
            captions=tuple(body.get("captions", ())),
            preview=base64.b64decode(body.get("preview", "")),
        )


@dataclass(frozen=True)
class AnswerImage:
    """A picture in an answer."""

    png: bytes
    """The file."""
    raw: Mapping[str, Any]
    """As it came: in `images` of a turn of the assistant it is sent back."""

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Read an entry of `delta.images`."""
        return cls(base64.b64decode(body["image_url"]["url"].partition(",")[2]), body)


@dataclass(frozen=True)
class Piece:
    """A piece of a streamed answer."""

    text: str
    """What was added."""
    finish_reason: str | None
    """`stop` or `length` in the last piece of the answer."""
    images: tuple[AnswerImage, ...] = ()
    """Pictures that were added, after the text."""
