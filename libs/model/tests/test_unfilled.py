"""Networks made to be given weights: nothing is drawn, and nothing heavy is loaded for it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from vermeil_model import ModelConfig, TextModel, save_checkpoint
from vermeil_model.unfilled import unfilled


def test_nothing_is_drawn_while_it_lasts_and_all_is_as_before_afterwards() -> None:
    torch.manual_seed(1)
    with unfilled():
        made = nn.ModuleList([nn.Linear(3, 4), nn.Embedding(5, 3), nn.Conv2d(3, 4, 2), nn.LayerNorm(4)])
        counted = torch.arange(3).float().add_(1)
    first = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(first, torch.rand(3))
    assert counted.tolist() == [1, 2, 3]
    assert [tuple(each.shape) for each in made[0].parameters()] == [(4, 3), (4,)]
    assert nn.LayerNorm(4).weight.tolist() == [1.0] * 4


@pytest.mark.slow  # it loads torch anew
def test_loading_a_checkpoint_loads_no_compiler(tmp_path: Path) -> None:
    config = ModelConfig.from_depth(1, 20, context_length=16, width=16, num_heads=2)
    model = TextModel(config)
    model.init_weights(torch.Generator().manual_seed(1))
    save_checkpoint(tmp_path, model)
    code = (
        "import sys; from pathlib import Path; from vermeil_model import load_checkpoint;"
        "load_checkpoint(Path(sys.argv[1])); print(sorted({'sympy', 'torch._dynamo'} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300
    )
    assert found.stdout.strip() == "[]"
