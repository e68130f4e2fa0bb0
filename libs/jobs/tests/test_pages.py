"""Tokens of pages come from outside: whatever they hold, they ask for a page or are refused."""

import base64

import pytest
from vermeil_errors import InvalidInput
from vermeil_jobs.pages import make_token, read_number


def test_a_token_asks_for_what_comes_after_its_place() -> None:
    assert read_number(make_token("jobs", 7), "jobs") == 7
    assert read_number("", "jobs") is None


@pytest.mark.parametrize(
    "content", [b"[" * 2000, b'["jobs", 1%030d]' % 0, b'["jobs", -1]', b'["jobs", true]', b'["jobs", "1"]']
)
def test_a_token_that_no_list_made_is_refused(content: bytes) -> None:
    token = base64.urlsafe_b64encode(content).decode()
    with pytest.raises(InvalidInput, match="page_token"):
        read_number(token, "jobs")
