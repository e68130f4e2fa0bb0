"""Turns of a conversation as the model learned to read them: ids of tokens, with marks where pictures stand.

A picture alone, about which nobody asks anything, is spelled as captions were learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vermeil_data import TextTokenizer
from vermeil_errors import InvalidInput

from vermeil_generator.ask import GivenImage, Turn
from vermeil_generator.picture_reader import PictureReader


@dataclass(frozen=True)
class Spoken:
    """An input as tokens."""

    ids: list[int]
    field: str
    """How errors call the input."""
    num_hidden: int = 0
    """Leading tokens that are ours and not the caller's."""
    images: tuple[GivenImage, ...] = ()
    """One for each <boi>, not read yet."""
    text: str | None = None
    """As it was given; None where it was not given as text."""


def spoken(turns: Sequence[Turn], tokenizer: TextTokenizer, pictures: PictureReader | None) -> Spoken:
    """A conversation, ready for the assistant's answer; `pictures` if the model is shown any.

    Raises:
        InvalidInput: Pictures that it does not read, in a wrong place, or too many of them.
    """
    images = tuple(part for turn in turns for part in turn.parts if isinstance(part, GivenImage))
    if images:
        _check(turns, images, pictures)
    if pictures and pictures.captioning == "document" and _is_picture_alone(turns):
        return Spoken([tokenizer.bos_id, *tokenizer.picture_ids], "conversation", images=images)
    messages = [{"role": turn.role, "content": _content(turn)} for turn in turns]
    return Spoken(tokenizer.apply_chat_template(messages), "conversation", images=images)


def _is_picture_alone(turns: Sequence[Turn]) -> bool:
    parts = [part for turn in turns for part in turn.parts if part]
    return len(turns) == 1 and len(parts) == 1 and isinstance(parts[0], GivenImage)


def _content(turn: Turn) -> list[str | None]:
    """Texts in one piece up to the next picture, so that it does not matter how they were cut."""
    content: list[str | None] = [""]
    for part in turn.parts:
        if isinstance(part, GivenImage):
            content += [None, ""]
        else:
            content[-1] = (content[-1] or "") + part
    return content


def _check(turns: Sequence[Turn], images: Sequence[GivenImage], pictures: PictureReader | None) -> None:
    if pictures is None:
        raise InvalidInput(
            "this model reads text only",
            field=images[0].name,
            fix="send text parts, or name a model that reads pictures",
        )
    for turn in turns:
        shown = [part for part in turn.parts if isinstance(part, GivenImage)]
        if shown and turn.role == "system":
            raise InvalidInput(
                "stands in instructions, where no picture is read",
                field=shown[0].name,
                fix="send it in a turn of the user",
            )
    if len(images) > pictures.most:
        raise InvalidInput.for_field(
            "conversation",
            f"{len(images)} pictures",
            f"are more than the {pictures.most} that one request may hold",
            f"send at most {pictures.most}",
        )
