"""What training may rely on when it reads batches of pictures."""

import json
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from vermeil_data import (
    EncodedImages,
    ImageBatch,
    ImageEncoding,
    ImageLoader,
    ImageLoaderState,
    Sample,
    TokenizerSpec,
    encode_images,
    fit_tokenizer,
    open_dataset,
    write_dataset,
)
from vermeil_data.image_loader import Condition
from vermeil_data.testing import encoded_pictures, picture_samples
from vermeil_errors import Conflict, InvalidInput, NotFound

NUM = 37
CONDITIONS: tuple[Condition, ...] = ("none", "class", "caption")
every_condition = pytest.mark.parametrize("condition", CONDITIONS)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> EncodedImages:
    folder = tmp_path_factory.mktemp("pictures")
    return encoded_pictures(folder, {"train": NUM}, ImageEncoding(8, 8), TokenizerSpec("byte"))


def take(loader: ImageLoader, count: int) -> list[ImageBatch]:
    return list(islice(loader, count))


def same(one: ImageBatch, two: ImageBatch) -> bool:
    return all(
        (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))
        for a, b in zip(one, two, strict=True)
    )


def numbers(encoded: EncodedImages, batches: list[ImageBatch]) -> list[int]:
    """Which pictures these are."""
    known = {picture.tobytes(): index for index, picture in enumerate(encoded.pixels("train"))}
    return [known[picture.numpy().tobytes()] for batch in batches for picture in batch.pixels_BCHW]


@every_condition
def test_batches_are_contiguous_and_of_static_shape(shapes: EncodedImages, condition: Condition) -> None:
    loader = ImageLoader(shapes, "train", 4, 0, condition=condition, max_caption_tokens=10)
    for batch in take(loader, 3 * loader.batches_per_epoch):
        assert (batch.pixels_BCHW.shape, batch.pixels_BCHW.dtype) == ((4, 3, 8, 8), torch.uint8)
        assert batch.pixels_BCHW.is_contiguous()
        assert (batch.classes_B is None) == (condition != "class")
        assert (batch.captions_BL is None) == (batch.caption_lengths_B is None) == (condition != "caption")
        if batch.captions_BL is not None:
            assert (batch.captions_BL.shape, batch.captions_BL.dtype) == ((4, 10), torch.int64)


def test_every_picture_comes_once_an_epoch_in_ever_new_orders(shapes: EncodedImages) -> None:
    seen = numbers(shapes, take(ImageLoader(shapes, "train", 5, 0), 3 * NUM))
    epochs = [seen[start : start + NUM] for start in range(0, len(seen), NUM)]
    assert len(epochs) == 15
    assert all(sorted(epoch) == list(range(NUM)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 15


@every_condition
def test_the_same_seed_gives_the_same_batches_and_another_seed_others(
    shapes: EncodedImages, condition: Condition
) -> None:
    one, again, other = (
        take(ImageLoader(shapes, "train", 4, seed, condition=condition, flip=True), 30) for seed in (1, 1, 2)
    )
    assert all(map(same, one, again))
    assert not any(map(same, one, other))


@every_condition
@pytest.mark.parametrize("after", [0, 1, 9, 10, 400])
def test_a_restored_loader_goes_on_exactly(shapes: EncodedImages, condition: Condition, after: int) -> None:
    def loader() -> ImageLoader:
        return ImageLoader(shapes, "train", 4, 3, condition=condition, flip=True)

    first = loader()
    take(first, after)
    state = json.loads(json.dumps(first.state().to_dict()))
    resumed = loader()
    take(resumed, 5)
    resumed.restore(ImageLoaderState.from_dict(state))
    assert all(map(same, take(resumed, 40), take(first, 40)))
    assert resumed.state() == first.state()


@every_condition
def test_ranks_together_read_what_one_would_read(shapes: EncodedImages, condition: Condition) -> None:
    alone = take(ImageLoader(shapes, "train", 6, 0, condition=condition, flip=True), 40)
    ranks = [
        take(ImageLoader(shapes, "train", 2, 0, rank, 3, condition=condition, flip=True), 40)
        for rank in range(3)
    ]
    for step, batch in enumerate(alone):
        for index, expected in enumerate(batch):
            if expected is not None:
                parts = [batches[step][index] for batches in ranks]
                assert torch.equal(torch.cat([part for part in parts if part is not None]), expected)


def test_classes_and_captions_belong_to_their_pictures(shapes: EncodedImages) -> None:
    by_class = take(ImageLoader(shapes, "train", 4, 0, condition="class"), 40)
    expected = [shapes.classes("train")[number] for number in numbers(shapes, by_class)]
    assert (
        torch.cat([batch.classes_B for batch in by_class if batch.classes_B is not None]).tolist() == expected
    )
    assert shapes.tokenizer
    drawn = Counter[str]()
    samples = picture_samples(NUM)
    known = [{segment.text for segment in sample.segments[:-1]} for sample in samples]
    for batch in take(ImageLoader(shapes, "train", 4, 0, condition="caption", max_caption_tokens=20), 400):
        assert batch.captions_BL is not None
        assert batch.caption_lengths_B is not None
        rows = zip(numbers(shapes, [batch]), batch.captions_BL, batch.caption_lengths_B, strict=True)
        for number, ids, length in rows:
            text = shapes.tokenizer.decode(ids[:length].tolist())
            assert text in known[number]
            assert (ids[length:] == shapes.tokenizer.pad_id).all()
            drawn[f"{number % 3} {text.split()[0] == 'a'}"] += 1
    # Every caption has its turn about equally often: of three captions one begins with "a".
    assert 0.25 < drawn["2 True"] / (drawn["2 True"] + drawn["2 False"]) < 0.42


def test_long_captions_keep_their_first_tokens(shapes: EncodedImages) -> None:
    (batch,) = take(ImageLoader(shapes, "train", 8, 0, condition="caption", max_caption_tokens=3), 1)
    assert batch.caption_lengths_B is not None
    assert batch.caption_lengths_B.tolist() == [3] * 8


def test_a_picture_without_caption_has_length_zero(tmp_path: Path) -> None:
    samples = picture_samples(6)
    bare = Sample.of_image(samples[-1].segments[-1].data or b"", "image/png", id="bare")
    write_dataset(tmp_path / "raw", {"train": [*samples[:-1], bare]}, "some")
    raw = open_dataset(tmp_path / "raw")
    tokenizer = fit_tokenizer(raw, TokenizerSpec("byte"))
    encoded = encode_images(raw, ImageEncoding(8, 8), tmp_path / "out", tokenizer=tokenizer)
    batches = take(ImageLoader(encoded, "train", 6, 0, condition="caption"), 4)
    for batch in batches:
        assert batch.captions_BL is not None
        assert batch.caption_lengths_B is not None
        assert (batch.caption_lengths_B == 0).sum() == 1
        assert (batch.captions_BL[batch.caption_lengths_B == 0] == tokenizer.pad_id).all()


def test_flipping_mirrors_about_every_other_picture(shapes: EncodedImages) -> None:
    plain = take(ImageLoader(shapes, "train", 4, 0), 200)
    flipped = take(ImageLoader(shapes, "train", 4, 0, flip=True), 200)
    num_mirrored = 0
    for one, two in zip(plain, flipped, strict=True):
        for picture, other in zip(one.pixels_BCHW, two.pixels_BCHW, strict=True):
            mirrored = torch.equal(other, picture.flip(2))
            num_mirrored += mirrored
            assert mirrored or torch.equal(other, picture)
    assert 320 < num_mirrored < 480


@pytest.mark.parametrize("name", ["split", "seed", "condition", "num_images", "flip", "max_caption_tokens"])
def test_a_state_of_other_data_or_settings_is_refused(shapes: EncodedImages, name: str) -> None:
    loader = ImageLoader(shapes, "train", 4, seed=0)
    state = loader.state().to_dict() | {name: 7}
    with pytest.raises(Conflict, match=f"the checkpoint's loader had {name} 7"):
        loader.restore(ImageLoaderState.from_dict(state))


def test_something_else_is_not_taken_for_a_state() -> None:
    with pytest.raises(InvalidInput, match="not the state of an image loader"):
        ImageLoaderState.from_dict({"step": 3})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size = 0: must be at least 1"),
        ({"rank": 2, "world_size": 2}, "rank = 2: must be 0 to 1"),
        ({"condition": "mood"}, "condition = 'mood': is unknown; choose none, class or caption"),
        ({"max_caption_tokens": 0}, "max_caption_tokens = 0"),
    ],
)
def test_an_impossible_loader_is_refused(
    shapes: EncodedImages, arguments: dict[str, int], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        ImageLoader(shapes, "train", **{"batch_size": 4, "seed": 0, **arguments})  # type: ignore[arg-type]


def test_a_condition_that_the_data_lack_is_refused(tmp_path: Path) -> None:
    encoded = encoded_pictures(tmp_path, {"train": 4}, ImageEncoding(8, 8))
    with pytest.raises(InvalidInput, match="split 'train' has no captions with a tokenizer; choose class"):
        ImageLoader(encoded, "train", 4, 0, condition="caption")
    classes = np.array([0, 1, -1, 0])
    np.save(encoded.folder / "train-classes.npy", classes)
    with pytest.raises(InvalidInput, match="1 of the 4 pictures of 'train' have no class"):
        ImageLoader(encoded, "train", 4, 0, condition="class")
    with pytest.raises(NotFound, match="no split 'validation'"):
        ImageLoader(encoded, "validation", 4, 0)
