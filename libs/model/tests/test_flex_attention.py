import warnings

import pytest
import torch
from vermeil_model.flex import block_mask
from vermeil_model.joint_attention import Heads, JointAttention
from vermeil_model.spans import boolean_mask, spans_of, visible
from vermeil_model.testing import DRAWN, GIVEN, lay_out, small_fused, small_images

ROWS = [[[[1, 7], GIVEN, [9, 4, 30]], [[1, 20], DRAWN]], [[[1, 5, 6], DRAWN, [9, 2, 11]]]]
NUM_PATCHES = 6
NO_GPU = "needs a GPU: FlexAttention has no backward and no fused kernel on CPUs"


def heads(num_slots: int, seed: int) -> Heads:
    generator = torch.Generator().manual_seed(seed)
    return Heads(*(torch.randn(2, num_slots, count, 8, generator=generator) for count in (4, 2, 2)))


@torch.no_grad()
def test_the_mask_of_blocks_is_the_rule_itself() -> None:
    inputs = lay_out([[[[1] * 90, GIVEN, [2] * 60]], ROWS[1][0:1]], 160, 20)
    spans = spans_of(inputs, NUM_PATCHES)
    dense = boolean_mask(spans)[:, 0]
    blocks = block_mask(spans)
    mod = blocks.mask_mod
    slots = torch.arange(dense.shape[-1])
    for row in range(2):
        at = torch.tensor(row)
        assert mod(at, torch.tensor(0), slots[:, None], slots).equal(dense[row])
    num_blocks = blocks.to_dense().shape[-1]
    padded = torch.nn.functional.pad(dense, (0, num_blocks * 128 - dense.shape[-1]) * 2)
    held = padded.unflatten(2, (num_blocks, 128)).unflatten(1, (num_blocks, 128)).any(4).any(2)
    assert blocks.to_dense()[:, 0].bool().equal(held)


@pytest.mark.parametrize("gated", [False, True])
@torch.no_grad()
def test_flex_attention_finds_what_sdpa_finds(gated: bool) -> None:
    inputs = lay_out(ROWS, 10, 3)
    prompted = torch.tensor([[True, False, True], [False, True, True]])
    spans = spans_of(inputs, NUM_PATCHES, prompted)
    bias = torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(0)) if gated else None
    text, pictures = heads(10, 1), heads(3 * NUM_PATCHES, 2)
    found = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="flex_attention called without torch.compile")
        for backend in ("dense", "flex"):
            attend = JointAttention(spans, 10, NUM_PATCHES, 4, torch.float32, bias, backend)
            found.append(torch.cat(attend(text, pictures, 0), 1))
    torch.testing.assert_close(*found, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_rule_takes_indices_of_any_shape() -> None:
    spans = spans_of(lay_out(ROWS, 10, 3), NUM_PATCHES)
    dense = boolean_mask(spans)
    for row, query, key in ((0, 4, 1), (1, 12, 11), (0, 20, 7)):
        at = (torch.tensor(row), torch.tensor(query), torch.tensor(key))
        assert bool(visible(spans, *at)) == bool(dense[row, 0, query, key])


@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
@pytest.mark.parametrize("fusion", ["alloy", "mot", "prefix", "cross_attention"])
def test_a_gpu_gives_the_losses_and_gradients_of_the_cpu(fusion: str) -> None:
    inputs, images = lay_out(ROWS, 10, 3), small_images(6).unflatten(0, (2, 3))
    model = small_fused(fusion)
    output = model(inputs, images, torch.full((2, 3), 0.4))
    here = (
        model.text_losses(output.hidden_BTD, inputs.targets_BT).mean + output.predicted_BMCHW.square().mean()
    )
    here.backward()
    expected = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad()
    model.cuda()
    there = type(inputs)(*(part.cuda() for part in inputs))
    output = model(there, images.cuda(), torch.full((2, 3), 0.4, device="cuda"))
    losses = model.text_losses(output.hidden_BTD, there.targets_BT)
    found = losses.mean + output.predicted_BMCHW.square().mean()
    found.backward()
    torch.testing.assert_close(found.cpu(), here, atol=1e-3, rtol=1e-3)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad.cpu(), expected[name], atol=1e-2, rtol=1e-2)
