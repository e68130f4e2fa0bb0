import dataclasses
import json

import pytest
from vermeil_errors import InvalidInput
from vermeil_model import SIZES, ModelConfig, RopeScaling, count_parameters
from vermeil_model.testing import SMALL


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_key_value_heads": 3}, "does not divide num_heads"),
        ({"head_width": 7}, "odd"),
        ({"depth": 0}, "positive whole number"),
        ({"vocab_size": 2.5}, "positive whole number"),
        ({"context_length": "long"}, "positive whole number"),
        ({"width": True}, "positive whole number"),
        ({"rope_theta": -1.0}, "positive number"),
        ({"norm_epsilon": 0}, "positive number"),
        ({"qk_norm": "yes"}, "true or false"),
    ],
)
def test_an_impossible_size_is_refused_by_name(change: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as caught:
        dataclasses.replace(SMALL, **change)
    assert caught.value.field == next(iter(change))
    assert caught.value.fix


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(InvalidInput, match="does not divide width") as caught:
        ModelConfig.from_depth(4, 65, width=128, num_heads=5)
    assert caught.value.field == "num_heads"


def test_heads_of_a_given_width_need_not_fill_the_model() -> None:
    config = ModelConfig.from_depth(4, 65, width=96, num_heads=4, head_width=64)
    assert (config.num_heads, config.head_width) == (4, 64)
    assert ModelConfig.from_depth(4, 65, width=96, head_width=32).num_heads == 3


def test_a_config_survives_json() -> None:
    scaling = RopeScaling(
        factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context_length=8192
    )
    config = dataclasses.replace(SMALL, rope_scaling=scaling, tie_embeddings=False)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_missing_and_malformed_keys_are_refused_by_name() -> None:
    values = SMALL.to_dict()
    with pytest.raises(InvalidInput, match="Did you mean num_heads"):
        ModelConfig.from_dict(values | {"num_head": 4})
    with pytest.raises(InvalidInput, match="missing") as caught:
        ModelConfig.from_dict({name: value for name, value in values.items() if name != "width"})
    assert caught.value.field == "width"
    with pytest.raises(InvalidInput, match="not a table"):
        ModelConfig.from_dict(values | {"rope_scaling": 8})
    with pytest.raises(InvalidInput, match="below 1"):
        RopeScaling(0.5, 1.0, 4.0, 8192)


@pytest.mark.parametrize(
    ("name", "vocab_size", "millions"),
    [
        ("nano", 4096, 4.3),
        ("tiny", 4096, 12.2),
        ("small", 32768, 110),
        ("base", 32768, 1306),
        ("large", 32768, 6565),
    ],
)
def test_presets_have_the_size_they_promise(name: str, vocab_size: int, millions: float) -> None:
    config = ModelConfig.from_size(name, vocab_size)
    assert count_parameters(config).total / 1e6 == pytest.approx(millions, rel=0.02)
    assert (config.depth, config.context_length) == SIZES[name]


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="nano, tiny, small, base, large"):
        ModelConfig.from_size("gigantic", 256)
