"""Against peft itself, the library most adapters are made with."""

from pathlib import Path

import peft
import pytest
import torch
import transformers
from torch import nn
from vermeil_model import AdaptedModel, export_llama, import_llama, load_adapter, merged, save_adapter
from vermeil_model.testing import small_adapter, small_model, small_tokens

pytestmark = [
    pytest.mark.slow,  # importing peft is
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]


@pytest.mark.parametrize("qk_norm", [False, True], ids=["llama", "qwen3"])
@torch.no_grad()
def test_peft_gives_our_logits_over_the_exported_base(tmp_path: Path, qk_norm: bool) -> None:
    base, tokens = small_model(qk_norm=qk_norm), small_tokens(2, 20)
    export_llama(tmp_path / "base", base)
    save_adapter(tmp_path / "adapter", small_adapter(base=base.config))
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(stock, tmp_path / "adapter").eval()
    ours = AdaptedModel.of(base, load_adapter(tmp_path / "adapter"))
    torch.testing.assert_close(theirs(tokens).logits, ours(tokens).logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
@pytest.mark.parametrize("stabilised", [False, True])
@torch.no_grad()
def test_an_adapter_of_peft_loads_over_its_stock_base(tmp_path: Path, kind: str, stabilised: bool) -> None:
    torch.manual_seed(0)
    config_class = {"llama": transformers.LlamaConfig, "qwen3": transformers.Qwen3Config}[kind]
    sizes = {"vocab_size": 61, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    stock = transformers.AutoModelForCausalLM.from_config(
        config_class(**sizes, **heads, max_position_embeddings=64, initializer_range=0.3)
    )
    stock.save_pretrained(tmp_path / "base")
    asked = peft.LoraConfig(
        r=4, lora_alpha=10, target_modules=["q_proj", "v_proj", "down_proj"], use_rslora=stabilised
    )
    theirs = peft.get_peft_model(stock, asked).eval()
    for name, weight in theirs.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.3)
    theirs.save_pretrained(tmp_path / "adapter")
    tokens = small_tokens(2, 20)
    ours = merged(import_llama(tmp_path / "base"), load_adapter(tmp_path / "adapter"))
    torch.testing.assert_close(ours(tokens).logits, theirs(tokens).logits, atol=1e-4, rtol=0)
