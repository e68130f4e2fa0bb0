"""A sample: an ordered list of segments, each given as context or to be produced. Knows no files."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Self

Role = Literal["given", "target"]


@dataclass(frozen=True)
class Segment:
    """One piece of a sample: text, or the encoded bytes of a picture, a sound or a clip."""

    modality: str
    """text, image, audio, video"""
    role: Role = "target"
    """given: context to read; target: to be produced, and learned."""
    text: str | None = None
    data: bytes | None = None
    """The encoded file itself, for everything but text."""
    media_type: str | None = None
    """IANA type of `data`, such as image/png."""


@dataclass(frozen=True)
class Sample:
    """One example, with the name of where it came from."""

    segments: tuple[Segment, ...]
    id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_text(cls, text: str, *, id: str = "", metadata: Mapping[str, str] | None = None) -> Self:  # noqa: A002
        """A document: one text, all of it to be learned."""
        return cls((Segment("text", text=text),), id, metadata or {})

    @classmethod
    def of_image(
        cls,
        data: bytes,
        media_type: str,
        captions: Sequence[str] = (),
        *,
        id: str = "",  # noqa: A002
        metadata: Mapping[str, str] | None = None,
    ) -> Self:
        """A picture to be learned, after zero or more captions, any one of which describes it.

        `metadata` may name its class: "class", and "class_number" where the classes have an order.
        """
        given = (Segment("text", "given", text=caption) for caption in captions)
        return cls((*given, Segment("image", data=data, media_type=media_type)), id, metadata or {})

    @property
    def text(self) -> str:
        """All text of the sample, in order."""
        return "".join(segment.text for segment in self.segments if segment.text is not None)

    @property
    def digest(self) -> bytes:
        """sha256 of the content alone: equal samples of different origin are duplicates."""
        digest = hashlib.sha256()
        for segment in self.segments:
            content = segment.data if segment.text is None else segment.text.encode()
            size = len(content or b"")
            digest.update(f"{segment.modality}\0{segment.role}\0{size}\0".encode())
            digest.update(content or b"")
        return digest.digest()
