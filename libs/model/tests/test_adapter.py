import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from vermeil_errors import InvalidInput
from vermeil_model import (
    AdaptedModel,
    Adapter,
    AdapterConfig,
    PackedAdapter,
    PackedModel,
    TextModel,
    adapted,
    load_adapter,
    load_checkpoint,
    merged,
    save_adapter,
    save_checkpoint,
    save_merged,
)
from vermeil_model.adapter import ALL_TARGETS, TARGETS
from vermeil_model.adapter_files import ADAPTER_WEIGHTS
from vermeil_model.checkpoint import ADAPTER_CONFIG
from vermeil_model.testing import small_adapter, small_model, small_tokens

CHOICES = {
    "all": ALL_TARGETS,
    "attention": TARGETS["attention"],
    "feed-forward": TARGETS["feed_forward"],
    "queries and values": ("q_proj", "v_proj"),
    "up": ("up_proj",),
}


def by_hand(base: TextModel, adapter: Adapter) -> TextModel:
    """W + scale · B · A of every matrix, row by row of the parts, in float64."""
    model = small_model(**vars(base.config)).double()
    heads, keys = base.config.num_heads * base.config.head_width, base.config.num_key_value_heads
    keys *= base.config.head_width
    inner = base.config.feed_forward_width
    rows = {
        "q_proj": ("attention.qkv", 0, heads),
        "k_proj": ("attention.qkv", heads, heads + keys),
        "v_proj": ("attention.qkv", heads + keys, heads + 2 * keys),
        "o_proj": ("attention.output", 0, base.config.width),
        "gate_proj": ("feed_forward.gate_up", 0, inner),
        "up_proj": ("feed_forward.gate_up", inner, 2 * inner),
        "down_proj": ("feed_forward.down", 0, base.config.width),
    }
    for name, (narrow, wide) in adapter.differences.items():
        _, layer, target = name.split(".")
        matrix, start, end = rows[target]
        weight = model.get_parameter(f"layers.{layer}.{matrix}.weight").data
        weight[start:end] += (adapter.config.alpha / adapter.config.rank) * (wide.double() @ narrow.double())
    return model


@pytest.mark.parametrize("choice", CHOICES)
@torch.no_grad()
def test_adapted_merged_and_packed_models_compute_w_plus_scale_b_a(choice: str) -> None:
    tokens = small_tokens(2, 20)
    adapter = small_adapter(targets=CHOICES[choice])
    expected = by_hand(small_model(), adapter)(tokens).logits
    assert (expected - small_model().double()(tokens).logits).abs().max() > 0.05
    double = AdaptedModel.of(small_model().double(), adapter)
    torch.testing.assert_close(double(tokens).logits, expected, atol=1e-11, rtol=0)
    whole = merged(small_model().double(), adapter)
    torch.testing.assert_close(whole(tokens).logits, expected, atol=1e-11, rtol=0)
    single = AdaptedModel.of(small_model(), adapter)
    torch.testing.assert_close(single(tokens).logits.double(), expected, atol=2e-5, rtol=0)


@torch.no_grad()
def test_a_base_with_an_adapter_shares_its_weights_and_stays_as_it_was() -> None:
    base, tokens = small_model(), small_tokens(1, 9)
    before = base(tokens).logits
    packed = PackedAdapter(small_adapter(), PackedModel(base))
    both = adapted(base, packed.unpacked())
    torch.testing.assert_close(both(tokens).logits, merged(base, small_adapter())(tokens).logits)
    assert both.embedding.weight is base.embedding.weight
    assert torch.equal(base(tokens).logits, before)


@torch.no_grad()
def test_merging_leaves_the_base_as_it_was() -> None:
    base, tokens = small_model(), small_tokens(1, 9)
    before = base(tokens).logits
    merged(base, small_adapter())
    assert torch.equal(base(tokens).logits, before)


@torch.no_grad()
def test_a_fresh_adapter_changes_nothing() -> None:
    tokens = small_tokens(1, 9)
    assert torch.equal(
        AdaptedModel(small_model(), AdapterConfig(4))(tokens).logits, small_model()(tokens).logits
    )


def test_only_the_adapter_is_learned_and_all_of_it() -> None:
    model = AdaptedModel.of(small_model(), small_adapter())
    model(small_tokens(2, 9), targets_BT=small_tokens(2, 9, 1)).loss.backward()
    learned = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert learned == {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(learned) == 2 * 2 * len(ALL_TARGETS)
    assert all(".parts." in name for name in learned)
    adapter = model.adapter()
    assert adapter.num_parameters == sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_gradients_are_those_of_the_merged_weights() -> None:
    """dA = s·Bᵀ·dW and dB = s·dW·Aᵀ."""
    tokens, targets = small_tokens(2, 9), small_tokens(2, 9, 1)
    adapter = small_adapter()
    model = AdaptedModel.of(small_model().double(), adapter)
    model(tokens, targets_BT=targets).loss.backward()
    whole = merged(small_model().double(), adapter)
    whole(tokens, targets_BT=targets).loss.backward()
    scale = adapter.config.scale
    for name, learned in model.learned():
        if name.endswith("o_proj"):
            gradient = whole.layers[int(name.split(".")[1])].attention.output.weight.grad
            narrow, wide = (each.double() for each in adapter.differences[name])
            torch.testing.assert_close(learned.narrow_RI.grad, scale * wide.T @ gradient)
            torch.testing.assert_close(learned.wide_OR.grad, scale * gradient @ narrow.T)


@torch.no_grad()
def test_an_adapted_model_is_packed_merged() -> None:
    """Whoever takes its matrices gets whole ones."""
    model = AdaptedModel.of(small_model(), small_adapter())
    whole = merged(small_model(), small_adapter())
    mine, theirs = (PackedModel(each)._layers[0].qkv.apply(torch.eye(24)) for each in (model.text, whole))
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_saved_loads_the_same(tmp_path: Path, choice: str) -> None:
    adapter = small_adapter(targets=CHOICES[choice])
    save_adapter(tmp_path, adapter)
    loaded = load_adapter(tmp_path)
    assert (loaded.config, loaded.base) == (adapter.config, adapter.base)
    assert loaded.differences.keys() == adapter.differences.keys()
    for name, parts in adapter.differences.items():
        assert all(torch.equal(*pair) for pair in zip(parts, loaded.differences[name], strict=True))


@pytest.mark.parametrize(
    ("field", "value"),
    [("peft_type", "IA3"), ("use_dora", True), ("bias", "all"), ("rank_pattern", {"q_proj": 2})],
)
def test_what_is_no_plain_low_rank_difference_is_refused_by_name(
    tmp_path: Path, field: str, value: object
) -> None:
    save_adapter(tmp_path, small_adapter())
    path = tmp_path / ADAPTER_CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(InvalidInput, match=field):
        load_adapter(tmp_path)


def test_tensors_that_belong_nowhere_are_refused_by_name(tmp_path: Path) -> None:
    save_adapter(tmp_path, small_adapter())
    tensors = load_file(tmp_path / ADAPTER_WEIGHTS)
    save_file(
        tensors | {"base_model.model.lm_head.lora_A.weight": torch.zeros(1, 2)}, tmp_path / ADAPTER_WEIGHTS
    )
    with pytest.raises(InvalidInput, match="lm_head"):
        load_adapter(tmp_path)


def test_half_a_difference_is_refused(tmp_path: Path) -> None:
    save_adapter(tmp_path, small_adapter())
    tensors = load_file(tmp_path / ADAPTER_WEIGHTS)
    del tensors["base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"]
    save_file(tensors, tmp_path / ADAPTER_WEIGHTS)
    with pytest.raises(InvalidInput, match=r"layers\.1\.up_proj.*counterpart"):
        load_adapter(tmp_path)


@torch.no_grad()
def test_a_merged_folder_is_that_of_the_base_with_other_weights(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "base", small_model(), extra={"bos_token_id": 3})
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    save_adapter(tmp_path / "adapter", small_adapter())
    save_merged(tmp_path / "both", tmp_path / "base", tmp_path / "adapter")
    assert json.loads((tmp_path / "both" / "config.json").read_text())["bos_token_id"] == 3
    assert (tmp_path / "both" / "tokenizer.json").exists()
    tokens = small_tokens(1, 9)
    expected = merged(small_model(), small_adapter())(tokens).logits
    assert torch.equal(load_checkpoint(tmp_path / "both")(tokens).logits, expected)


def test_an_adapter_is_no_checkpoint(tmp_path: Path) -> None:
    save_adapter(tmp_path, small_adapter())
    with pytest.raises(InvalidInput, match="is an adapter, which is nothing without its base"):
        load_checkpoint(tmp_path)


def test_a_pickled_adapter_is_refused(tmp_path: Path) -> None:
    save_adapter(tmp_path, small_adapter())
    (tmp_path / ADAPTER_WEIGHTS).unlink()
    torch.save({}, tmp_path / "adapter_model.bin")
    with pytest.raises(InvalidInput, match="pickle"):
        load_adapter(tmp_path)


@pytest.mark.parametrize("change", [{"depth": 3}, {"width": 32}, {"feed_forward_width": 48}])
def test_a_base_of_other_sizes_is_refused(change: dict[str, int]) -> None:
    base = small_model(**change)
    with pytest.raises(InvalidInput, match="does not fit its base"):
        AdaptedModel.of(base, small_adapter())
    with pytest.raises(InvalidInput, match="does not fit its base"):
        merged(base, small_adapter())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"rank": 0}, "rank"),
        ({"alpha": 0.0}, "alpha"),
        ({"targets": ()}, "targets"),
        ({"targets": ("lm_head",)}, "lm_head"),
    ],
)
def test_wrong_settings_are_refused_by_field(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        AdapterConfig(**changes)  # type: ignore[arg-type]


def test_a_rank_that_is_not_low_is_refused() -> None:
    with pytest.raises(InvalidInput, match="rank = 16: is not below 16"):
        AdaptedModel(small_model(), AdapterConfig(16))
