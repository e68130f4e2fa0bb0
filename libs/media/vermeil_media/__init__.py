"""The only decoder of media in Vermeil: what training sees is what serving sees."""

from vermeil_media.files import MAX_FILE_BYTES, open_lines, read_bytes, read_text
from vermeil_media.idx import read_idx
from vermeil_media.image import MEDIA_TYPES, ImageInfo, ImageLimits, decode_image, inspect_image
from vermeil_media.pixels import (
    Channels,
    Fit,
    Pixels,
    blur_score,
    encode_png,
    hamming,
    perceptual_hash,
    resize_image,
)
from vermeil_media.sniff import binary_reason
from vermeil_media.text import DecodedText, Invalid, check_text, decode_text

__all__ = [
    "MAX_FILE_BYTES",
    "MEDIA_TYPES",
    "Channels",
    "DecodedText",
    "Fit",
    "ImageInfo",
    "ImageLimits",
    "Invalid",
    "Pixels",
    "binary_reason",
    "blur_score",
    "check_text",
    "decode_image",
    "decode_text",
    "encode_png",
    "hamming",
    "inspect_image",
    "open_lines",
    "perceptual_hash",
    "read_bytes",
    "read_idx",
    "read_text",
    "resize_image",
]
