"""The network against a plain float64 reading of the equations, loops and all."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from vermeil_model import RopeScaling, TextModel
from vermeil_model.attention import CausalAttention, _attend_by_products
from vermeil_model.cross_entropy import readout_losses
from vermeil_model.rms_norm import TrainableRMSNorm
from vermeil_model.rotary import inverse_frequencies
from vermeil_model.swiglu import TrainableSwiGLU
from vermeil_model.testing import SMALL, small_model, small_tokens


def norm(x: np.ndarray, weight: np.ndarray, epsilon: float) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * weight


def turn(head: np.ndarray, position: int, theta: float) -> np.ndarray:
    half = len(head) // 2
    turned = head.copy()
    for pair in range(half):
        angle = position * theta ** (-2 * pair / len(head))
        first, second = head[pair], head[pair + half]
        turned[pair] = first * math.cos(angle) - second * math.sin(angle)
        turned[pair + half] = second * math.cos(angle) + first * math.sin(angle)
    return turned


def attention(layer: dict[str, np.ndarray], x: np.ndarray, model: TextModel) -> np.ndarray:
    config = model.config
    heads = (x @ layer["attention.qkv.weight"].T).reshape(len(x), -1, config.head_width)
    num_turning = config.num_heads + config.num_key_value_heads
    for position in range(len(x)):
        for head in range(num_turning):
            name = "query" if head < config.num_heads else "key"
            value = heads[position, head]
            if config.qk_norm:
                value = norm(value, layer[f"attention.{name}_norm.weight"], config.norm_epsilon)
            heads[position, head] = turn(value, position, config.rope_theta)
    out = np.zeros((len(x), config.num_heads, config.head_width))
    group = config.num_heads // config.num_key_value_heads
    for query in range(len(x)):
        for head in range(config.num_heads):
            keys = heads[: query + 1, config.num_heads + head // group]
            values = heads[: query + 1, num_turning + head // group]
            scores = keys @ heads[query, head] / math.sqrt(config.head_width)
            shares = np.exp(scores - scores.max())
            out[query, head] = shares @ values / shares.sum()
    return out.reshape(len(x), -1) @ layer["attention.output.weight"].T


def reference_logits(model: TextModel, tokens: list[int]) -> np.ndarray:
    weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    x = weights["embedding.weight"][tokens]
    for index in range(model.config.depth):
        prefix = f"layers.{index}."
        layer = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
        x = x + attention(layer, norm(x, layer["attention_norm.weight"], 1e-6), model)
        inside = norm(x, layer["feed_forward_norm.weight"], 1e-6) @ layer["feed_forward.gate_up.weight"].T
        gate, up = np.split(inside, 2, axis=-1)
        x = x + (gate / (1 + np.exp(-gate)) * up) @ layer["feed_forward.down.weight"].T
    return norm(x, weights["norm.weight"], 1e-6) @ weights.get("head.weight", weights["embedding.weight"]).T


@pytest.mark.parametrize("changes", [{}, {"qk_norm": False, "tie_embeddings": False, "rope_theta": 500.0}])
@torch.no_grad()
def test_logits_are_those_of_the_equations(changes: dict[str, object]) -> None:
    model = small_model(**changes)
    tokens = small_tokens(1, 17)
    logits = model(tokens).logits
    assert logits is not None
    np.testing.assert_allclose(logits[0], reference_logits(model, tokens[0].tolist()), atol=1e-5)


def test_llama_3_scaling_stretches_slow_frequencies_and_keeps_quick_ones() -> None:
    scaling = RopeScaling(
        factor=4.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context_length=64
    )
    config = dataclasses.replace(SMALL, head_width=16)
    plain = inverse_frequencies(config)
    scaled = inverse_frequencies(dataclasses.replace(config, rope_scaling=scaling))
    assert scaled[0] == pytest.approx(plain[0])
    assert scaled[-1] == pytest.approx(plain[-1] / 4)
    assert torch.all(scaled <= plain * 1.0001)
    assert torch.all(scaled >= plain / 4 * 0.9999)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_reach_every_weight(dtype: torch.dtype) -> None:
    model = small_model(tie_embeddings=False).to(dtype)
    loss = model(small_tokens(2, 9), targets_BT=small_tokens(2, 9, start=1)).loss
    assert loss is not None
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("num_key_value_heads", [1, 4])
@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_attention_follows_float32_forward_and_backward(
    num_key_value_heads: int, masked: bool
) -> None:
    num_tokens = 300
    shapes = [(2, num_tokens, heads, 8) for heads in (4, num_key_value_heads, num_key_value_heads)]
    exact = [
        torch.sin(torch.arange(math.prod(shape)) * 0.61 + n).view(shape) for n, shape in enumerate(shapes)
    ]
    documents = torch.arange(2 * num_tokens).view(2, num_tokens) // 77 if masked else None
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        inputs = [x.bfloat16().to(dtype).requires_grad_() for x in exact]
        mixed = CausalAttention(documents, dtype)(*inputs, 0)
        gradients = torch.autograd.grad(mixed.float().square().sum(), inputs)
        found.append((mixed, *gradients))
    for ours, expected in zip(found[1], found[0], strict=True):
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(
            ours.float(), expected, atol=0.02 * float(expected.detach().abs().max()), rtol=0
        )


@pytest.mark.parametrize("shape", [(3, 5, 16), (2, 3, 4, 8)])
def test_the_norm_for_training_has_the_value_and_gradient_of_the_plain_one(shape: tuple[int, ...]) -> None:
    x = torch.sin(torch.arange(math.prod(shape), dtype=torch.float64)).view(shape).requires_grad_()
    weight = torch.linspace(0.5, 1.5, shape[-1], dtype=torch.float64).requires_grad_()
    plain = torch.nn.functional.rms_norm(x, shape[-1:], weight, 1e-3)
    ours = TrainableRMSNorm.apply(x.float(), weight.float(), 1e-3, torch.float32)
    torch.testing.assert_close(ours.double(), plain, atol=1e-6, rtol=0)
    expected = torch.autograd.grad(plain.pow(3).sum(), (x, weight))
    x32, weight32 = x.detach().float().requires_grad_(), weight.detach().float().requires_grad_()
    ours = TrainableRMSNorm.apply(x32, weight32, 1e-3, torch.float32)
    for found, wanted in zip(torch.autograd.grad(ours.pow(3).sum(), (x32, weight32)), expected, strict=True):
        torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("num_counted", "weighed"), [(90, False), (90, True), (0, False), (0, True)])
def test_the_loss_in_chunks_has_the_value_and_gradient_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, num_counted: int, weighed: bool
) -> None:
    hidden = torch.sin(torch.arange(100 * 16) * 0.37).view(100, 16).to(dtype).requires_grad_()
    weight = torch.sin(torch.arange(50 * 16) * 0.11).view(50, 16).to(dtype).requires_grad_()
    targets = torch.arange(100) * 7 % 50
    targets[num_counted:] = -100
    importance = torch.linspace(0.1, 2, 100) if weighed else None
    found = []
    for most_logits in (10**6, 17 * 50):
        monkeypatch.setattr("vermeil_model.cross_entropy.MOST_LOGITS", most_logits)
        loss = readout_losses(hidden, weight, targets, importance).mean
        found.append((loss, *torch.autograd.grad(2 * loss, (hidden, weight))))
    for chunked, whole in zip(*found, strict=True):
        assert chunked.dtype == whole.dtype
        tolerance = 1e-6 if dtype == torch.float32 else 0.01
        torch.testing.assert_close(chunked, whole, atol=tolerance, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(readout_losses(hidden, weight, targets, importance).mean, found[0][0])
    each = functional.cross_entropy(hidden.float() @ weight.float().t(), targets, reduction="none")
    counts = (targets != -100) * (1.0 if importance is None else importance)
    expected = (each * counts).sum() / counts.sum().clamp_min(1e-9)
    torch.testing.assert_close(found[0][0].float(), expected, atol=tolerance, rtol=0)


def test_attention_by_products_has_the_value_and_every_gradient_of_pytorchs() -> None:
    shapes = [(2, 300, 4, 8), (2, 300, 4, 8), (2, 300, 4, 8), (2, 4, 300, 300)]
    drawn = [
        torch.sin(torch.arange(math.prod(shape)) * 0.61 + n).view(shape) for n, shape in enumerate(shapes)
    ]
    found = []
    for attend in (_attend_by_products, functional.scaled_dot_product_attention):
        leaves = [each.double().requires_grad_() for each in drawn]
        queries, keys, values = (each.transpose(1, 2) for each in leaves[:3])
        extra = {"causal": False} if attend is _attend_by_products else {}
        mixed = attend(queries, keys, values, leaves[3], **extra)
        found.append((mixed, *torch.autograd.grad(mixed.pow(2).sum(), leaves)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


def test_swiglu_for_training_has_the_value_and_gradient_of_the_plain_one() -> None:
    gate_up = torch.sin(torch.arange(7 * 24) * 0.37).view(7, 24).double().requires_grad_()
    gate, up = gate_up.chunk(2, dim=-1)
    plain, ours = functional.silu(gate) * up, TrainableSwiGLU.apply(gate_up)
    torch.testing.assert_close(ours, plain)
    expected = torch.autograd.grad(plain.pow(2).sum(), gate_up)
    torch.testing.assert_close(torch.autograd.grad(ours.pow(2).sum(), gate_up), expected)
