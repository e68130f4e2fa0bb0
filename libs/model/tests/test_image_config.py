import dataclasses
import json

import pytest
from vermeil_errors import InvalidInput
from vermeil_model import ImageConfig, ImageModel, count_parameters
from vermeil_model.testing import BY_CLASS, BY_TEXT, SMALL_IMAGE, small_image_model


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_height": 13}, "no multiple of patch_size"),
        ({"image_width": 6}, "no multiple of patch_size"),
        ({"channels": 0}, "positive whole number"),
        ({"patch_size": "4"}, "positive whole number"),
        ({"depth": 0}, "positive whole number"),
        ({"num_key_value_heads": 3}, "does not divide num_heads"),
        ({"head_width": 7}, "odd"),
        ({"adaln": 1}, "true or false"),
        ({"pool_condition": "no"}, "true or false"),
        ({"rope_theta": 0}, "positive number"),
        ({"condition": "sound"}, "no kind of condition"),
        ({"num_classes": 10}, "has no meaning with condition 'none'"),
        ({"context_length": 4}, "has no meaning with condition 'none'"),
        ({"num_classes": 0, "condition": "class", "context_length": 4}, "needs 1 or more"),
        ({"vocab_size": 9} | BY_CLASS, "has no meaning with condition 'class'"),
        ({"context_length": 0, "condition": "text", "vocab_size": 9}, "needs 1 or more"),
    ],
)
def test_an_impossible_size_is_refused_by_name(change: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        dataclasses.replace(SMALL_IMAGE, **change)
    assert caught.value.field == next(iter(change))
    assert caught.value.fix


@pytest.mark.parametrize("changes", [{}, BY_CLASS, BY_TEXT, {"adaln": True}])
def test_a_config_survives_json(changes: dict[str, object]) -> None:
    config = dataclasses.replace(SMALL_IMAGE, **changes)
    assert ImageConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_and_missing_keys_are_refused_by_name() -> None:
    values = SMALL_IMAGE.to_dict()
    with pytest.raises(InvalidInput, match="Did you mean patch_size"):
        ImageConfig.from_dict(values | {"patchsize": 4})
    with pytest.raises(InvalidInput, match="missing") as caught:
        ImageConfig.from_dict({name: value for name, value in values.items() if name != "channels"})
    assert caught.value.field == "channels"


def test_sizes_follow_from_depth_as_those_of_the_text_tower() -> None:
    sizes = {"image_height": 32, "image_width": 32, "channels": 3, "patch_size": 4}
    config = ImageConfig.from_size("nano", condition="class", num_classes=10, **sizes)
    assert (config.depth, config.width, config.head_width, config.num_patches) == (4, 256, 64, 64)
    assert (config.context_length, config.num_condition_rows) == (4, 40)
    assert not config.adaln
    assert ImageConfig.from_size("small", **sizes).adaln
    with pytest.raises(InvalidInput, match="nano, tiny, small"):
        ImageConfig.from_size("gigantic", **sizes)


def test_the_layers_are_those_of_a_text_tower_of_these_sizes() -> None:
    model = small_image_model()
    in_layers = sum(weight.numel() for weight in model.layers.parameters()) + model.norm.weight.numel()
    assert in_layers == count_parameters(SMALL_IMAGE.tower).layers


def test_a_fresh_model_predicts_nothing_and_weights_follow_from_the_seed() -> None:
    first, second = ImageModel(SMALL_IMAGE), ImageModel(SMALL_IMAGE)
    for (name, weight), other in zip(first.named_parameters(), second.parameters(), strict=True):
        assert weight.equal(other), name
    assert not first.head.weight.any()
