import dataclasses
import json
from pathlib import Path

import pytest
import torch
from vermeil_errors import InvalidInput
from vermeil_model import (
    ClassifierConfig,
    ImageClassifier,
    classification_loss,
    load_checkpoint,
    save_checkpoint,
)
from vermeil_model.image_classifier import shifted

SMALL = ClassifierConfig(image_height=12, image_width=8, channels=3, num_classes=4, width=8)


def images(count: int) -> torch.Tensor:
    return torch.sin(torch.arange(count * 3 * 12 * 8) * 0.37).reshape(count, 3, 12, 8)


@torch.no_grad()
def test_logits_are_those_of_the_features_and_a_picture_is_judged_by_itself() -> None:
    model = ImageClassifier(SMALL)
    features, logits = model.features(images(5)), model.logits(images(5))
    assert features.shape == (5, SMALL.num_features)
    assert logits.shape == (5, 4)
    torch.testing.assert_close(model.logits_of(features), logits)
    torch.testing.assert_close(model(images(5)), logits)
    torch.testing.assert_close(model.features(images(5)[3:4]), features[3:4], atol=1e-5, rtol=0)


def test_a_saved_classifier_judges_the_same_when_loaded(tmp_path: Path) -> None:
    model = ImageClassifier(SMALL).to(torch.bfloat16)
    save_checkpoint(tmp_path, model, extra={"accuracy": 0.9})
    loaded = load_checkpoint(tmp_path, ImageClassifier)
    assert torch.equal(loaded(images(3)), model(images(3)))
    assert loaded(images(3)).dtype == torch.float32
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "vermeil-classifier"


def test_pictures_are_shifted_each_its_own_way_with_their_edges_drawn_out() -> None:
    pictures = images(40)
    moved = shifted(pictures, torch.Generator().manual_seed(0), most=2)
    padded = torch.nn.functional.pad(pictures, (2, 2, 2, 2), mode="replicate")
    found = []
    for picture, around in zip(moved, padded, strict=True):
        offsets = [(y, x) for y in range(5) for x in range(5)]
        found.append([o for o in offsets if torch.equal(picture, around[:, o[0] :, o[1] :][:, :12, :8])])
    assert all(len(matches) == 1 for matches in found)
    assert len({matches[0] for matches in found}) > 10
    assert shifted(pictures, torch.Generator(), most=0) is pictures


def test_it_learns_to_tell_bright_from_dark() -> None:
    model = ImageClassifier(dataclasses.replace(SMALL, num_classes=2))
    classes = torch.tensor([0, 1]).repeat(16)
    pictures = images(32) * 0.3 + (classes * 1.0 - 0.5)[:, None, None, None]
    optimizer, generator = torch.optim.AdamW(model.parameters(), lr=3e-3), torch.Generator().manual_seed(0)
    for _ in range(15):
        loss = classification_loss(model, pictures, classes, generator, smoothing=0.0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (model(pictures).argmax(1) == classes).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_height": 4}, "too small to halve"),
        ({"width": 12}, "no multiple of 8"),
        ({"num_classes": 0}, "positive whole number"),
        ({"num_blocks": 1.5}, "positive whole number"),
    ],
)
def test_an_impossible_size_is_refused_by_name(change: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        dataclasses.replace(SMALL, **change)
    assert caught.value.field == next(iter(change))
    assert caught.value.fix


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(InvalidInput, match="use a classifier of their size"):
        ImageClassifier(SMALL).features(torch.zeros(1, 1, 12, 8))
