"""A dataset's folder made ready for a run by hand: opened if it is encoded, else encoded under the run's."""

import hashlib
from pathlib import Path

from vermeil_data import (
    Dataset,
    ImageEncoding,
    TextTokenizer,
    TokenizerSpec,
    encode_dataset,
    encode_images,
    fit_tokenizer,
    open_dataset,
)
from vermeil_data.card import CARD_FILE
from vermeil_errors import InvalidInput
from vermeil_training import World

from vermeil_trainer.learning import LEARNING
from vermeil_trainer.model_folder import Data
from vermeil_trainer.recipe import Recipe
from vermeil_trainer.task_rules import uses_captions


def prepare(recipe: Recipe, folder: Path, output: Path, initial: Path | None, world: World) -> Data:
    """Open an encoded dataset, or encode a raw one under `output` unless that has been done."""
    task = LEARNING[recipe.task]
    raw = _raw(folder)
    if raw is None:
        return task.open(folder)  # type: ignore[no-any-return]
    made_of = f"{recipe.task} {_image_encoding(recipe)} {initial or _tokenizer_spec(recipe)}"
    digest = hashlib.sha256((folder / CARD_FILE).read_bytes() + made_of.encode())
    encoded = output / f"encoded-{digest.hexdigest()[:12]}"
    if world.leads and not (encoded / CARD_FILE).is_file():
        # The card is written last: what has none is not whole.
        _encode(recipe, raw, encoded, initial)
    world.wait()
    return task.open(encoded)  # type: ignore[no-any-return]


def _raw(folder: Path) -> Dataset | None:
    """The raw dataset in a folder, if it is one."""
    try:
        return open_dataset(folder)
    except InvalidInput:
        return None


def _encode(recipe: Recipe, raw: Dataset, folder: Path, initial: Path | None) -> None:
    tokenizer = None
    if recipe.task == "text" or uses_captions(recipe):
        tokenizer = TextTokenizer.load(initial) if initial else fit_tokenizer(raw, _tokenizer_spec(recipe))
    if recipe.task == "text":
        assert tokenizer is not None
        encode_dataset(raw, tokenizer, folder)
    else:
        encode_images(raw, _image_encoding(recipe), folder, tokenizer=tokenizer)


def _tokenizer_spec(recipe: Recipe) -> TokenizerSpec:
    tokenizer = recipe.data.tokenizer
    return TokenizerSpec(tokenizer.kind, tokenizer.vocab_size)  # type: ignore[arg-type]


def _image_encoding(recipe: Recipe) -> ImageEncoding:
    image = recipe.image
    # The recipe's rules allow no others.
    return ImageEncoding(image.image_height, image.image_width, image.channels, image.fit)  # type: ignore[arg-type]
