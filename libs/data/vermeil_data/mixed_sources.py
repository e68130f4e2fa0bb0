"""The sources of a mixture, opened: encoded samples by one tokenizer, with pictures of one form."""

from collections.abc import Mapping
from pathlib import Path

from vermeil_errors import InvalidInput, NotFound

from vermeil_data.card import ImagesCard
from vermeil_data.encoded_samples import EncodedSamples, open_encoded_samples
from vermeil_data.mixture import Mixture
from vermeil_data.tokenizer import TextTokenizer


class OpenMixture:
    """A mixture and the encoded samples that it reads."""

    def __init__(self, mixture: Mixture, sources: Mapping[str, EncodedSamples]) -> None:
        self.mixture = mixture
        for name in mixture.sources:
            if name not in sources:
                raise NotFound("was not opened", field=f"sources.{name}", fix="encode it first")
        self.sources = {name: sources[name] for name in mixture.sources}
        first, *others = self.sources
        mine = self.sources[first].tokenizer_card.sha256
        for name in others:
            if self.sources[name].tokenizer_card.sha256 != mine:
                raise InvalidInput(
                    f"was encoded by another tokenizer than {first!r}",
                    field=f"sources.{name}",
                    fix="encode all sources with the tokenizer of the same model",
                )
        self.images = _common_form(self.sources)

    @property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer of all sources."""
        return next(iter(self.sources.values())).tokenizer

    @property
    def vocab_size(self) -> int:
        """Its entries, with special tokens."""
        return self.tokenizer.vocab_size


def open_mixture(mixture: Mixture, folder: Path) -> OpenMixture:
    """Open the sources, whose folders are given from `folder` on."""
    opened = {}
    for name, place in mixture.sources.items():
        try:
            opened[name] = open_encoded_samples(folder / place)
        except NotFound as error:
            fix = "encode its samples, or correct the folder"
            raise NotFound(
                "holds no encoded samples", field=f"sources.{name}", value=str(folder / place), fix=fix
            ) from error
    return OpenMixture(mixture, opened)


def _common_form(sources: Mapping[str, EncodedSamples]) -> ImagesCard:
    """Size and channels of all pictures; where there are none, what the first source says."""
    with_pictures = [
        name
        for name, source in sources.items()
        if any(split.num_pictures for split in source.card.splits.values())
    ]
    first, *others = with_pictures or [next(iter(sources))]
    mine = sources[first].images
    for name in others:
        theirs = sources[name].images
        if (theirs.height, theirs.width, theirs.channels) != (mine.height, mine.width, mine.channels):
            raise InvalidInput(
                f"has pictures of {_size(theirs)}, while those of {first!r} have {_size(mine)}",
                field=f"sources.{name}",
                fix="encode all sources in the same form",
            )
    return mine


def _size(images: ImagesCard) -> str:
    return f"{images.height} × {images.width} × {images.channels}"
