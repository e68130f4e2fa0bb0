"""Errors of the generator in the words of OpenAI's requests: `sampling.stop` was written `stop`."""

import re

from vermeil_errors import VermeilError, Violation, from_reason

_WORDS = (
    (re.compile(r"\bsampling\."), ""),
    (re.compile(r"\bconversation\."), ""),
    (re.compile(r"\btokens\.ids\b"), "prompt"),
    (re.compile(r"\bnum_choices\b"), "n"),
    (re.compile(r"\bnum_logprobs\b"), "logprobs"),
    (re.compile(r"(messages\[\d+\])\.parts\["), r"\1.content["),
)


def in_openai_words(error: VermeilError) -> VermeilError:
    """The same error, with the fields that the caller knows."""
    if not error.violations:
        return error
    violations = [Violation(_renamed(each.field), _renamed(each.description)) for each in error.violations]
    return from_reason(error.reason, _renamed(error.message), violations, error.metadata)


def _renamed(text: str) -> str:
    for theirs, ours in _WORDS:
        text = theirs.sub(ours, text)
    return text
