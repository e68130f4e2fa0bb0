"""Pictures to be drawn: what real ones show, so that both can be compared.

The n-th item asks for what the n-th picture of the split shows, its class and its first caption, and has
a seed of its own. Real pictures go to judges as PNG, the way drawn ones do.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from vermeil_data import (
    EncodedImages,
    ImageEncoding,
    TokenizerSpec,
    encode_images,
    open_dataset,
    open_encoded_images,
    train_tokenizer,
)
from vermeil_data.encoded_images import Captions
from vermeil_errors import InvalidInput
from vermeil_media import encode_png

from vermeil_evaluator.documents import check_split, split_sha256
from vermeil_evaluator.item import Item
from vermeil_evaluator.models.model import PictureSize
from vermeil_evaluator.requests import Embed, SampleImage
from vermeil_evaluator.task import Material, Options, Run

OPTIONS: Options = {"num_samples": 1000, "steps": 0, "guidance": -1.0, "solver": "heun"}
"""Of tasks that draw; 0 steps and guidance -1 are those the model was made for."""


class PicturesToDraw:
    """Items with "class" and "caption", either may be empty, and "seed"."""

    def __init__(self, images: EncodedImages, split: str, num_items: int, seed: int) -> None:
        check_split(images.card, split)
        if not images.num_images(split):
            raise InvalidInput.for_field("spec.split", split, "has no pictures", "use another split")
        self.images, self.split, self._num_items, self._seed = images, split, num_items, seed

    @property
    def sha256(self) -> str:
        """Of all splits: real pictures are compared with, those of training are looked for."""
        splits = (split_sha256(self.images.card, name) for name in sorted(self.images.card.splits))
        return hashlib.sha256("\n".join([self.split, *splits]).encode()).hexdigest()

    def __len__(self) -> int:
        return self._num_items

    def __iter__(self) -> Iterator[Item]:
        classes = self.images.classes(self.split)
        for number in range(self._num_items):
            row = number % len(classes)
            name = self.images.class_names[classes[row]] if classes[row] >= 0 else ""
            seed = self._seed * 1_000_003 + number
            caption = next(iter(self.captions(row)), "")
            yield Item(str(number), {"class": name, "caption": caption, "seed": seed})

    def captions(self, row: int) -> list[str]:
        """What people say of a real picture."""
        tokenizer = self.images.tokenizer
        if tokenizer is None:
            return []
        return [tokenizer.decode(ids.tolist()) for ids in self._captions.of(row)]

    @cached_property
    def _captions(self) -> Captions:
        return self.images.captions(self.split)


def to_draw(material: Material) -> PicturesToDraw:
    """The items of tasks about drawing."""
    num_items = material.limit or int(material.options["num_samples"])
    return PicturesToDraw(open_pictures(material), material.split, num_items, material.seed)


def open_pictures(material: Material) -> EncodedImages:
    """Real pictures, as they were encoded, or else in the model's own size."""
    try:
        return open_encoded_images(material.data)
    except InvalidInput as error:
        size = material.model.picture_size
        if size is None:
            raise InvalidInput.for_field(
                "spec.model",
                material.model.about,
                "has no size of pictures in which the data could be taken",
                "name a model that draws, or data that are encoded",
            ) from error
        folder = material.scratch / "pictures"
        if not folder.exists():
            form = ImageEncoding(size.height, size.width, size.channels, size.fit)  # type: ignore[arg-type]
            # Captions are only written down and read again, which bytes do without loss.
            plain = train_tokenizer([], TokenizerSpec("byte"))
            encode_images(open_dataset(material.data), form, folder, tokenizer=plain)
        return open_encoded_images(folder)


def check_pictures(run: Run, space: str, fix: str) -> None:
    """Model and judge have to do with pictures of the data's size, and the judge with such a space."""
    assert run.judge, "the task needs a judge"
    judge = run.judge.model
    if judge.space != space:
        raise InvalidInput.for_field("spec.judge", judge.about, "is no judge for this task", fix)
    card = open_pictures(run.material).images
    wanted = PictureSize(card.height, card.width, card.channels)
    for role, model in (("model", run.material.model), ("judge", judge)):
        size = model.picture_size
        if size and _without_alpha(size) != _without_alpha(wanted):
            raise InvalidInput.for_field(
                f"spec.{role}",
                str(size),
                f"is the size of pictures of the {role}, those of the data are {wanted}",
                f"encode the data at {size}, or name a {role} that was trained at {wanted}",
            )


def _without_alpha(size: PictureSize) -> PictureSize:
    """Judges look at the colours alone, and at whatever was left of a picture."""
    return PictureSize(size.height, size.width, min(size.channels, 3))


def request(item: Item, run: Run) -> SampleImage:
    """What the model can be asked for: a class, a caption or nothing."""
    named = {"class": item["class"], "text": item["caption"] or item["class"]}
    asked = named.get(run.material.model.condition, "")
    steps, guidance = int(run.number("steps")), run.number("guidance")
    return SampleImage(asked, item["seed"], steps, guidance, str(run.options["solver"]))


def real(images: EncodedImages, split: str, most: int = 0) -> Sequence[Embed]:
    """The first pictures of a split, as a judge is asked about them; 0 takes all."""
    pixels_NCHW = images.pixels(split)
    return [Embed(image=png(picture)) for picture in pixels_NCHW[: most or None]]


def png(pixels_CHW: npt.NDArray[np.uint8]) -> bytes:
    """A picture of an encoded dataset as a file."""
    return encode_png(np.ascontiguousarray(np.moveaxis(pixels_CHW, 0, 2)))
