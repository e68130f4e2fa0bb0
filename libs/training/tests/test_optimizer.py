"""Every weight is moved by the optimizer it belongs to."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from vermeil_errors import InvalidInput
from vermeil_model.fusions.alloy import Gates
from vermeil_training import AdamW, OptimizerConfig, TrainingConfig, make_state, train_step
from vermeil_training.optimizer import clip_gradients, make_optimizers
from vermeil_training.testing import SmallRun


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_together_they_move_every_weight_once(small: SmallRun, kind: str) -> None:
    model = small.model()
    optimizers = make_optimizers(model, OptimizerConfig(kind))
    moved = [id(weight) for optimizer in optimizers for weight in optimizer.weights]
    assert sorted(moved) == sorted(id(weight) for weight in model.parameters())


def test_muon_moves_the_matrices_of_the_layers_and_nothing_else(small: SmallRun) -> None:
    model = small.model()
    muon = make_optimizers(model, OptimizerConfig("muon"))[-1]
    names = {id(weight): name for name, weight in model.named_parameters()}
    moved = {names[id(weight)].split(".", 2)[2] for weight in muon.weights}
    assert moved == {
        "attention.qkv.weight",
        "attention.output.weight",
        "feed_forward.gate_up.weight",
        "feed_forward.down.weight",
    }


def test_a_frozen_weight_is_moved_by_nobody(small: SmallRun) -> None:
    model = small.model()
    model.embedding.weight.requires_grad_(False)
    optimizers = make_optimizers(model, OptimizerConfig())
    assert all(weight is not model.embedding.weight for each in optimizers for weight in each.weights)


def test_adamw_is_that_of_torch() -> None:
    start = torch.linspace(-1, 1, 60).reshape(12, 5)
    ours, theirs, still = (nn.Parameter(start.clone()) for _ in range(3))
    adamw = AdamW([ours, still], learning_rate=0.04, beta1=0.8, beta2=0.9, weight_decay=0.1)
    reference = torch.optim.AdamW([theirs], lr=0.02, betas=(0.8, 0.9), weight_decay=0.1, fused=True)
    for step in range(4):
        ours.grad = torch.sin(start * (step + 3))
        theirs.grad = ours.grad.clone()
        adamw.step(0.5)
        reference.step()
    assert torch.equal(ours, theirs)
    assert torch.equal(still, start)


def test_clipping_is_that_of_torch() -> None:
    ours = [nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(5))]
    for weight in ours:
        weight.grad = torch.arange(1.0, weight.numel() + 1).reshape(weight.shape)
    theirs = [weight.grad.clone() for weight in ours if weight.grad is not None]
    norm = clip_gradients(list(ours), 2.0)
    reference = torch.nn.utils.get_total_norm(theirs)
    assert norm == pytest.approx(float(reference))
    for weight, gradient in zip(ours, theirs, strict=True):
        torch.testing.assert_close(weight.grad, gradient * 2.0 / reference)


def test_making_optimizers_does_not_import_the_compiler() -> None:
    program = (
        "import sys, torch; from vermeil_training import OptimizerConfig; from torch import nn\n"
        "from vermeil_training.optimizer import make_optimizers\n"
        "make_optimizers(nn.Linear(2, 2), OptimizerConfig())\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_parts_of_a_model_learn_at_their_own_rates_and_frozen_ones_not_at_all(
    small: SmallRun, config: TrainingConfig
) -> None:
    optimizer = OptimizerConfig("adamw", rates={"embedding.": 0.0, "layers.0.": 0.1})
    state = make_state(replace(config, optimizer=optimizer), small.model())
    before = {name: weight.detach().clone() for name, weight in state.model.named_parameters()}
    train_step(state, small.loader())
    moved = {
        name: float((weight.detach() - before[name]).abs().max())
        for name, weight in state.model.named_parameters()
    }
    assert moved["embedding.weight"] == 0
    name = "attention.output.weight"
    assert moved[f"layers.0.{name}"] == pytest.approx(0.1 * moved[f"layers.1.{name}"], rel=0.05)


def test_gates_never_decay() -> None:
    gates = Gates(2, 3, 1.0)
    gates.gate_NH2.grad = torch.zeros_like(gates.gate_NH2)
    for optimizer in make_optimizers(gates, OptimizerConfig("adamw", weight_decay=1.0)):
        optimizer.step(1.0)
    assert torch.equal(gates.gate_NH2, torch.ones(2, 3, 2))


def test_a_rate_for_weights_that_are_not_there_is_refused(small: SmallRun, config: TrainingConfig) -> None:
    optimizer = OptimizerConfig("adamw", rates={"image.": 0.5})
    with pytest.raises(InvalidInput, match=r"optimizer\.rates.*image.*known are"):
        make_state(replace(config, optimizer=optimizer), small.model())
