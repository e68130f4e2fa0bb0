"""Bytes to text, once, for all of Vermeil.

UTF-8, or UTF-16/32 where a byte order mark or a clear pattern says so; never a guessed single-byte
encoding. The mark goes, CRLF and CR become LF, nothing else is normalised. Knows no files.
Errors say in metadata["problem"] what it is: binary, invalid or too_large.
"""

from dataclasses import dataclass
from typing import Literal

from vermeil_errors import InvalidInput, TooLarge

from vermeil_media.sniff import binary_reason, byte_order_mark, unmarked_utf16

Invalid = Literal["refuse", "replace", "skip"]
"""What to do with bytes that are no text: raise, put U+FFFD in their place, or leave them out."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_FIX = "save it as UTF-8, or let invalid bytes be replaced"


@dataclass(frozen=True)
class DecodedText:
    """A text, and what it took to read it."""

    text: str
    """Without byte order mark; lines end with a line feed."""
    num_replaced: int
    """Places where invalid bytes were replaced or left out."""
    encoding: str
    """utf-8, utf-16-le, utf-16-be, utf-32-le or utf-32-be."""


def decode_text(
    raw: bytes, *, invalid: Invalid = "refuse", name: str = "text", max_bytes: int | None = None
) -> DecodedText:
    """Decode a whole document; errors call it `name`. Binary data are refused under every policy."""
    if max_bytes is not None and len(raw) > max_bytes:
        raise TooLarge(
            f"has {len(raw):,} bytes, the limit is {max_bytes:,}",
            field=name,
            metadata={"problem": "too_large"},
        )
    mark, encoding = byte_order_mark(raw) or (b"", unmarked_utf16(raw) or "utf-8")
    body = raw.removeprefix(mark)
    if encoding == "utf-8" and (reason := binary_reason(body)):
        raise _binary(reason, name)
    text, num_replaced = _decode(body, encoding, invalid, name)
    _refuse_nul(text, name)
    return DecodedText(_with_line_feeds(text), num_replaced, encoding)


def check_text(text: str, *, invalid: Invalid = "refuse", name: str = "text") -> DecodedText:
    """The same rules for text that arrives decoded, as from JSON, which can hold NUL and lone surrogates."""
    _refuse_nul(text, name)
    try:
        text.encode()
        num_replaced = 0
    except UnicodeEncodeError:
        text, num_replaced = _decode(text.encode("utf-16-le", "surrogatepass"), "utf-16-le", invalid, name)
    return DecodedText(_with_line_feeds(text), num_replaced, "utf-8")


def _decode(raw: bytes, encoding: str, invalid: Invalid, name: str) -> tuple[str, int]:
    try:
        return raw.decode(encoding), 0
    except UnicodeDecodeError as error:
        if invalid == "refuse":
            line = raw.count(b"\n", 0, error.start) + 1
            problem = (
                f"byte 0x{raw[error.start]:02x} at offset {error.start:,}, line {line:,}: {error.reason}"
            )
            raise InvalidInput(
                f"is not valid {encoding.upper()}: {problem}",
                field=name,
                fix=_FIX,
                metadata={"problem": "invalid"},
            ) from error
    replaced, ignored = raw.decode(encoding, "replace"), raw.decode(encoding, "ignore")
    # A U+FFFD that the text really has is in both.
    num_replaced = replaced.count(_REPLACEMENT) - ignored.count(_REPLACEMENT)
    return (replaced if invalid == "replace" else ignored), num_replaced


def _refuse_nul(text: str, name: str) -> None:
    at = text.find("\0")
    if at >= 0:
        raise _binary(f"it has a NUL character at {at:,}", name)


def _binary(reason: str, name: str) -> InvalidInput:
    return InvalidInput(
        f"is not text: {reason}",
        field=name,
        fix="leave binary files out",
        metadata={"problem": "binary"},
    )


def _with_line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
