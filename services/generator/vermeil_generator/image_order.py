"""An ask for pictures made ready for one model: its class or caption, its size, seeds."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vermeil_errors import InvalidInput
from vermeil_model import ImageConfig

from vermeil_generator.image_ask import MAX_SEED, ImageAsk, ImageSampling

SHOWN_CLASSES = 100
"""So many class names fit into an error."""


@dataclass(frozen=True)
class Style:
    """What pictures share that are drawn together."""

    steps: int
    guidance: float
    solver: str


@dataclass(frozen=True)
class Wish:
    """One picture: what it shows and the seed of its noise."""

    condition: int | tuple[int, ...] | None
    """A class, the tokens of a caption, or nothing."""
    seed: int


@dataclass(frozen=True)
class ImageOrder:
    """What a painter works on: pictures of one request."""

    wishes: tuple[Wish, ...]
    style: Style
    num_previews: int
    """Of each picture on its way."""
    num_prompt_tokens: int
    """Of the caption; 1 for a class."""

    @property
    def steps_total(self) -> int:
        """Steps of all pictures."""
        return self.style.steps * len(self.wishes)


@dataclass(frozen=True)
class Suited:
    """How a model draws unless told otherwise."""

    steps: int = 50
    guidance: float = 2.0
    """Where there is a prompt."""


@dataclass(frozen=True)
class Captions:
    """How a model is told what to draw."""

    spell: Callable[[str], list[int]]
    """A text as it was learned."""
    longest: int
    """Tokens that are read."""


@dataclass(frozen=True)
class Drawable:
    """What a model can be asked to draw."""

    config: ImageConfig
    class_names: tuple[str, ...] = ()
    """By class number; empty where classes have no names."""
    captions: Captions | None = None
    """None where it is not asked by text."""
    suited: Suited = Suited()
    """What its recipe says of sampling."""

    def prepare(self, ask: ImageAsk) -> ImageOrder:
        """The order that an ask puts to this model.

        Raises:
            InvalidInput: It does not fit the model: another size, an unknown class, a text too long.
        """
        self._check_size(ask)
        condition = self._condition(ask)
        style = self._style(ask.sampling, has_prompt=condition is not None)
        if ask.num_previews >= style.steps:
            raise InvalidInput.for_field(
                "num_previews",
                ask.num_previews,
                f"does not fit into {style.steps} steps",
                f"send 0 to {style.steps - 1}",
            )
        first = secrets.randbelow(2**31) if ask.sampling.seed is None else ask.sampling.seed
        seeds = [(first + index) % (MAX_SEED + 1) for index in range(ask.num_images)]
        num_tokens = len(condition) if isinstance(condition, tuple) else int(condition is not None)
        wishes = tuple(Wish(condition, seed) for seed in seeds)
        return ImageOrder(wishes, style, ask.num_previews, num_tokens)

    def _style(self, sampling: ImageSampling, *, has_prompt: bool) -> Style:
        guidance = sampling.guidance
        if guidance is None:
            guidance = self.suited.guidance if has_prompt else 1.0
        if not has_prompt and guidance not in (0.0, 1.0):
            raise InvalidInput.for_field(
                "sampling.guidance", guidance, "has no prompt to follow", "send a prompt, or leave it out"
            )
        return Style(sampling.steps or self.suited.steps, guidance, sampling.solver)

    def _check_size(self, ask: ImageAsk) -> None:
        for name, wanted, possible in (
            ("width", ask.width, self.config.image_width),
            ("height", ask.height, self.config.image_height),
        ):
            if wanted not in (0, possible):
                size = f"{self.config.image_width}x{self.config.image_height}"
                raise InvalidInput.for_field(
                    name, wanted, f"this model draws {size} only", "ask for that, or leave it out"
                )

    def _condition(self, ask: ImageAsk) -> int | tuple[int, ...] | None:
        if ask.class_number is not None:
            return self._class(ask.class_number)
        if not ask.prompt:
            return None
        if self.captions is not None:
            return _caption(ask.prompt, self.captions)
        if self.config.condition == "class":
            return self._named_class(ask.prompt)
        raise InvalidInput.for_field(
            "prompt", ask.prompt, "this model draws what it likes", "send an empty prompt"
        )

    def _class(self, number: int) -> int:
        if self.config.condition != "class":
            raise InvalidInput.for_field(
                "class_number", number, "this model knows no classes", "send a prompt"
            )
        if not 0 <= number < self.config.num_classes:
            raise InvalidInput.for_field(
                "class_number", number, "is out of range", f"send 0 to {self.config.num_classes - 1}"
            )
        return number

    def _named_class(self, name: str) -> int:
        """By its name, upper or lower case; classes without names go by their numbers."""
        names = self.class_names or [str(number) for number in range(self.config.num_classes)]
        wanted = name.strip()
        if wanted in names:
            return names.index(wanted)
        alike = [place for place, each in enumerate(names) if each.casefold() == wanted.casefold()]
        if len(alike) == 1:
            return alike[0]
        raise InvalidInput.for_field(
            "prompt", name, "is no class of this model", f"send one of: {_listed(names)}"
        )


def _caption(text: str, captions: Captions) -> tuple[int, ...]:
    ids = tuple(captions.spell(text))
    if len(ids) > captions.longest:
        raise InvalidInput.for_field(
            "prompt",
            f"{len(ids)} tokens",
            f"are more than the {captions.longest} that this model reads",
            f"shorten it to {captions.longest} tokens",
        )
    return ids


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN_CLASSES])
    more = len(names) - SHOWN_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown
