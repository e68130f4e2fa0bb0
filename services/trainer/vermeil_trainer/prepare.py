"""A dataset's folder made ready for a run by hand: opened if it is encoded, else encoded under the run's."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from vermeil_data import (
    Dataset,
    ImageEncoding,
    TextTokenizer,
    TokenizerSpec,
    encode_dataset,
    encode_images,
    encode_samples,
    fit_tokenizer,
    open_dataset,
)
from vermeil_data.card import CARD_FILE
from vermeil_errors import InvalidInput
from vermeil_model import FusedModel, ImageConfig, ImageModel, read_config
from vermeil_training import World

from vermeil_trainer.learning import LEARNING
from vermeil_trainer.model_folder import Data
from vermeil_trainer.recipe import ImageSpec, Recipe
from vermeil_trainer.task_rules import uses_captions


def prepare(
    recipe: Recipe, folders: Mapping[str, Path], output: Path, tokenizer: Path | None, world: World
) -> Data:
    """Open encoded datasets, or encode raw ones under `output` unless that has been done.

    `folders` are those of the recipe's sources, or one without a name; `tokenizer` is that of the model
    to go on from, if there is one.
    """
    encoded = {name: _encoded(recipe, folder, output, tokenizer, world) for name, folder in folders.items()}
    return LEARNING[recipe.task].open(recipe, encoded)  # type: ignore[no-any-return]


def _encoded(recipe: Recipe, folder: Path, output: Path, initial: Path | None, world: World) -> Path:
    raw = _raw(folder)
    if raw is None:
        return folder
    made_of = f"{recipe.task} {_image_encoding(recipe)} {initial or _tokenizer_spec(recipe)}"
    digest = hashlib.sha256((folder / CARD_FILE).read_bytes() + made_of.encode())
    encoded = output / f"encoded-{digest.hexdigest()[:12]}"
    if world.leads and not (encoded / CARD_FILE).is_file():
        # The card is written last: what has none is not whole.
        _encode(recipe, raw, encoded, initial)
    world.wait()
    return encoded


def _raw(folder: Path) -> Dataset | None:
    """The raw dataset in a folder, if it is one."""
    try:
        return open_dataset(folder)
    except InvalidInput:
        return None


def _encode(recipe: Recipe, raw: Dataset, folder: Path, initial: Path | None) -> None:
    if recipe.task == "fusion":
        assert initial is not None  # the text backbone, or a fused model
        encode_samples(raw, _image_encoding(recipe), TextTokenizer.load(initial), folder)
        return
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
    image: ImageSpec | ImageConfig = recipe.image
    if recipe.model.initial and recipe.task == "fusion":
        folder = Path(recipe.model.initial).expanduser()
        image = read_config(folder, FusedModel).image  # type: ignore[arg-type,attr-defined]  # it is abstract
    elif recipe.task == "fusion":
        image = read_config(Path(recipe.fusion.image).expanduser(), ImageModel)
    # The recipe's rules allow no others.
    return ImageEncoding(image.image_height, image.image_width, image.channels, recipe.image.fit)  # type: ignore[arg-type]
