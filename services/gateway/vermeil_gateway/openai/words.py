"""Errors of the generator in the words of OpenAI's requests: `sampling.stop` was written `stop`."""

import re
from collections.abc import Sequence

from vermeil_errors import VermeilError, Violation, from_reason

_WORDS = (
    (re.compile(r"\bsampling\."), ""),
    (re.compile(r"\boutput_format\.json_schema\b"), "response_format.json_schema.schema"),
    (re.compile(r"\boutput_format\.regex\b"), "structured_outputs.regex"),
    (re.compile(r"\bconversation\."), ""),
    (re.compile(r"(tools\[\d+\])\."), r"\1.function."),
    (re.compile(r"\btool_choice\.tool\b"), "tool_choice.function.name"),
    (re.compile(r"\.parts\[\d+\]\.tool_call\.arguments_json"), ".tool_calls.function.arguments"),
    (re.compile(r"^conversation(?= =|$)"), "messages"),
    (re.compile(r"\btokens\.ids\b"), "prompt"),
    (re.compile(r"\bnum_choices\b"), "n"),
    (re.compile(r"\bnum_logprobs\b"), "logprobs"),
    (re.compile(r"(messages\[\d+\])\.parts\["), r"\1.content["),
)


_OF_PICTURES = (
    (re.compile(r"\bsampling\."), ""),
    (re.compile(r"\bnum_images\b"), "n"),
    (re.compile(r"\bnum_previews\b"), "partial_images"),
    (re.compile(r"^(width|height)\b"), "size"),
)
_TEXTS = re.compile(r"\btexts(\[(?P<index>\d+)\])?")
Words = Sequence[tuple[re.Pattern[str], str]]


def in_openai_words(error: VermeilError, words: Words = _WORDS) -> VermeilError:
    """The same error, with the fields that the caller knows."""
    if not error.violations:
        return error
    violations = [
        Violation(_renamed(each.field, words), _renamed(each.description, words)) for each in error.violations
    ]
    return from_reason(error.reason, _renamed(error.message, words), violations, error.metadata)


def in_words_of_pictures(error: VermeilError) -> VermeilError:
    """The same for a request of pictures."""
    return in_openai_words(error, _OF_PICTURES)


def in_words_of_embeddings(error: VermeilError, first: int) -> VermeilError:
    """The same for a request of embeddings, of whose texts `first` were asked for before."""
    if not error.violations:
        return error

    def renamed(text: str) -> str:
        return _TEXTS.sub(lambda it: f"input[{int(it['index']) + first}]" if it["index"] else "input", text)

    violations = [Violation(renamed(each.field), renamed(each.description)) for each in error.violations]
    return from_reason(error.reason, renamed(error.message), violations, error.metadata)


def _renamed(text: str, words: Words) -> str:
    for theirs, ours in words:
        text = theirs.sub(ours, text)
    return text
