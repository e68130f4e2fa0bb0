"""What is wanted of pictures and their captions."""

from dataclasses import dataclass

from vermeil_errors import InvalidInput
from vermeil_media.image import LIMITS, ImageLimits

TEMPLATES = ("{class}", "a picture of {class}", "an image of {class}")
"""Captions of a picture that has a class and no words."""
MAX_NEAR_BITS = 8


@dataclass(frozen=True)
class ImageRules:
    """How pictures are checked, chosen and described; what is left out is counted in the data card."""

    caption_templates: tuple[str, ...] = TEMPLATES
    """Captions of pictures that have a class and none of their own; {class} is its name."""
    min_side: int = 1
    """Pixels of the shorter side; smaller pictures are left out."""
    min_sharpness: float = 0.0
    """Least variance of the Laplacian, about 0 to 1,000; blurred pictures are left out."""
    min_caption: int = 0
    """Characters; shorter captions are left out, and pictures of which all are."""
    max_caption: int = 0
    """Characters; longer captions are left out, and pictures of which all are; 0 for no limit."""
    near_duplicates: int | None = None
    """Pictures whose perceptual hashes differ in at most so many of 64 bits, and whose colours are alike,
    count as one; None compares bytes alone."""
    limits: ImageLimits = LIMITS
    """What is refused before it is decoded."""
    num_workers: int = 0
    """Processes that decode; 0 for one a core. The result is the same with any number."""
    num_shards: int = 0
    """Jobs among which the work is divided; 0 lets the number of files decide. The result is the same."""

    def __post_init__(self) -> None:
        for index, template in enumerate(self.caption_templates):
            if "{class}" not in template:
                raise InvalidInput.for_field(
                    f"spec.images.caption_templates[{index}]", template, "has no place for the class",
                    "write {class} where its name belongs",
                )  # fmt: skip
        for field, low, high in (
            ("min_side", 1, 1 << 20),
            ("min_sharpness", 0, 1e9),
            ("min_caption", 0, 1 << 20),
            ("max_caption", 0, 1 << 20),
            ("num_workers", 0, 256),
            ("num_shards", 0, 1000),
        ):
            if not low <= getattr(self, field) <= high:
                raise InvalidInput.for_field(
                    f"spec.images.{field}", getattr(self, field), "is out of range", f"use {low} to {high:g}"
                )
        if self.near_duplicates is not None and not 0 <= self.near_duplicates <= MAX_NEAR_BITS:
            raise InvalidInput.for_field(
                "spec.images.near_duplicates", self.near_duplicates, "is out of range",
                f"use 0 to {MAX_NEAR_BITS} bits",
            )  # fmt: skip


RULES = ImageRules()
"""The defaults."""
