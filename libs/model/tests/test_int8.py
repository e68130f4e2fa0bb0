"""Models in int8: what they compute, what they weigh on disk, and what is refused of their files."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from vermeil_errors import InvalidInput
from vermeil_model import (
    Decoder,
    PackedAdapter,
    PackedModel,
    Request,
    SamplingParameters,
    TextModel,
    adapted,
    int8_model,
    is_int8,
    load_checkpoint,
    merged,
    save_checkpoint,
    save_int8,
)
from vermeil_model.int8 import Int8Linear
from vermeil_model.int8_product import Int8Product, _FloatProduct, int8_product
from vermeil_model.testing import small_adapter, small_model, small_tokens

Tensors = dict[str, Tensor]
PRODUCTS = [int8_product, _FloatProduct]
LAYER = "text.layers.0.attention.qkv"


def small_int8() -> TextModel:
    model = small_model()
    int8_model(model)
    return model


def dequantized(model: TextModel) -> TextModel:
    """The same weights as floats of 64 bits."""
    weights = {}
    for name, module in model.named_modules():
        if isinstance(module, Int8Linear):
            weights[f"{name}.weight"] = module.dequantized()
    made = small_model().double()
    state = {name: value for name, value in model.state_dict().items() if "weight_scale" not in name}
    made.load_state_dict({**state, **weights})
    return made


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + shape[0]))


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_are_those_of_the_dequantized_matrix(product: Callable[..., Int8Product]) -> None:
    x_NI, linear = drawn(9, 200) * torch.logspace(-3, 3, 9)[:, None], Int8Linear.of(drawn(70, 200))
    exact_NO = x_NI.double() @ linear.dequantized().double().t()
    out_NO = product(linear.weight, linear.weight_scale)(x_NI)
    error_N = (out_NO - exact_NO).norm(dim=1) / exact_NO.norm(dim=1)
    assert float(error_N.max()) < 0.03


def test_whole_numbers_are_summed_exactly() -> None:
    numbers_NI = torch.randint(-63, 64, (5, 96), generator=torch.Generator().manual_seed(3))
    numbers_NI[:, 0] = 63
    linear = Int8Linear.of(drawn(40, 96))
    linear.weight_scale.data.fill_(1.0)
    out_NO = int8_product(linear.weight, linear.weight_scale)(numbers_NI.float())
    torch.testing.assert_close(out_NO, (numbers_NI @ linear.weight.long().t()).float())


@pytest.mark.parametrize("product", PRODUCTS)
def test_extremes_do_not_overflow_and_nothing_stays_nothing(product: Callable[..., Int8Product]) -> None:
    weight_OI, scale_O1 = torch.full((8, 64), 127, dtype=torch.int8), torch.ones(8, 1)
    x_NI = torch.stack((torch.ones(64), torch.zeros(64), torch.full((64,), -1e4)))
    out_NO = product(weight_OI, scale_O1)(x_NI)
    torch.testing.assert_close(out_NO[:, 0], torch.tensor([127.0 * 64, 0.0, -127.0 * 64 * 1e4]))


def test_a_row_is_the_same_in_any_company() -> None:
    linear, x_NI = Int8Linear.of(drawn(48, 32)), drawn(12, 32) * torch.logspace(-2, 2, 12)[:, None]
    together_NO = linear(x_NI)
    assert all(torch.equal(linear(x_NI[n : n + 1])[0], together_NO[n]) for n in range(12))


def test_rounding_is_to_the_nearest_and_zeros_stay_zeros() -> None:
    weight_OI = drawn(6, 20)
    weight_OI[2] = 0
    linear = Int8Linear.of(weight_OI)
    half_step_O1 = weight_OI.abs().amax(1, keepdim=True) / 127 / 2
    assert bool(((linear.dequantized() - weight_OI).abs() <= half_step_O1 * 1.0001).all())


def test_logits_are_close_to_those_of_the_dequantized_model() -> None:
    model, tokens_BT = small_int8(), small_tokens(3, 12)
    with torch.no_grad():
        found, exact = model(tokens_BT).logits, dequantized(model)(tokens_BT).logits
    assert found is not None
    assert exact is not None
    assert float((found - exact).norm() / exact.norm()) < 0.05


def test_greedy_answers_in_a_batch_are_those_of_the_naive_forward() -> None:
    model, lengths = small_int8(), (1, 5, 9, 3)
    prompts = [small_tokens(1, length, start=length)[0].tolist() for length in lengths]
    decoder = Decoder(PackedModel(model), num_slots=3)
    greedy = SamplingParameters(temperature=0, max_tokens=12)
    numbers = decoder.add([Request(prompt, greedy) for prompt in prompts[:3]])
    said: dict[int, list[int]] = {number: [] for number in numbers}
    while decoder.sequences:
        for event in decoder.step():
            said[event.sequence].append(event.token)
    assert [said[number] for number in numbers] == [naive(model, prompt, 12) for prompt in prompts[:3]]


def test_an_adapter_over_them_answers_alone_and_decoded_alike() -> None:
    model, adapter, prompt = small_int8(), small_adapter(), small_tokens(1, 6)[0].tolist()
    packed = PackedModel(model)
    request = Request(
        prompt, SamplingParameters(temperature=0, max_tokens=10), adapter=PackedAdapter(adapter, packed)
    )
    decoder = Decoder(packed, num_slots=1)
    decoder.add([request])
    said = []
    while decoder.sequences:
        said += [event.token for event in decoder.step()]
    assert said == naive(adapted(model, adapter), prompt, 10)
    assert said != naive(model, prompt, 10)
    with pytest.raises(InvalidInput, match="is in int8, which does not change"):
        merged(model, adapter)


def test_a_folder_becomes_int8_with_all_else_that_is_in_it(tmp_path: Path) -> None:
    base, folder = tmp_path / "base", tmp_path / "int8"
    save_checkpoint(base, small_model(), extra={"bos_token_id": 3})
    (base / "tokenizer.json").write_text("{}")
    save_int8(folder, base)
    assert {path.name for path in folder.iterdir()} == {path.name for path in base.iterdir()}
    assert json.loads((folder / "config.json").read_text())["bos_token_id"] == 3
    with torch.no_grad():
        tokens_BT = small_tokens(2, 7)
        assert torch.equal(load_checkpoint(folder)(tokens_BT).logits, small_int8()(tokens_BT).logits)
    with pytest.raises(InvalidInput, match=r"base = .*is in int8, which does not change"):
        save_int8(tmp_path / "again", folder)


@torch.no_grad()
def naive(model: TextModel, prompt: Sequence[int], num_tokens: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(num_tokens):
        logits = model(torch.tensor([tokens])).logits
        assert logits is not None
        tokens.append(int(logits[0, -1].argmax()))
    return tokens[len(prompt) :]


def test_a_checkpoint_holds_them_as_compressed_tensors_does(tmp_path: Path) -> None:
    model = small_int8()
    save_checkpoint(tmp_path, model)
    tensors, config = (
        load_file(tmp_path / "model.safetensors"),
        json.loads((tmp_path / "config.json").read_text()),
    )
    weight, scale = tensors[f"{LAYER}.weight"], tensors[f"{LAYER}.weight_scale"]
    assert (weight.dtype, scale.dtype, tuple(scale.shape)) == (torch.int8, torch.float32, (len(weight), 1))
    quantization = config["quantization_config"]
    assert (quantization["quant_method"], quantization["format"]) == ("compressed-tensors", "int-quantized")
    assert quantization["config_groups"]["group_0"]["weights"]["strategy"] == "channel"
    loaded = load_checkpoint(tmp_path)
    assert is_int8(loaded)
    with torch.no_grad():
        for form in (torch.float32, torch.bfloat16):
            again = load_checkpoint(tmp_path, dtype=form)
            assert again.embedding.weight.dtype == form
            assert again.layers[0].get_parameter("attention.qkv.weight_scale").dtype == torch.float32
        assert torch.equal(loaded(small_tokens(2, 7)).logits, model(small_tokens(2, 7)).logits)


def test_matrices_take_a_quarter_of_the_room(tmp_path: Path) -> None:
    sizes = []
    for number, model in enumerate((small_model(width=256, feed_forward_width=512), None)):
        folder = tmp_path / str(number)
        made = model or small_model(width=256, feed_forward_width=512)
        if model is None:
            int8_model(made)
        save_checkpoint(folder, made)
        tensors = load_file(folder / "model.safetensors")
        sizes.append(sum(t.nbytes for n, t in tensors.items() if ".layers." in n and "norm" not in n))
    assert 0.25 <= sizes[1] / sizes[0] < 0.27


def change(tensors: Tensors, name: str, value: Tensor | None) -> None:
    tensors.pop(name)
    if value is not None:
        tensors[name] = value


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (f"{LAYER}.weight_scale", None, f"{LAYER}.weight_scale is missing"),
        (f"{LAYER}.weight_scale", torch.ones(3, 1), r"has shape \(3, 1\), expected \(64, 1\)"),
        (f"{LAYER}.weight_scale", torch.zeros(64, 1), "has 64 scales that are not above 0"),
        (f"{LAYER}.weight_scale", torch.full((64, 1), torch.nan), "has 64 scales that are not above 0"),
        (f"{LAYER}.weight", torch.ones(64, 24), f"{LAYER}.weight is float32, and has a scale as int8 has"),
    ],
)
def test_broken_scales_and_weights_are_refused_by_name(
    tmp_path: Path, name: str, value: Tensor | None, said: str
) -> None:
    save_checkpoint(tmp_path, small_int8())
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors, name, value)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InvalidInput, match=said) as refused:
        load_checkpoint(tmp_path)
    assert name in {violation.field for violation in refused.value.violations}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "pack-quantized"),
        (("quant_method",), "gptq"),
        (("config_groups", "group_0", "weights", "num_bits"), 4),
        (("config_groups", "group_0", "weights", "strategy"), "group"),
        (("config_groups",), {}),
    ],
)
def test_other_schemes_are_refused_by_their_field(
    tmp_path: Path, path: tuple[str, ...], value: object
) -> None:
    save_checkpoint(tmp_path, small_int8())
    config = json.loads((tmp_path / "config.json").read_text())
    place = config["quantization_config"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInput, match=r"quantization_config\..*is not read"):
        load_checkpoint(tmp_path)


def test_a_model_of_floats_says_nothing_of_int8(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, small_model())
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    assert not is_int8(load_checkpoint(tmp_path))


def test_the_head_and_the_embedding_stay_floats() -> None:
    model = small_model(tie_embeddings=False)
    before = model.readout_weight.clone()
    int8_model(model)
    assert torch.equal(model.readout_weight, before)
    hidden = drawn(2, 24)
    assert torch.equal(model.readout(hidden), functional.linear(hidden, before))
