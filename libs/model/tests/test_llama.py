import json
from pathlib import Path

import pytest
import torch
import transformers
from vermeil_errors import InvalidInput
from vermeil_model import Decoder, Request, SamplingParameters, export_llama, import_llama
from vermeil_model.testing import small_model, small_tokens

SIZES = {
    "vocab_size": 61,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
    "rope_theta": 10_000.0,
}
CASES = {
    "llama": ("llama", {}),
    "llama tied": ("llama", {"tie_word_embeddings": True}),
    "llama one key head": ("llama", {"num_key_value_heads": 1}),
    "llama many key heads, theta": (
        "llama",
        {"num_key_value_heads": 4, "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}},
    ),
    "llama 3 scaling": ("llama", {"rope_parameters": LLAMA3}),
    "qwen3": ("qwen3", {}),
    "qwen3 tied": ("qwen3", {"tie_word_embeddings": True}),
}


def stock_model(kind: str, changes: dict[str, object]) -> transformers.PreTrainedModel:
    torch.manual_seed(3)
    config_class = {"llama": transformers.LlamaConfig, "qwen3": transformers.Qwen3Config}[kind]
    model_class = {"llama": transformers.LlamaForCausalLM, "qwen3": transformers.Qwen3ForCausalLM}[kind]
    model = model_class(config_class(**(SIZES | changes), initializer_range=0.3))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5)
    return model.eval()


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_an_imported_checkpoint_gives_the_logits_of_transformers(tmp_path: Path, case: str) -> None:
    stock = stock_model(*CASES[case])
    stock.save_pretrained(tmp_path)
    tokens = small_tokens(2, 40)
    theirs = stock(tokens).logits
    close(import_llama(tmp_path)(tokens).logits, theirs)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_an_exported_model_loads_in_transformers_with_equal_logits(tmp_path: Path, case: str) -> None:
    stock_model(*CASES[case]).save_pretrained(tmp_path / "theirs")
    ours = import_llama(tmp_path / "theirs")
    export_llama(tmp_path / "ours", ours, extra={"eos_token_id": 2})
    exported = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    tokens = small_tokens(2, 40)
    close(exported(tokens).logits, ours(tokens).logits)
    again = import_llama(tmp_path / "ours")
    assert again.config == ours.config
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


@torch.no_grad()
def test_greedy_continuation_is_that_of_transformers(tmp_path: Path) -> None:
    stock = stock_model("qwen3", {})
    stock.save_pretrained(tmp_path)
    prompt = small_tokens(1, 7)
    theirs = stock.generate(
        prompt,
        max_new_tokens=20,
        min_new_tokens=20,
        do_sample=False,
        pad_token_id=0,
        attention_mask=torch.ones_like(prompt),
    )
    decoder = Decoder(import_llama(tmp_path))
    request = Request(
        prompt[0].tolist(), SamplingParameters(temperature=0, max_tokens=20, logit_bias={2: -100.0})
    )
    decoder.add([request])
    events = []
    while decoder.sequences:
        events += decoder.step()
    assert [event.token for event in events] == theirs[0, 7:].tolist()


@torch.no_grad()
def test_shards_are_read_through_their_index(tmp_path: Path) -> None:
    stock = stock_model("llama", {})
    stock.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    close(import_llama(tmp_path)(small_tokens(1, 9)).logits, stock(small_tokens(1, 9)).logits)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "gpt2"}, "Use llama or qwen3"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"hidden_act": "gelu"}, "Only 'silu' is"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "Only 'default' and 'llama3' are"),
        ({"layer_types": ["sliding_attention"]}, "sliding"),
        ({"num_hidden_layers": 4}, r"layers.3.*is missing"),
        ({"hidden_size": 32}, "has shape"),
        ({"tie_word_embeddings": True}, "contradicts lm_head.weight"),
    ],
)
def test_what_cannot_be_computed_exactly_is_refused(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    stock_model("llama", {}).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InvalidInput, match=said):
        import_llama(tmp_path)


def test_a_missing_size_is_named(tmp_path: Path) -> None:
    export_llama(tmp_path, small_model())
    path = tmp_path / "config.json"
    values = json.loads(path.read_text())
    del values["hidden_size"]
    path.write_text(json.dumps(values))
    with pytest.raises(InvalidInput, match="hidden_size: is missing"):
        import_llama(tmp_path)
