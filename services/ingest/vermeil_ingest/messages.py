"""The wire's IngestSpec as our Ingestion."""

from pathlib import Path
from typing import Literal

from vermeil.ingest.v1 import ingest_pb2 as wire
from vermeil_data import SplitBy
from vermeil_errors import InvalidInput
from vermeil_jobs.names import check_line
from vermeil_media import MAX_FILE_BYTES
from vermeil_media.image import LIMITS, ImageLimits

from vermeil_ingest.images.rules import TEMPLATES, ImageRules
from vermeil_ingest.ingestion import Ingestion, Media
from vermeil_ingest.sources import Source, is_elsewhere, path_of

DEFAULT_VALIDATION_FRACTION = 0.05

_SPLIT_BY: dict[int, SplitBy] = {
    wire.SPLIT_BY_UNSPECIFIED: "auto",
    wire.SPLIT_BY_DOCUMENT: "document",
    wire.SPLIT_BY_POSITION: "position",
}
_BAD_FILES: dict[int, Literal["skip", "refuse"]] = {
    wire.BAD_FILE_POLICY_UNSPECIFIED: "skip",
    wire.BAD_FILE_POLICY_SKIP: "skip",
    wire.BAD_FILE_POLICY_REFUSE: "refuse",
}
_MEDIA: dict[int, Media] = {
    wire.MEDIA_UNSPECIFIED: "auto",
    wire.MEDIA_TEXT: "text",
    wire.MEDIA_IMAGE: "image",
}
_INVALID_TEXT: dict[int, Literal["replace", "refuse"]] = {
    wire.INVALID_TEXT_POLICY_UNSPECIFIED: "replace",
    wire.INVALID_TEXT_POLICY_REPLACE: "replace",
    wire.INVALID_TEXT_POLICY_REFUSE: "refuse",
}


def ingestion_from_message(spec: wire.IngestSpec) -> Ingestion:
    """Check a specification and fill in its defaults."""
    dataset = check_line("datasets", spec.dataset, "spec.dataset")
    fraction = (
        spec.validation_fraction if spec.HasField("validation_fraction") else DEFAULT_VALIDATION_FRACTION
    )
    for field, value, known in (
        ("split_by", spec.split_by, _SPLIT_BY),
        ("bad_files", spec.bad_files, _BAD_FILES),
        ("invalid_text", spec.invalid_text, _INVALID_TEXT),
        ("media", spec.media, _MEDIA),
    ):
        if value not in known:
            raise InvalidInput.for_field(f"spec.{field}", value, "is unknown", f"use 0 to {len(known) - 1}")
    return Ingestion(
        name=dataset.removeprefix("datasets/"),
        sources=tuple(_source(source, index) for index, source in enumerate(spec.sources)),
        validation_fraction=fraction,
        split_by=_SPLIT_BY[spec.split_by],
        bad_files=_BAD_FILES[spec.bad_files],
        invalid_text=_INVALID_TEXT[spec.invalid_text],
        keep_duplicates=spec.keep_duplicates,
        origin=spec.origin,
        licence=spec.licence,
        max_document_bytes=spec.max_file_bytes or MAX_FILE_BYTES,
        media=_MEDIA[spec.media],
        images=_rules(spec.images, spec.max_file_bytes),
    )


def _rules(rules: wire.ImageRules, max_file_bytes: int) -> ImageRules:
    limits = ImageLimits(
        max_bytes=max_file_bytes or LIMITS.max_bytes,
        max_pixels=rules.max_pixels or LIMITS.max_pixels,
        max_ratio=rules.max_ratio or LIMITS.max_ratio,
        max_frames=rules.max_frames or LIMITS.max_frames,
    )
    return ImageRules(
        caption_templates=tuple(rules.caption_templates) or TEMPLATES,
        min_side=rules.min_side or 1,
        min_sharpness=rules.min_sharpness,
        min_caption=rules.min_caption,
        max_caption=rules.max_caption,
        near_duplicates=rules.near_duplicates if rules.HasField("near_duplicates") else None,
        limits=limits,
        num_workers=rules.num_workers,
        num_shards=rules.num_shards,
    )


def _source(source: wire.Source, index: int) -> Source:
    elsewhere = is_elsewhere(source.uri)
    return Source(
        path=Path(source.uri) if elsewhere else path_of(source.uri, f"spec.sources[{index}].uri"),
        uri=source.uri if elsewhere else "",
        include=tuple(source.include),
        exclude=tuple(source.exclude),
        fields=tuple(source.fields) or ("text",),
    )
