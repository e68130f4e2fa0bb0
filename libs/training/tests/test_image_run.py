"""Pictures go through the same loop as text: counted as images, resumed exactly, shown as they get better."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from vermeil_data import EncodedImages, ImageEncoding, ImageLoader
from vermeil_data.testing import encoded_pictures
from vermeil_model import ImageConfig, ImageModel
from vermeil_training import (
    Progress,
    TrainingConfig,
    TrainResult,
    evaluate_loss,
    fit,
    image_flow_loss,
    make_state,
    read_metrics,
)
from vermeil_training.testing import same_weights

Configure = Callable[..., TrainingConfig]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> EncodedImages:
    folder = tmp_path_factory.mktemp("pictures")
    return encoded_pictures(folder, {"train": 30, "validation": 9}, ImageEncoding(8, 8, 3))


def _model() -> ImageModel:
    return ImageModel(
        ImageConfig.from_depth(
            2,
            width=32,
            num_heads=2,
            image_height=8,
            image_width=8,
            channels=3,
            patch_size=4,
            condition="class",
            num_classes=3,
        )
    )


def _run(
    pictures: EncodedImages, config: TrainingConfig, folder: Path, **options: object
) -> tuple[TrainResult, ImageModel]:
    model = _model()
    loaders = [ImageLoader(pictures, split, 4, 7, condition="class") for split in ("train", "validation")]
    result = fit(config, model, *loaders, folder, objective=image_flow_loss, unit="images", **options)  # type: ignore[arg-type]
    return result, model


def test_pictures_are_counted_as_images_in_log_and_progress(
    pictures: EncodedImages, config: TrainingConfig, tmp_path: Path
) -> None:
    told: list[Progress] = []
    result, _ = _run(pictures, config, tmp_path, on_progress=told.append)
    last = [line for line in read_metrics(tmp_path) if "loss" in line][-1]
    assert last["images"] == result.items == 12 * 2 * 4
    assert last["images_per_second"] > 0
    assert "tokens" not in last
    assert (told[-1].unit, told[-1].items) == ("images", result.items)
    assert result.validation_loss is not None


def test_a_stopped_image_run_goes_on_to_the_same_bits(
    pictures: EncodedImages, config: TrainingConfig, tmp_path: Path
) -> None:
    _, whole = _run(pictures, config, tmp_path / "whole")
    calls = iter(range(1000))
    part, _ = _run(pictures, config, tmp_path / "parts", should_stop=lambda: next(calls) == 15)
    assert not part.finished
    _, rest = _run(pictures, config, tmp_path / "parts")
    assert same_weights(whole, rest)


def test_the_flow_loss_is_validated_on_the_same_noise_every_time(
    pictures: EncodedImages, with_run: Configure
) -> None:
    state = make_state(with_run(), _model())
    batches = ImageLoader(pictures, "validation", 4, 7, condition="class")
    first, second = (evaluate_loss(state, batches, 2, image_flow_loss) for _ in range(2))
    assert first == second


def test_after_each_validation_the_averaged_weights_are_shown(
    pictures: EncodedImages, with_run: Configure, tmp_path: Path
) -> None:
    seen: dict[int, torch.Tensor] = {}
    models: list[ImageModel] = []

    def look(step: int) -> None:
        seen[step] = models[0].position.detach().clone()
        assert not models[0].training

    model = _model()
    models.append(model)
    loaders = [ImageLoader(pictures, split, 4, 7, condition="class") for split in ("train", "validation")]
    fit(
        with_run(ema_decay=0.9),
        model,
        *loaders,
        tmp_path,
        objective=image_flow_loss,
        unit="images",
        on_validation=look,
    )
    assert sorted(seen) == [5, 10, 12]
    assert torch.equal(seen[12], model.position)
