"""What callers may rely on when bytes become text."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vermeil_errors import InvalidInput, TooLarge, VermeilError
from vermeil_media import Invalid, check_text, decode_text

PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)
PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff"), min_size=2)


@given(PLAIN)
def test_utf8_comes_back_unchanged(text: str) -> None:
    decoded = decode_text(text.encode())
    assert (decoded.text, decoded.num_replaced, decoded.encoding) == (text, 0, "utf-8")


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_decides_the_encoding_and_disappears(mark: bytes, encoding: str) -> None:
    decoded = decode_text(mark + "Grüße, 世界 🌍".encode(encoding))
    assert decoded.text == "Grüße, 世界 🌍"
    assert decoded.encoding == encoding


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_unmarked_utf16_of_latin_text_is_recognised(encoding: str) -> None:
    decoded = decode_text("A file from an old editor — with Ünïcode.".encode(encoding))
    assert decoded.text == "A file from an old editor — with Ünïcode."
    assert decoded.encoding == encoding


@pytest.mark.parametrize("raw", [b"a\r\nb\rc\nd", "a\r\nb\rc\nd".encode("utf-16")])
def test_every_line_end_becomes_a_line_feed(raw: bytes) -> None:
    assert decode_text(raw).text == "a\nb\nc\nd"


def test_invalid_bytes_are_refused_with_their_place() -> None:
    with pytest.raises(InvalidInput, match=r"notes\.txt: is not valid UTF-8: byte 0xff at offset 6, line 2"):
        decode_text(b"good\nb\xffd", name="notes.txt")


@pytest.mark.parametrize(("invalid", "text"), [("replace", "a\ufffdb\ufffdc\ufffd"), ("skip", "ab\ufffdc")])
def test_invalid_bytes_are_replaced_or_left_out_and_counted(invalid: Invalid, text: str) -> None:
    decoded = decode_text(b"a\xffb" + "\ufffd".encode() + b"c\xe4\xb8", invalid=invalid)
    assert decoded.text == text
    assert decoded.num_replaced == 2


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused_with_a_clear_error(raw: bytes) -> None:
    try:
        text = decode_text(raw, invalid="replace").text
    except InvalidInput:
        return
    assert text.encode().decode() == text
    assert not {"\0", "\r"} & set(text)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (PNG, "PNG picture"),
        (b"%PDF-1.7\nhello", "PDF document"),
        (b"some words, then\0 a NUL", "NUL byte at offset 16"),
        (b"\x01\x02\x03\x04 words", "control characters"),
        (codecs.BOM_UTF16_LE + "a\0b".encode("utf-16-le"), "NUL character"),
    ],
)
@pytest.mark.parametrize("invalid", ["refuse", "replace", "skip"])
def test_binary_data_are_refused_under_every_policy(raw: bytes, reason: str, invalid: Invalid) -> None:
    with pytest.raises(InvalidInput, match=reason):
        decode_text(raw, invalid=invalid)


def test_form_feeds_and_a_few_stray_controls_are_still_text() -> None:
    raw = b"Page one of an old RFC, which has form feeds and one bell \x07 in a line of its own.\n\f\n" * 3
    assert decode_text(raw).text == raw.decode()


def test_a_text_over_the_limit_is_refused_with_both_sizes() -> None:
    with pytest.raises(TooLarge, match=r"has 11 bytes, the limit is 10"):
        decode_text(b"eleven byte", max_bytes=10)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [(PNG, "binary"), (b"a\0b", "binary"), (b"a\xff", "invalid"), (b"x" * 99, "too_large")],
)
def test_errors_say_for_programs_what_the_problem_is(raw: bytes, problem: str) -> None:
    with pytest.raises(VermeilError) as error:
        decode_text(raw, max_bytes=50)
    assert error.value.metadata == {"problem": problem}


def test_nothing_is_valid_text() -> None:
    assert decode_text(b"").text == ""


def test_text_from_json_follows_the_same_rules() -> None:
    assert check_text("a\r\nb").text == "a\nb"
    with pytest.raises(InvalidInput, match="NUL"):
        check_text("a\0b")
    with pytest.raises(InvalidInput, match="UTF-16"):
        check_text("lone \ud83d surrogate")
    replaced = check_text("lone \ud83d surrogate", invalid="replace")
    assert (replaced.text, replaced.num_replaced) == ("lone \ufffd surrogate", 1)
    assert check_text("lone \ud83d surrogate", invalid="skip").text == "lone  surrogate"
