"""The only decoder of media in Vermeil: what training sees is what serving sees."""

from vermeil_media.files import MAX_FILE_BYTES, open_lines, read_bytes, read_text
from vermeil_media.sniff import binary_reason
from vermeil_media.text import DecodedText, Invalid, check_text, decode_text

__all__ = [
    "MAX_FILE_BYTES",
    "DecodedText",
    "Invalid",
    "binary_reason",
    "check_text",
    "decode_text",
    "open_lines",
    "read_bytes",
    "read_text",
]
